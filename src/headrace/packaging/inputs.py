"""Frames of any library, or rows, to the columns that a pipeline reads."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.packaging.signature import InputColumn

_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, tz=(.+))?\]")


def column_names(data: Any) -> list[str]:
    """Names of the columns of a frame, a dict of columns, or a list of rows (of all rows, in order).

    Raises
    ------
    InputError
        When `data` is none of these, or a name comes twice.
    """
    if isinstance(data, dict):
        names = list(data)
    elif isinstance(data, (list, tuple)):
        if not all(isinstance(row, dict) for row in data):
            raise InputError("a list of rows must hold dicts", mend="give [{'column': value, ...}, ...]")
        names = list(dict.fromkeys(name for row in data for name in row))
    elif isinstance(data, pa.Table):
        names = list(data.schema.names)
    elif hasattr(data, "columns") and hasattr(data, "__getitem__"):
        names = list(data.columns)
    else:
        raise InputError(
            f"cannot predict on a {type(data).__name__}",
            mend="give a pandas, Arrow or polars frame, a list of rows or a dict of columns",
        )
    repeated = (
        sorted({str(name) for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    )
    if repeated:
        raise InputError(f"columns come twice: {', '.join(repeated)}", mend="rename or drop one of them")
    return names


def to_table(data: Any, columns: Sequence[InputColumn]) -> pa.Table:
    """Pick `columns` and turn each into an Arrow array of the kind that its signature names.

    Numeric and boolean columns become float64 with nulls for what is missing (None and NaN), strings
    large_string, times the time type of the training data. Columns that are not asked for are ignored.

    Parameters
    ----------
    data : frame, list of dict, or dict of sequences
        A pandas or polars frame, an Arrow table or batch, anything with ``__arrow_c_stream__``, or rows.
    columns : sequence of InputColumn
        What is needed.

    Returns
    -------
    pa.Table
        Columns in the order of `columns`.

    Raises
    ------
    InputError
        When a column is missing, or a value cannot be of its kind; the column is named.
    """
    data = _materialise(data)
    if isinstance(data, (list, tuple)) and not data:
        data = {column.name: [] for column in columns}  # no rows: nothing says which columns there are
    known = set(column_names(data))
    missing = [column.name for column in columns if column.name not in known]
    if missing:
        raise InputError(
            f"missing column{'s' if len(missing) > 1 else ''}: {', '.join(missing)}",
            mend=f"the model reads {', '.join(column.name for column in columns[:20])}",
        )
    arrays = _pick(data, columns)
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        raise InputError("columns differ in length", mend="give every column one value a row")
    return pa.table(
        [_conform(array, column) for array, column in zip(arrays, columns, strict=True)],
        names=[column.name for column in columns],
    )


def whole_table(data: Any, columns: Sequence[InputColumn] = ()) -> pa.Table:
    """Turn all of `data` into an Arrow table; `columns` are required and get the types of the training data.

    Raises
    ------
    InputError
        As `to_table`.
    """
    data = _materialise(data)
    names = column_names(data)
    if isinstance(data, (list, tuple)):
        table = pa.table({name: _array([row.get(name) for row in data], name) for name in names})
    elif isinstance(data, dict):
        table = pa.table({name: _array(data[name], name) for name in names})
    else:
        try:
            table = _arrow(data)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError(f"the frame cannot be read: {error}") from error
    checked = to_table(table, columns)
    held = dict(zip(table.column_names, table.columns, strict=True))
    held |= {column.name: _as_in_training(checked.column(column.name), column.type) for column in columns}
    return pa.table(held, metadata=table.schema.metadata)


def _as_in_training(array: pa.ChunkedArray, type_name: str) -> pa.ChunkedArray:
    try:
        return array.cast(pa.type_for_alias(type_name))
    except (pa.ArrowException, ValueError):  # 1.5 in a column of integers stays what it is
        return array


def to_frame(table: pa.Table) -> Any:
    """Turn conformed columns into the pandas frame that a ColumnTransformer reads by column name.

    Numbers are float64 with NaN, strings Python strings in object columns with NaN for what is missing,
    times datetime64.
    """
    frame = table.to_pandas()
    strings = [field.name for field in table.schema if _is_string(field.type)]
    if strings:
        # pandas 2 has None for missing strings and pandas 3 a string type: both become object with NaN
        frame = frame.astype(dict.fromkeys(strings, object))
        for name in strings:
            if table.column(name).null_count:
                frame[name] = frame[name].where(frame[name].notna(), np.nan)
    return frame


def to_arrow_frame(table: pa.Table) -> Any:
    """Turn a table into a pandas frame of Arrow-backed columns, as feature functions get in training."""
    dtype = _arrow_dtype()
    return table.to_pandas(types_mapper=dtype)


@cache
def _arrow_dtype() -> Any:
    # pandas.ArrowDtype without importing pandas here: what serves a model does not depend on it
    probe = pa.table({"x": [1]}).to_pandas().convert_dtypes(dtype_backend="pyarrow")
    return type(probe.dtypes["x"])


def _pick(data: Any, columns: Sequence[InputColumn]) -> list[pa.Array | pa.ChunkedArray]:
    names = [column.name for column in columns]
    if isinstance(data, (list, tuple)):
        return [_array([row.get(name) for row in data], name) for name in names]
    if isinstance(data, dict):
        return [_array(data[name], name) for name in names]
    if not isinstance(data, pa.Table):
        # first only what is needed: a column that nobody reads may hold anything
        data = data[names]
        try:
            return _columns(_arrow(data), names)
        except (pa.ArrowException, TypeError, ValueError):
            return [_array(list(data[name]), name) for name in names]
    return _columns(data, names)


def _columns(table: pa.Table, names: Sequence[str]) -> list[pa.ChunkedArray]:
    return [table.column(name) for name in names]


def _materialise(data: Any) -> Any:
    """Read what can be read only once, such as a stream of batches, into a table."""
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "__arrow_c_stream__") and not hasattr(data, "columns"):
        return pa.table(data)
    return data


def _arrow(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "convert_dtypes"):  # pandas: its index is no column
        return pa.Table.from_pandas(data, preserve_index=False)
    return pa.table(data)


def _array(values: Any, name: str) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise InputError("is not a sequence of values", where=name, mend="give every column a list")
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _mixed(values, name)


def _mixed(values: Any, name: str) -> pa.Array:
    """Read values of several types: as text when one is text, else as floats."""
    kept = [None if value is None or value != value else value for value in values]  # noqa: PLR0124 - only NaN differs from itself
    if any(isinstance(value, str) for value in kept):
        for value in kept:
            if value is not None and not isinstance(value, (str, int, np.integer)):
                raise _refused(name, value, "text, as other values of the column are")
        return pa.array([None if value is None else str(value) for value in kept], type=pa.large_string())
    numbers: list[float | None] = []
    for value in kept:
        try:
            numbers.append(None if value is None else float(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise _refused(name, value, "a number, as other values of the column are") from error
    return pa.array(numbers, type=pa.float64())


def _conform(array: pa.Array | pa.ChunkedArray, column: InputColumn) -> pa.ChunkedArray:
    chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if pa.types.is_dictionary(chunked.type):
        chunked = chunked.cast(chunked.type.value_type)
    convert = {"numeric": _number, "boolean": _number, "string": _string, "datetime": _time}.get(column.kind)
    if convert is None:
        return chunked
    if pa.types.is_null(chunked.type):
        return chunked.cast(_null_type(column))
    try:
        return convert(chunked, column)
    except (pa.ArrowException, ValueError) as error:
        raise InputError(
            f"cannot be read as {column.kind}: {error}",
            where=column.name,
            mend=f"the model was given {column.type}",
        ) from error


def _number(array: pa.ChunkedArray, column: InputColumn) -> pa.ChunkedArray:
    kind = array.type
    if _is_string(kind):
        text = pc.utf8_trim_whitespace(array.cast(pa.large_string()))
        return _nan_to_null(text.cast(pa.float64()))
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise _refused(column.name, _first(array), "a number")
    # safe=False lets integers beyond 2**53 be rounded, as the matrix of the model does anyway
    return _nan_to_null(array.cast(pa.float64(), safe=False))


def _nan_to_null(array: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)


def _string(array: pa.ChunkedArray, column: InputColumn) -> pa.ChunkedArray:
    kind = array.type
    if _is_string(kind):
        return array.cast(pa.large_string())
    if pa.types.is_integer(kind):
        return array.cast(pa.large_string())
    if pa.types.is_floating(kind):
        # a code such as 17 comes as 17.0 when a neighbour is missing
        return _nan_to_null(array.cast(pa.float64())).cast(pa.int64()).cast(pa.large_string())
    if pa.types.is_boolean(kind):
        return pc.if_else(array, "True", "False").cast(pa.large_string())
    raise _refused(column.name, _first(array), "text")


def _time(array: pa.ChunkedArray, column: InputColumn) -> pa.ChunkedArray:
    wanted = time_type(column.type)
    kind = array.type
    if _is_string(kind):
        # text is read to the microsecond, with or without an offset, and then as in training
        array = _parse_times(array, wanted)
    elif not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise _refused(column.name, _first(array), "a time")
    return array.cast(wanted, safe=False)


def _parse_times(array: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if getattr(wanted, "tz", None):
        return array.cast(pa.timestamp("us", "UTC"))
    return array.cast(pa.timestamp("us"))


def time_type(name: str) -> pa.DataType:
    """Read the name of an Arrow time type.

    Examples
    --------
    >>> time_type("timestamp[us, tz=UTC]"), time_type("date32[day]")
    (TimestampType(timestamp[us, tz=UTC]), TimestampType(timestamp[s]))
    """
    match = _TIMESTAMP.fullmatch(name)
    # dates are read as midnight: pandas has no type for a date alone
    return pa.timestamp(match[1], match[2]) if match else pa.timestamp("s")


def _null_type(column: InputColumn) -> pa.DataType:
    if column.kind == "string":
        return pa.large_string()
    return time_type(column.type) if column.kind == "datetime" else pa.float64()


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _first(array: pa.ChunkedArray) -> Any:
    valid = array.drop_null()
    return valid[0].as_py() if len(valid) else None


def _refused(name: str, value: Any, wanted: str) -> InputError:
    return InputError(f"{str(value)[:60]!r} is not {wanted}", where=name)
