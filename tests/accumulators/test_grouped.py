"""Sums by value: exact while they fit, and the error told when they do not."""

from __future__ import annotations

import json
from collections import Counter
from functools import reduce

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.accumulators.grouped import GroupedSums

WORDS = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=20), min_size=1, max_size=6)


def of(words: list[str], capacity: int) -> GroupedSums:
    y = np.array([ord(word) for word in words], dtype=float)
    return GroupedSums.of(
        capacity, pa.array(words, pa.string()), {"y": y, f"has {len(words) % 2}": np.ones(len(words))}
    )


@settings(max_examples=60, deadline=None)
@given(chunks=WORDS)
def test_exact_while_the_values_fit(chunks):
    whole = reduce(GroupedSums.merge, [of(words, 10) for words in chunks])
    words = [word for chunk in chunks for word in chunk]
    counts = Counter(words)
    assert whole.error == 0
    assert [(value, rows) for value, rows, _ in whole.result()] == sorted(counts.items())
    ordered = whole.ordered()
    np.testing.assert_array_equal(ordered.column("y"), [ord(word) * counts[word] for word in sorted(counts)])
    assert whole.total("has 0") + whole.total("has 1") == len(words)
    again = GroupedSums.from_state(json.loads(json.dumps(whole.state(), allow_nan=False)))
    assert again.result() == whole.result()
    assert (again.rows, again.total("y"), again.error) == (whole.rows, whole.total("y"), whole.error)


@settings(max_examples=60, deadline=None)
@given(chunks=WORDS, capacity=st.integers(1, 5))
def test_of_too_many_values_no_count_is_too_low_by_more_than_the_error(chunks, capacity):
    whole = reduce(GroupedSums.merge, [of(words, capacity) for words in chunks])
    words = [word for chunk in chunks for word in chunk]
    counts = Counter(words)
    held = {value: rows for value, rows, _ in whole.result()}
    assert len(held) <= capacity
    for value, rows in counts.items():
        assert rows - whole.error <= held.get(value, 0) <= rows
    assert whole.rows == len(words)
    assert whole.total("y") == sum(ord(word) for word in words)


def test_numbers_and_nulls_of_dictionaries():
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2, 0]), pa.array(["a", "b", None]))
    assert GroupedSums.of(9, codes, {}).result() == [("a", 2, []), ("b", 1, [])]
    numbers = GroupedSums.of(9, pa.array([2, None, 2, 5]), {"y": np.ones(4)})
    assert numbers.result() == [(2.0, 2, [2.0]), (5.0, 1, [1.0])]
    assert GroupedSums.from_state(numbers.state()).merge(numbers).result() == [
        (2.0, 4, [4.0]),
        (5.0, 2, [2.0]),
    ]
    assert GroupedSums.empty(9).merge(GroupedSums.of(9, codes, {})).rows == 3
    assert GroupedSums.empty(9, numbers=True).column("y").tolist() == []
