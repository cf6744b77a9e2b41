"""Rows are told apart by the labels of a target, however they are found."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.profiling.classes import FEW, MOST_CLASSES, class_codes

INTEGERS = (pa.int8(), pa.uint8(), pa.int16(), pa.int64(), pa.uint64())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(INTEGERS),
    st.integers(-30, 100),
    st.lists(st.integers(0, FEW + 2), min_size=1, max_size=40),
    st.integers(0, 40),
    st.booleans(),
)
def test_a_few_integers_are_told_apart_as_by_a_hash_table(kind, low, steps, cut, missing):
    low = max(low, 0) if pa.types.is_unsigned_integer(kind) else low
    values = [low + step for step in steps] + [None] * missing
    column = pa.chunked_array([pa.array(values[:cut], kind), pa.array(values[cut:], kind)])
    told, known = class_codes(column), class_codes(column.dictionary_encode())
    assert told is not None
    assert known is not None
    assert told[1] == known[1]
    np.testing.assert_array_equal(told[0], known[0])
    assert told[0].dtype == np.uint8


def test_the_largest_integers_are_told_apart():
    column = pa.chunked_array([pa.array([2**64 - 1, 2**64 - 3, 2**64 - 1], pa.uint64())])
    told = class_codes(column)
    assert told is not None
    codes, keys = told
    assert [keys[code] for code in codes] == [str(2**64 - 1), str(2**64 - 3), str(2**64 - 1)]


@pytest.mark.parametrize("count", [FEW, FEW + 1, MOST_CLASSES, MOST_CLASSES + 1])
def test_labels_are_told_apart_up_to_a_number(count):
    told = class_codes(pa.chunked_array([pa.array(np.arange(count).repeat(3))]))
    assert (told is None) == (count > MOST_CLASSES)
    if told is not None:
        codes, keys = told
        assert [keys[code] for code in codes] == [str(i) for i in range(count) for _ in range(3)]
