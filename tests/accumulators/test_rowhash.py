"""Equal rows have equal hashes however they are encoded; repetitions are exact up to a limit, then estimated."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import chunkings, merge_trees

from headrace.accumulators.rowhash import RepeatedRows, hash_rows

values = st.one_of(st.none(), st.integers(0, 2))
texts = st.one_of(st.none(), st.sampled_from(["", "a", "b"]))


def hashes(table: pa.Table) -> list[tuple[int, int]]:
    high, low = hash_rows(table.columns, table.num_rows)
    return list(zip(high.tolist(), low.tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(values, texts, st.floats(-1, 1, width=16) | st.none()), min_size=1, max_size=40))
def test_rows_are_equal_as_pandas_finds_them(rows: list[tuple[Any, ...]]) -> None:
    n, s, x = zip(*rows, strict=True)
    table = pa.table(
        {"n": pa.array(n, pa.int32()), "s": pa.array(s, pa.string()), "x": pa.array(x, pa.float32())}
    )
    frame = pd.DataFrame(
        {
            "n": pd.array(n, "Int64"),
            "s": pd.array(s, "string"),
            "x": [np.nan if v is None else v + 0.0 for v in x],
        }
    )
    found = pd.Series(hashes(table))
    assert found.duplicated().tolist() == frame.duplicated().tolist()
    encoded = table.set_column(1, "s", table["s"].dictionary_encode())
    cut = pa.concat_tables([encoded.slice(0, 1), encoded.slice(1)])
    assert hashes(cut) == found.tolist()


def test_every_type_has_a_hash_and_columns_are_not_exchanged() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "binary": [b"a", b"a", b"b"],
            "fixed": pa.array([b"aa", b"aa", b"ab"], pa.binary(2)),
            "decimal": [Decimal("1.10"), Decimal("1.10"), Decimal("1.11")],
            "list": [[1], [1], [2]],
            "struct": [{"x": 1}, {"x": 1}, {"x": 2}],
            "moment": [moment, moment, moment],
            "half": pa.array(np.array([1, 1, 2], dtype=np.float16)),
            "flag": [True, True, False],
            "unsigned": pa.array([2**64 - 1, 2**64 - 1, 0], pa.uint64()),
            "empty": pa.nulls(3),
            "words": pa.DictionaryArray.from_arrays(
                pa.array([0, 1, None]), pa.array([None, None], pa.string())
            ),
        }
    )
    found = hashes(table)
    assert found[0] == found[1] != found[2]
    assert hashes(pa.table({"a": [1], "b": [2]})) != hashes(pa.table({"a": [2], "b": [1]}))
    assert hashes(pa.table({"a": pa.array([0.0, np.nan])})) == hashes(pa.table({"a": pa.array([-0.0, None])}))
    assert hashes(table.slice(0, 0)) == []


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 60), st.integers(4, 40))
def test_any_split_and_merge_tree_finds_the_same(data: st.DataObject, distinct: int, limit: int) -> None:
    rng = np.random.default_rng(distinct)
    high, low = hash_rows([pa.chunked_array([pa.array(rng.integers(0, distinct, 200))])], 200)
    whole = RepeatedRows(limit).update(high, low)
    cuts = data.draw(chunkings(200))
    parts = [RepeatedRows(limit).update(high[cut], low[cut]) for cut in cuts]
    merged = data.draw(merge_trees())(parts, RepeatedRows.merge)
    assert json.dumps(merged.state()) == json.dumps(whole.state())
    again = RepeatedRows.from_state(json.loads(json.dumps(merged.state())))
    assert again.result() == merged.result()
    assert len(merged.high) <= limit
    counts = np.unique(high, return_counts=True)[1]
    if merged.exact:
        assert merged.result()["extra"] == 200 - len(counts)
        assert merged.result()["groups"] == int((counts > 1).sum())


def test_halves_that_agree_in_one_only_are_different_rows() -> None:
    high = np.array([5, 5, 5, 9], dtype=np.uint64)
    low = np.array([2, 1, 2, 2], dtype=np.uint64)
    assert RepeatedRows().update(high, low).result()["extra"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_beyond_the_limit_the_truth_lies_within_five_stated_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = np.concatenate([np.arange(60_000), rng.integers(0, 60_000, 20_000)])
    high, low = hash_rows([pa.chunked_array([pa.array(keys)])], len(keys))
    found = RepeatedRows(1 << 12).update(high, low).result()
    truth = len(keys) - len(np.unique(keys))
    assert not found["exact"]
    assert found["error"] < 0.1 * truth
    assert abs(found["extra"] - truth) < 5 * found["error"]
    assert abs(found["distinct"] - 60_000) < 5 * 60_000 / np.sqrt(1 << 11)
