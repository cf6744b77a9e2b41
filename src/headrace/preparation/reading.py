"""Arrow columns as numpy views for the compiled path: values beside a mask of what is missing, no copy of what is plain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.accumulators.validity import null_mask
from headrace.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def single_array(table: pa.Table, name: str) -> pa.Array:
    """Return a column in one piece of memory.

    Raises
    ------
    DataError
        When the table does not have it.
    """
    if not table.schema.get_all_field_indices(name):  # the list of all names is long in a wide table
        raise DataError(
            "is missing", where=f"column {name!r}", mend="give every column the model was made from"
        )
    column = table.column(name)
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_dictionary(column.type) and column.num_chunks:
        return pa.concat_arrays(column.unify_dictionaries().chunks)
    return column.combine_chunks() if column.num_chunks else pa.array([], column.type)


def _view(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return values, anything where the mask is True, and the mask; None: nothing is missing."""
    if not array.null_count:
        return array.to_numpy(zero_copy_only=True), None
    mask = null_mask(array)
    plain = pa.Array.from_buffers(
        array.type, len(array), [None, array.buffers()[1]], null_count=0, offset=array.offset
    )
    return plain.to_numpy(zero_copy_only=True), mask


def read_numbers(array: pa.Array, name: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return a numeric or boolean column; NaN may be among the values.

    Raises
    ------
    DataError
        When it holds no numbers.
    """
    types = pa.types
    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif types.is_decimal(array.type) or types.is_null(array.type):
        array = array.cast(pa.float64())
    elif types.is_float16(array.type):
        array = array.cast(pa.float32())
    if not (types.is_integer(array.type) or types.is_floating(array.type)):
        raise DataError(f"is {array.type}, not numbers", where=f"column {name!r}", mend="cast it to numbers")
    return _view(array)


def read_codes(array: pa.Array, name: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None, pa.Array]:
    """Return codes, the mask of missing rows, and the strings that codes stand for.

    Raises
    ------
    DataError
        When it holds no strings.
    """
    if pa.types.is_null(array.type):
        array = array.cast(pa.large_string())
    if not pa.types.is_dictionary(array.type):
        if not _is_string(array.type):
            raise DataError(
                f"is {array.type}, not strings", where=f"column {name!r}", mend="cast it to strings"
            )
        array = array.cast(pa.large_string()).dictionary_encode()
    if not _is_string(array.type.value_type):
        raise DataError(f"is {array.type}, not strings", where=f"column {name!r}", mend="cast it to strings")
    codes, mask = _view(array.indices)
    return codes, mask, array.dictionary.cast(pa.large_string())


def read_times(array: pa.Array, name: str) -> tuple[NDArray[np.datetime64], NDArray[np.bool_] | None]:
    """Return times, in UTC when zoned.

    Raises
    ------
    DataError
        When it holds no dates or timestamps.
    """
    types = pa.types
    if types.is_null(array.type):
        array = array.cast(pa.timestamp("us"))
    if types.is_date32(array.type):
        values, mask = _view(array.view(pa.int32()))
        return values.astype("datetime64[D]"), mask
    if not (types.is_timestamp(array.type) or types.is_date64(array.type)):
        raise DataError(f"is {array.type}, not times", where=f"column {name!r}", mend="cast it to timestamps")
    unit = "ms" if types.is_date64(array.type) else array.type.unit
    values, mask = _view(array.view(pa.int64()))
    times = values.view(f"datetime64[{unit}]")
    # The transformer reads microseconds.
    return (times.astype("datetime64[us]") if unit == "ns" else times), mask


def _is_string(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
