from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.schemas import FLOATS, SIGNED, UNSIGNED, Extremes, leaves, logical_type, promote

NUMBERS = [*SIGNED, *UNSIGNED, *FLOATS[1:]]
TYPES = [*NUMBERS, pa.null(), pa.string(), pa.large_string(), pa.bool_(), pa.date32(), pa.timestamp("us")]


def _values(data_type: pa.DataType) -> st.SearchStrategy[list[Any]]:
    if pa.types.is_integer(data_type):
        signed = data_type in SIGNED
        bits = data_type.bit_width - signed
        return st.lists(st.integers(-(1 << bits) if signed else 0, (1 << bits) - 1), max_size=5)
    return st.lists(st.floats(width=data_type.bit_width, allow_nan=False), max_size=5)


@given(st.sampled_from(TYPES), st.sampled_from(TYPES))
@settings(max_examples=50, deadline=None)
def test_promotion_is_symmetric_and_idempotent(left: pa.DataType, right: pa.DataType) -> None:
    both = promote(left, right)
    assert both == promote(right, left)
    assert promote(left, left) == left
    if both is not None:
        assert promote(both, left) == both


@given(st.data(), st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))
@settings(max_examples=50, deadline=None)
def test_promotion_keeps_every_value(data: st.DataObject, left: pa.DataType, right: pa.DataType) -> None:
    values = data.draw(_values(left))
    whole = values if pa.types.is_integer(left) and values else [0]
    both = promote(left, right, (Extremes(min(whole), max(whole)), Extremes()))
    if both is not None and pa.types.is_floating(both) and right in (pa.int64(), pa.uint64()):
        pytest.fail("the range of right is not known")
    if both is not None:
        assert pa.array(values, left).cast(both).cast(left).to_pylist() == values


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.uint32(), pa.int8(), pa.int64()),
        (pa.uint64(), pa.int64(), None),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.int64(), pa.float64(), None),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.null(), pa.date32(), pa.date32()),
        (pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us"), None),
        (pa.string(), pa.int64(), None),
        (pa.bool_(), pa.int8(), None),
    ],
)
def test_promotions(left: pa.DataType, right: pa.DataType, both: pa.DataType | None) -> None:
    assert promote(left, right) == both


@pytest.mark.parametrize(("bound", "both"), [(1 << 53, pa.float64()), ((1 << 53) + 1, None)])
def test_long_integers_become_floats_only_while_exact(bound: int, both: pa.DataType | None) -> None:
    assert promote(pa.float64(), pa.int64(), (Extremes(), Extremes(-bound, bound))) == both


def test_dictionaries_count_as_their_values() -> None:
    assert logical_type(pa.dictionary(pa.int8(), pa.large_string())) == pa.large_string()


def test_leaves_of_nested_types() -> None:
    assert leaves(pa.list_(pa.struct({"a": pa.int8(), "b": pa.map_(pa.string(), pa.int8())}))) == 3
