"""Distinct counts: exact while few, then within a few standard errors; the same hashes by any tree."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import chunkings, columns, merge_trees

from headrace.accumulators.distinct import SIZE, DistinctCount
from headrace.accumulators.hashing import hash_numbers, hash_strings, splitmix64

quick = settings(max_examples=30, deadline=None)


@quick
@given(st.data())
def test_few_distinct_values_are_counted_exactly(data):
    x = data.draw(columns())
    pieces = [DistinctCount.of_numbers(x[cut]) for cut in data.draw(chunkings(len(x)))]
    found = data.draw(merge_trees())(pieces, DistinctCount.merge)
    assert found.exact
    assert found.estimate() == len(np.unique(x))


@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(5000, 60_000))
def test_any_split_and_tree_gives_the_same_hashes(data, distinct):
    x = np.random.default_rng(distinct).integers(0, distinct, 40_000)
    pieces = [DistinctCount.of_numbers(x[cut]) for cut in data.draw(chunkings(len(x)))]
    found = data.draw(merge_trees())(pieces, DistinctCount.merge)
    whole = DistinctCount.of_numbers(np.unique(x), distinct=len(np.unique(x)))
    np.testing.assert_array_equal(found.hashes, whole.hashes)
    small = data.draw(merge_trees())([piece.compact(512) for piece in pieces], DistinctCount.merge)
    np.testing.assert_array_equal(small.hashes, whole.hashes[: len(small.hashes)])


@pytest.mark.parametrize(
    "values",
    [
        np.arange(300_000),
        np.arange(300_000) * 1024,
        np.arange(300_000).astype(np.float32),
        np.arange(300_000) / 1024,
        np.random.default_rng(0).normal(size=300_000),
        1_700_000_000_000_000 + np.arange(300_000) * 3_600_000_000,
        np.arange(300_000) << 32,
        np.arange(300_000) // 400 * (1 << 40) + np.arange(300_000) % 400,
        np.ldexp(1 + np.arange(1000) / 1024, np.arange(-150, 150)[:, None]).ravel(),
        np.sqrt(np.arange(300_000)),
        -np.arange(300_000) * 0.01,
    ],
    ids=[
        *("integers", "multiples", "float32", "fractions", "normal", "hours", "high words", "two fields"),
        *("few bits", "roots", "cents"),
    ],
)
def test_many_distinct_values_are_estimated_within_four_standard_errors(values):
    found = DistinctCount.of_numbers(values, distinct=len(values))
    assert not found.exact
    assert found.relative_error == pytest.approx(1 / np.sqrt(SIZE - 2))
    assert found.estimate() == pytest.approx(300_000, rel=4 * found.relative_error)
    stored = found.compact()
    assert stored.estimate() == pytest.approx(300_000, rel=4 * stored.relative_error)


def test_a_wrong_hint_of_the_distinct_number_does_not_lose_hashes():
    x = np.arange(20_000)
    np.testing.assert_array_equal(
        DistinctCount.of_numbers(x, distinct=10**9).hashes, DistinctCount.of_numbers(x).hashes
    )


def test_equal_numbers_of_a_column_hash_alike():
    x = np.array([0.0, 1.5, -3.0])
    np.testing.assert_array_equal(hash_numbers(x), hash_numbers(x.astype(np.float32)))
    np.testing.assert_array_equal(hash_numbers(np.array([-0.0])), hash_numbers(np.array([0.0])))
    whole = np.array([-1, 0, 7])
    np.testing.assert_array_equal(hash_numbers(whole), hash_numbers(whole.astype(np.int8)))


def test_hashes_below_a_bound_are_those_of_all_below_it():
    x = np.arange(10_000)
    every = hash_numbers(x)
    np.testing.assert_array_equal(hash_numbers(x, below=1 << 60), every[every < 1 << 60])


@quick
@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=20), st.integers(0, 3))
def test_strings_hash_by_their_text_alone(words, skip):
    plain = hash_strings(pa.array(words, pa.string())[skip:])
    large = hash_strings(pa.array(words[skip:], pa.large_string()))
    np.testing.assert_array_equal(plain, large)
    assert len(np.unique(plain)) == len({word or "" for word in words[skip:]})


def test_splitmix_is_the_published_sequence_on_any_number_of_blocks():
    words = np.arange(20_000, dtype=np.uint64)
    np.testing.assert_array_equal(splitmix64(words)[9000:9010], splitmix64(words[9000:9010]))
