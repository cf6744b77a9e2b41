"""Frequent values against exact counts, within the bound that is claimed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import chunkings, columns, merge_trees

from headrace.accumulators.hitters import COUNTERS, EXACT, HeavyHitters

if TYPE_CHECKING:
    from numpy.typing import NDArray

quick = settings(max_examples=30, deadline=None)


def skewed(rng: np.random.Generator, n: int, top: int = 40_000) -> NDArray[np.int64]:
    """Few frequent values among many rare ones."""
    return np.where(rng.random(n) < 0.3, rng.integers(0, 5, n), rng.integers(0, top, n))


def leaf(x: NDArray[Any]) -> HeavyHitters:
    values, counts = np.unique(x, return_counts=True)
    return (
        HeavyHitters.of_sorted(np.sort(x), len(values))
        if len(values) > EXACT
        else HeavyHitters.of(values, counts)
    )


def assert_within_bounds(found: HeavyHitters, x: NDArray[Any]) -> None:
    truth = Counter(x.tolist())
    held = dict(found.items())
    assert found.n == len(x)
    assert found.error <= len(x) / (COUNTERS + 1)
    # What the merges rely on: every unit of error has taken away k + 1 rows.
    assert sum(held.values()) + (COUNTERS + 1) * found.error <= len(x)
    for value, count in held.items():
        assert truth[value] - found.error <= count <= truth[value]
    assert all(count <= found.error for value, count in truth.items() if value not in held)


@quick
@given(st.data())
def test_few_distinct_values_are_counted_exactly_by_any_split_and_tree(data):
    x = data.draw(columns())
    found = data.draw(merge_trees())(
        [leaf(x[cut]) for cut in data.draw(chunkings(len(x)))], HeavyHitters.merge
    )
    assert found.exact
    assert dict(found.items()) == Counter(x.tolist())
    counts = [count for _, count in found.items()]
    assert counts == sorted(counts, reverse=True)


@settings(max_examples=8, deadline=None)
@given(st.data(), st.integers(0, 1 << 32))
def test_many_distinct_values_stay_within_the_claimed_error(data, seed):
    x = skewed(np.random.default_rng(seed), 60_000)
    found = data.draw(merge_trees())(
        [leaf(x[cut]) for cut in data.draw(chunkings(len(x)))], HeavyHitters.merge
    )
    assert_within_bounds(found, x)
    assert_within_bounds(found.compact(), x)
    assert {0, 1, 2, 3, 4} <= {value for value, _ in found.items()[:5]}
    assert len(found.counts) <= EXACT


@pytest.mark.parametrize("top", [10_001, 200_000])
def test_one_chunk_with_many_distinct_values_counts_only_its_long_runs(top):
    x = skewed(np.random.default_rng(3), 120_000, top)
    assert_within_bounds(leaf(x), x)


@pytest.mark.parametrize("more", [0, 1])
def test_the_only_value_that_occurs_often_enough_is_found_and_no_other(more):
    distinct = 2 * EXACT
    taken = distinct // (COUNTERS + 1)
    x = np.concatenate([np.arange(distinct), np.full(taken - 1 + more, 7)])
    assert leaf(x).items() == [(7, more)] * more


def test_strings_and_numbers_are_counted_alike():
    x = skewed(np.random.default_rng(4), 40_000)
    words = np.array([f"w{value}" for value in x])
    found = HeavyHitters().update(words[:15_000]).merge(HeavyHitters().update(words[15_000:]))
    assert_within_bounds(found, words)


def test_values_that_hardly_repeat_leave_no_counters():
    found = leaf(np.arange(50_000))
    assert found.items() == []
    assert not found.exact
    assert found.merge(found).n == 100_000


def test_counts_up_to_the_limit_are_exact_and_compacting_says_when_they_are_not():
    found = HeavyHitters.of(np.arange(EXACT), np.arange(1, EXACT + 1))
    assert found.exact
    stored = found.compact()
    assert not stored.exact
    assert len(stored.counts) == COUNTERS
    assert stored.items()[0] == (EXACT - 1, EXACT - stored.error)


def test_more_counts_than_are_stored_are_written_without_loss():
    held = HeavyHitters.of(np.arange(5_000) / 7, np.arange(1, 5_001))
    read = HeavyHitters.from_state(json.loads(json.dumps(held.state())))
    np.testing.assert_array_equal(read.values, held.values)
    np.testing.assert_array_equal(read.counts, held.counts)
    assert (read.error, read.n) == (held.error, held.n)
    assert np.asarray(read.values).dtype == np.float64
