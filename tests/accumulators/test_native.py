"""The fast-path law: compiled loops measure values to the same bits as numpy does."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headrace.accumulators import loops, merge_tree, native
from headrace.accumulators.ascending import look, runs
from headrace.accumulators.columns import ColumnSummary
from headrace.accumulators.distinct import DistinctCount
from headrace.accumulators.hashing import hash_numbers, splitmix64
from headrace.accumulators.hitters import HeavyHitters
from headrace.accumulators.leaves import Groups
from headrace.accumulators.moments import _BLOCK, Moments

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = (np.float64, np.float32, np.int64, np.int32, np.uint64, np.uint8)


@pytest.fixture(autouse=True)
def _unwanted_after(monkeypatch):
    monkeypatch.setattr(native, "_wanted", False)


def both(measure: Callable[[], Any]) -> tuple[Any, Any]:
    native._wanted = False
    plain = measure()
    native.want_loops()
    assert native.wanted_loops() is not None
    quick = measure()
    native._wanted = False
    return plain, quick


def drawn(seed: int, rows: int, dtype: type) -> Any:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(3, rng.uniform(0.1, 3), rows) - rng.integers(0, 50)
    if np.dtype(dtype).kind == "u":
        values = np.abs(values)
    return np.sort(np.clip(values, *((-128, 255) if dtype is np.uint8 else (-1e9, 1e9))).astype(dtype))


@given(st.integers(0, 2**32), st.integers(1, 5 * _BLOCK), st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_moments_are_the_same_bits_with_and_without_compiled_loops(seed, rows, dtype):
    plain, quick = both(lambda: Moments.of(drawn(seed, rows, dtype)))
    assert vars(plain) == vars(quick)


@given(
    hnp.arrays(
        np.float64, _BLOCK, elements=st.floats(allow_nan=False, allow_infinity=False), fill=st.just(1.0)
    ),
    st.integers(0, 3),
)
@example(np.append(np.ones(_BLOCK - 1), 6e102), 1)  # the cubes overflow, the squares do not
@example(np.append(np.ones(_BLOCK - 1), 6e102), 2)
@example(np.append(np.ones(_BLOCK - 1), 2e153), 1)
@example(np.append(np.ones(_BLOCK - 1), 2e154), 3)
@example(np.append(np.ones(_BLOCK - 1), 1.7e308), 1)
@settings(max_examples=40, deadline=None)
def test_moments_of_extreme_values_are_the_same_bits(block, repeats):
    plain, quick = both(lambda: Moments.of(np.tile(block, repeats)))
    assert str(vars(plain)) == str(vars(quick))


@given(st.integers(0, 2**32), st.integers(0, 40_000), st.sampled_from(DTYPES), st.integers(1, 2**64))
@example(0, 5_000, np.float64, 2**64)
@settings(max_examples=60, deadline=None)
def test_low_hashes_are_the_same(seed, rows, dtype, below):
    values = drawn(seed, rows, dtype)
    plain, quick = both(lambda: hash_numbers(values, below=below))
    np.testing.assert_array_equal(plain, quick)


@given(
    st.integers(0, 2**32),
    st.integers(1, 50_000),
    st.integers(2, 7),
    st.sampled_from((np.int8, np.int32, np.int64)),
)
@settings(max_examples=40, deadline=None)
def test_codes_are_tallied_alike(seed, rows, groups, dtype):
    rng = np.random.default_rng(seed)
    told = Groups.of(rng.integers(0, groups, rows).astype(np.uint8), groups)
    codes = rng.integers(0, 100, rows).astype(dtype)
    for plain, quick in zip(*both(lambda: told.tally(codes, 100)), strict=True):
        np.testing.assert_array_equal(plain, quick)


@given(hnp.arrays(np.uint64, st.integers(0, 3000), elements=st.integers(0, 2**64 - 1)))
@settings(max_examples=40, deadline=None)
def test_words_are_mixed_alike(words):
    plain, quick = both(lambda: splitmix64(words))
    np.testing.assert_array_equal(plain, quick)


@pytest.mark.parametrize("values", [np.array([-0.0, 0.0, 1.0]), np.array([np.iinfo(np.int64).min, 0, 1])])
def test_negative_zero_hashes_as_zero_and_the_lowest_integer_does_not(values):
    plain, quick = both(lambda: hash_numbers(values, below=2**64 - 1))
    np.testing.assert_array_equal(plain, quick)
    assert len(set(plain.tolist())) == len(set(values.tolist()))


def test_more_low_hashes_than_there_is_room_for_are_all_kept():
    values = np.full(5000, 7.0)  # all hashes are one
    bound = int(hash_numbers(values[:1])[0]) + 1
    plain, quick = both(lambda: hash_numbers(values, below=bound))
    assert len(plain) == 5000
    np.testing.assert_array_equal(plain, quick)


def test_a_column_is_summarised_to_the_same_state():
    values = np.sort(np.random.default_rng(0).normal(size=100_000))
    plain, quick = both(lambda: ColumnSummary.of_sorted("numeric", values))
    assert plain.state() == quick.state()
    assert plain.distinct.state() == DistinctCount.of_numbers(values).state()


def test_the_loops_as_python_say_what_the_compiled_ones_do():
    values = drawn(3, 2 * _BLOCK + 1_003, np.float32)
    compiled = native._compiled_loops()
    shape = (3, _BLOCK // loops.STRIPE, loops.LANES)
    found, pooled = [], []
    for measure in (loops.block_moments, compiled.block_moments):
        found.append(np.empty((3, 5)))
        pooled.append(np.empty(5))
        measure(values, np.empty(shape), found[-1], pooled[-1])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(pooled[0], pooled[1])


def mixed(seed: int, rows: int, dtype: type) -> Any:
    """Ascending, with repeats, and of floats with infinities, both zeros and NaN."""
    rng = np.random.default_rng(seed)
    values = drawn(seed, rows, dtype).astype(np.float64).round(int(rng.integers(0, 3)))
    if np.dtype(dtype).kind == "f":
        odd = np.array([-np.inf, np.inf, np.nan, -0.0, 0.0])
        values[rng.random(rows) < 0.1] = rng.choice(odd)
    return np.sort(values.astype(dtype))


@given(st.integers(0, 2**32), st.integers(0, 3_000), st.sampled_from(DTYPES))
@settings(max_examples=150, deadline=None)
def test_a_look_over_sorted_numbers_tells_the_same_with_and_without_compiled_loops(seed, rows, dtype):
    values = mixed(seed, rows, dtype)
    plain, quick = both(lambda: look(values))
    assert plain == quick
    finite = values[plain.low : plain.high]
    known = np.unique(finite + 0 if values.dtype.kind != "f" else finite + values.dtype.type(0))
    assert plain.distinct == len(known)
    assert (plain.zeros, plain.negatives) == (int((finite == 0).sum()), int((finite < 0).sum()))
    assert plain.low + plain.numbers - plain.high == int(np.isinf(values.astype(float)).sum())
    if len(finite):
        (begun, counts), quickly = both(lambda: runs(finite, plain.distinct))
        np.testing.assert_array_equal((begun, counts), quickly)
        np.testing.assert_array_equal(finite[begun], known)
        np.testing.assert_array_equal(np.repeat(known, counts), finite)


@given(st.integers(0, 2**32), st.integers(1, 30_000), st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_any_column_is_summarised_to_the_same_state(seed, rows, dtype):
    values = mixed(seed, rows, dtype)
    plain, quick = both(lambda: ColumnSummary.of_sorted("numeric", values))
    assert str(plain.state()) == str(quick.state())


@given(
    st.integers(0, 2**32),
    st.lists(st.integers(1, 30_000), min_size=2, max_size=5),
    st.sampled_from(DTYPES),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_summaries_of_drifting_chunks_merge_to_the_same_state(seed, sizes, dtype, in_turn):
    parts = [np.sort(mixed(seed + i, rows, dtype) + dtype(i)) for i, rows in enumerate(sizes)]
    summaries = [ColumnSummary.of_sorted("numeric", part) for part in parts]

    def merged() -> ColumnSummary:
        if in_turn:
            return reduce(ColumnSummary.merge, summaries)
        return merge_tree(summaries, ColumnSummary.merge)

    plain, quick = both(merged)
    assert str(plain.state()) == str(quick.state())
    assert str(plain.compact().state()) == str(both(merged)[1].compact().state())


def test_frequent_values_of_two_types_are_merged_with_compiled_loops_as_well():
    whole = HeavyHitters.of(np.array([1, 2]), np.array([3, 4]))
    plain, quick = both(lambda: whole.merge(HeavyHitters.of(np.array([1.5, 2.0]), np.array([5, 6]))))
    assert plain.items() == quick.items() == [(2, 10), (1.5, 5), (1, 3)]


def test_without_numba_numpy_measures(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    native.want_loops()
    assert native.wanted_loops() is None
