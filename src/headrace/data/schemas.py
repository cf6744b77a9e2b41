"""Which types of one column in several files can be read as one type without losing a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

EXACT_IN_FLOAT64 = 1 << 53
"""Whole numbers up to this size are exact in float64."""

SIGNED = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
FLOATS = (pa.float16(), pa.float32(), pa.float64())
EXACT_FLOAT = {8: pa.float32(), 16: pa.float32(), 32: pa.float64()}
UNITS = ("s", "ms", "us", "ns")


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest value of a column as its footers state them; None when they do not."""

    minimum: Any = None
    maximum: Any = None

    def within(self, bound: int) -> bool:
        """Whether all values are known to lie in [-bound, bound]."""
        return self.minimum is not None and self.minimum >= -bound and self.maximum <= bound


def logical_type(data_type: pa.DataType) -> pa.DataType:
    """Return the type of the values, whatever their encoding.

    Examples
    --------
    >>> logical_type(pa.dictionary(pa.int8(), pa.string()))
    DataType(string)
    """
    return data_type.value_type if pa.types.is_dictionary(data_type) else data_type


def is_text(data_type: pa.DataType) -> bool:
    """Whether values are strings of any width."""
    types = pa.types
    return bool(
        types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type)
    )


def promote(
    left: pa.DataType, right: pa.DataType, extremes: tuple[Extremes, Extremes] = (Extremes(), Extremes())
) -> pa.DataType | None:
    """Return the type that holds every value of both, or None when there is none.

    Parameters
    ----------
    left, right : pyarrow.DataType
        Dictionary-free types.
    extremes : tuple of Extremes
        Of the left and of the right values; 64-bit integers become float64 only when these show that
        each of them is exact.

    Returns
    -------
    pyarrow.DataType or None
        Symmetric in left and right.

    Examples
    --------
    >>> promote(pa.int32(), pa.int64())
    DataType(int64)
    >>> promote(pa.int64(), pa.float64()) is None
    True
    >>> promote(pa.int64(), pa.float64(), (Extremes(0, 10), Extremes()))
    DataType(double)
    """
    if left == right:
        return left
    if pa.types.is_null(left) or pa.types.is_null(right):
        return right if pa.types.is_null(left) else left
    if pa.types.is_integer(left) and pa.types.is_integer(right):
        return _wider_integer(left, right)
    if pa.types.is_floating(left) and pa.types.is_floating(right):
        return max(left, right, key=FLOATS.index)
    if pa.types.is_integer(left) and pa.types.is_floating(right):
        return _exact_float(left, right, extremes[0])
    if pa.types.is_floating(left) and pa.types.is_integer(right):
        return _exact_float(right, left, extremes[1])
    if is_text(left) and is_text(right):
        return pa.large_string()
    if _is_bytes(left) and _is_bytes(right):
        return pa.large_binary()
    if pa.types.is_timestamp(left) and pa.types.is_timestamp(right) and left.tz == right.tz:
        return max(left, right, key=lambda each: UNITS.index(each.unit))
    return None


def _wider_integer(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    for family in (SIGNED, UNSIGNED):
        if left in family and right in family:
            return max(left, right, key=family.index)
    unsigned, signed = (left, right) if left in UNSIGNED else (right, left)
    needed = [each for each in SIGNED if each.bit_width > unsigned.bit_width]
    return max(needed[0], signed, key=SIGNED.index) if needed else None


def _exact_float(integer: pa.DataType, floating: pa.DataType, extremes: Extremes) -> pa.DataType | None:
    exact = EXACT_FLOAT.get(integer.bit_width)
    if exact is None and extremes.within(EXACT_IN_FLOAT64):
        exact = pa.float64()
    return None if exact is None else max(exact, floating, key=FLOATS.index)


def _is_bytes(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(data_type) or types.is_large_binary(data_type) or types.is_binary_view(data_type)
    )


def leaves(data_type: pa.DataType) -> int:
    """Count the Parquet columns that one Arrow column is stored in.

    Examples
    --------
    >>> leaves(pa.map_(pa.string(), pa.struct({"a": pa.int8(), "b": pa.list_(pa.int8())})))
    3
    """
    if isinstance(data_type, pa.BaseExtensionType):
        return leaves(data_type.storage_type)
    if pa.types.is_nested(data_type):
        return sum(leaves(data_type.field(i).type) for i in range(data_type.num_fields))
    return 1
