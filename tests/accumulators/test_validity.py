"""Masks of missing values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.accumulators.validity import null_mask

ARRAYS = {
    "floats": lambda present: pa.array([1.5 if p else None for p in present], pa.float64()),
    "bytes": lambda present: pa.array([1 if p else None for p in present], pa.int8()),
    "truths": lambda present: pa.array([True if p else None for p in present], pa.bool_()),
    "texts": lambda present: pa.array(["x" if p else None for p in present], pa.string()),
    "codes": lambda present: pa.array(["x" if p else None for p in present]).dictionary_encode(),
    "lists": lambda present: pa.array([[1] if p else None for p in present], pa.list_(pa.int8())),
    "nulls": lambda present: pa.nulls(len(present)),
}


@given(
    st.lists(st.booleans(), max_size=70),
    st.integers(0, 20),
    st.integers(0, 70),
    st.sampled_from(sorted(ARRAYS)),
)
@settings(max_examples=300, deadline=None)
def test_the_mask_of_any_slice_of_any_type_is_that_of_arrow(present, start, length, kind):
    array = ARRAYS[kind](present).slice(min(start, len(present)), length)
    mask = null_mask(array)
    assert mask.dtype == np.bool_
    assert mask.tolist() == array.is_null().to_pylist()


@pytest.mark.parametrize("present", [[True] * 9, [True, False] * 9])
def test_the_mask_may_be_written_to(present):
    mask = null_mask(ARRAYS["floats"](present))
    mask[0] = True
    assert mask[0]
