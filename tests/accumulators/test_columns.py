"""One column in one group, from arrays and from Arrow, against numpy on the same rows."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.comparison import assert_same, plain
from tests.strategies import chunkings, holed_columns, merge_trees, tables

from headrace.accumulators import leaves
from headrace.accumulators.columns import ColumnSummary
from headrace.accumulators.leaves import Groups, summarize

if TYPE_CHECKING:
    from collections.abc import Iterator

quick = settings(max_examples=40, deadline=None)


def one(array: Any) -> Any:
    return summarize(pa.chunked_array([array]), Groups.single(len(array)))[0]


def assert_describes(found: Any, x: Any, nulls: int) -> None:
    finite = x[np.isfinite(x)]
    assert found.rows == len(x) + nulls
    assert found.nulls == nulls
    assert found.nans == np.isnan(x).sum()
    assert found.missing == found.nulls + found.nans
    assert found.valid == len(x) - found.nans
    assert (found.pos_infs, found.neg_infs) == ((x == np.inf).sum(), (x == -np.inf).sum())
    assert (found.zeros, found.negatives) == ((finite == 0).sum(), (finite < 0).sum())
    assert found.integers_only == bool((finite == np.floor(finite)).all())
    assert found.moments.n == found.quantiles.n == found.hitters.n == len(finite)
    assert dict(found.hitters.items()) == Counter(finite.tolist())
    assert found.distinct.estimate() == len(np.unique(finite))
    if len(finite):
        assert (found.moments.minimum, found.moments.maximum) == (finite.min(), finite.max())
        assert found.moments.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12 * np.abs(finite).max())
        assert found.quantiles.quantile(0.5) == pytest.approx(np.quantile(finite, 0.5), rel=1e-12)


@quick
@given(st.data(), holed_columns(), st.floats(0, 1))
def test_any_split_and_tree_describes_the_numbers(data, x, share):
    gaps = np.random.default_rng(len(x)).random(len(x)) < share
    array = pa.array(x, mask=gaps, from_pandas=False)
    cuts = data.draw(chunkings(len(x)))
    leaves = [one(array.slice(cut.start, cut.stop - cut.start)) for cut in cuts]
    found = data.draw(merge_trees())(leaves, ColumnSummary.merge)
    assert_describes(found, x[~gaps], int(gaps.sum()))
    again = ColumnSummary.from_state(json.loads(json.dumps(found.state(), allow_nan=False)))
    assert again.state() == found.state()
    json.dumps(found.result(), allow_nan=False)


@settings(max_examples=12, deadline=None)
@given(tables(), st.sampled_from([1, 2, 5, 20]), st.integers(0, 1 << 32))
def test_groups_are_summarised_as_if_each_were_a_table_of_its_own(table, count, seed):
    codes = np.random.default_rng(seed).integers(0, count, table.num_rows).astype(np.uint8)
    for column in table.columns:
        found = summarize(column, Groups.of(codes, count))
        for code in range(count):
            alone = column.filter(pa.array(codes == code))
            expected = summarize(alone, Groups.single(len(alone)))[0]
            assert_same(plain(found[code].result()), plain(expected.result()))


@quick
@given(tables(), st.data())
def test_dictionary_and_plain_strings_are_counted_alike(table, data):
    words = table["word"].combine_chunks()
    cuts = data.draw(chunkings(len(words)))
    pieces = [words.slice(cut.start, cut.stop - cut.start).dictionary_encode() for cut in cuts]
    expected = one(words).result()
    coded = summarize(
        pa.chunked_array(pieces, pa.dictionary(pa.int32(), pa.string())), Groups.single(len(words))
    )[0]
    for found in (coded, one(words.cast(pa.large_string())), one(words.cast(pa.string_view()))):
        assert_same(plain(found.result()), plain(expected))


def test_words_of_a_dictionary_that_no_row_has_are_not_counted():
    array = pa.DictionaryArray.from_arrays(
        pa.array([0, 2, None, 3], pa.int8()), pa.array(["a", "b", None, "ä"])
    )
    found = one(array)
    assert found.hitters.items() == [("a", 1), ("ä", 1)]
    assert (found.nulls, found.valid, found.distinct.estimate(), found.lengths.maximum) == (2, 2, 2, 1)


def test_a_word_that_is_in_the_dictionary_twice_is_one_word():
    found = one(pa.DictionaryArray.from_arrays(pa.array([0, 1, 1]), pa.array(["a", "a"])))
    assert found.hitters.items() == [("a", 3)]
    assert found.distinct.estimate() == 1


def test_strings_of_a_megabyte_are_held_by_beginning_and_hash():
    words = [letter * 1_000_000 for letter in "abab"] + ["a" * 999_999]
    found = one(pa.array(words))
    assert found.distinct.estimate() == 3
    assert [count for _, count in found.hitters.items()] == [2, 2, 1]
    assert all(len(word) < 100 for word, _ in found.hitters.items())
    assert found.lengths.maximum == 1_000_000


def test_many_distinct_strings_keep_the_frequent_one():
    words = pa.array([f"w{i}" for i in range(12_000)] + ["often"] * 3000)
    found = one(words)
    assert found.hitters.n == found.rows == 15_000
    assert found.hitters.error <= 15_000 / 1001
    assert found.hitters.items()[0] == ("often", 3000 - found.hitters.error)
    assert found.distinct.estimate() == pytest.approx(12_001, rel=0.07)


def test_many_distinct_numbers_take_the_short_ways_and_stay_right():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(60_000) < 0.2, 7.0, rng.normal(size=60_000))
    found = one(pa.array(x))
    assert found.moments.mean == pytest.approx(x.mean(), rel=1e-12)
    assert found.hitters.items()[0][0] == 7.0
    assert found.hitters.items()[0][1] + found.hitters.error >= (x == 7.0).sum()
    assert found.distinct.estimate() == pytest.approx(len(np.unique(x)), rel=0.07)
    assert not found.integers_only


def columns_of(rows: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    gaps = rng.random(rows) < 0.1
    numbers = rng.normal(size=rows)
    words = [f"w{code}" for code in rng.integers(0, 50_000, rows)]
    return {
        "all distinct": pa.array(numbers),
        "in order": pa.array(np.sort(numbers)),
        "float32": pa.array(numbers.astype(np.float32)),
        "with nulls": pa.array(numbers, mask=gaps),
        "with NaN": pa.array(np.where(gaps, np.nan, numbers)),
        "one value often": pa.array(np.where(rng.random(rows) < 0.5, 0, numbers)),
        "few values": pa.array(rng.integers(0, 9_000, rows).astype(np.float64)),
        "wide integers": pa.array(rng.integers(0, 1 << 40, rows)),
        "narrow integers": pa.array(rng.integers(0, 99, rows)),
        "truths": pa.array(gaps),
        "times": pa.array(np.sort(rng.integers(0, 1 << 50, rows)).astype("datetime64[us]")),
        "words": pa.array(words),
        "codes": pa.array(words).dictionary_encode(),
    }


def arrays_in(thing: Any) -> Iterator[np.ndarray]:
    if isinstance(thing, np.ndarray):
        yield thing
    elif dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield from arrays_in(getattr(thing, field.name))
    elif isinstance(thing, tuple | list):
        for part in thing:
            yield from arrays_in(part)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("name", columns_of(0))
def test_a_summary_does_not_keep_the_chunk_that_it_was_made_of(name, groups):
    rows = 100_000
    codes = (np.arange(rows) % groups).astype(np.uint8)
    column = pa.chunked_array([columns_of(rows)[name]])
    found = list(
        arrays_in(summarize(column, Groups.single(rows) if groups == 1 else Groups.of(codes, groups)))
    )
    assert found
    for array in found:
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        assert owner.base is None
        assert owner.nbytes <= 2 * array.nbytes + 4_096


@pytest.mark.parametrize(
    ("array", "kind", "low", "high"),
    [
        (pa.array([date(2024, 1, 2), None, date(1960, 1, 1)]), "datetime", -3653, 19724),
        (pa.array([date(2024, 1, 2)], pa.date64()), "datetime", 1704153600000, 1704153600000),
        (
            pa.array([1704153600000], pa.timestamp("ms", "Europe/Vienna")),
            "datetime",
            1704153600000,
            1704153600000,
        ),  # wall time is what is tested
        (pa.array([Decimal("1.5"), Decimal(-2)]), "numeric", -2.0, 1.5),
        (pa.array([1.5, 2.0], pa.float16()), "numeric", 1.5, 2.0),
        (pa.array([2**63, 2**64 - 1, None], pa.uint64()), "numeric", 2**63, 2**64 - 1),
        (pa.array([3, 5, 3]).dictionary_encode(), "numeric", 3, 5),
        (pa.array([True, None, False]), "boolean", 0, 1),
    ],
    ids=["date", "date64", "zoned", "decimal", "half", "unsigned", "coded numbers", "boolean"],
)
def test_each_type_is_measured_in_its_own_unit(array, kind, low, high):
    found = one(array)
    assert found.kind == kind
    assert (found.moments.minimum, found.moments.maximum) == (low, high)
    assert found.nulls == array.null_count


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1], None]),
        pa.array([b"x", None]),
        pa.array([1, None], pa.duration("s")),
        pa.array([1, None], pa.time32("s")),
        pa.array([None, None]),
        pa.array([{"a": 1}, None]),
    ],
    ids=lambda array: str(array.type),
)
def test_of_other_types_rows_and_nulls_are_counted(array):
    found = one(array)
    assert (found.kind, found.rows, found.nulls) == ("other", 2, array.null_count)
    assert found.merge(found).rows == 4
    json.dumps(found.result(), allow_nan=False)


@pytest.mark.parametrize("type_", [pa.float64(), pa.int32(), pa.string(), pa.bool_(), pa.date32()], ids=str)
def test_a_column_without_chunks_or_values_is_the_empty_summary(type_):
    none = summarize(pa.chunked_array([], type_), Groups.single(0))[0]
    assert none.state() == ColumnSummary.empty(none.kind).state()
    absent = one(pa.array([None] * 5, type_))
    assert (absent.rows, absent.nulls, absent.valid) == (5, 5, 0)
    assert absent.merge(none).state() == absent.state()
    json.dumps(absent.result(), allow_nan=False)


def test_compacting_keeps_within_the_stated_errors():
    found = one(pa.array(np.random.default_rng(0).normal(size=50_000)))
    stored = found.compact()
    assert stored.quantiles.rank_error < 0.005
    assert len(json.dumps(stored.state())) < 40_000
    assert stored.rows == found.rows


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_integers_of_a_narrow_range_are_counted_to_the_same_summary(dtype, gaps, monkeypatch):
    rng = np.random.default_rng(3)
    low = np.iinfo(dtype).min
    values = low + rng.integers(0, 200, 20_000).astype(dtype)
    column = pa.chunked_array([pa.array(values, mask=rng.random(20_000) < gaps)])
    codes = rng.integers(0, 3, 20_000).astype(np.uint8)
    for groups in (Groups.single(20_000), Groups.of(codes, 4)):
        counted = summarize(column, groups)
        with monkeypatch.context() as patch:
            patch.setattr(leaves, "_counted", lambda *_: None)
            plain = summarize(column, groups)
        assert [part.state() for part in counted] == [part.state() for part in plain]
