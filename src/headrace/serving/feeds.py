"""Rows, columns or Arrow tables turned into the tensors that a model takes, each value held against its type."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.errors import InputError
from headrace.packaging.exports.onnx_file import feed, sort_of
from headrace.packaging.exports.steps import MISSING_STRING
from headrace.packaging.exports.times import MISSING_TIME
from headrace.packaging.inputs import to_frame, to_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.packaging.signature import InputColumn

Feeds = dict[str, np.ndarray[Any, Any]]
"""A tensor of shape (rows, 1) for each input, as `headrace.packaging.exports.onnx_file` describes them."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_TICK = dt.timedelta(microseconds=1)
_NAMED = 20


def feeds_of_rows(rows: Sequence[Mapping[str, Any]], inputs: Sequence[InputColumn]) -> Feeds:
    """Turn rows of JSON values into tensors.

    Parameters
    ----------
    rows : sequence of mappings
        Column to value; null is a missing value, and so is a column that is left out where training had missing ones.
    inputs : sequence of InputColumn
        What the model reads; other columns are passed over.

    Raises
    ------
    InputError
        When a value is not of its column's type, or a column is missing; the row and column are named.
    """
    for number, row in enumerate(rows):
        absent = [column.name for column in inputs if column.name not in row and not column.nullable]
        if absent:
            raise InputError(
                f"missing column{'s' if len(absent) > 1 else ''}: {', '.join(absent[:_NAMED])}",
                where=f"row {number}",
            )
    return {column.name: _tensor([row.get(column.name) for row in rows], column) for column in inputs}


def feeds_of_columns(columns: Mapping[str, Sequence[Any]], inputs: Sequence[InputColumn]) -> Feeds:
    """Turn columns of JSON values, all of one length, into tensors.

    Raises
    ------
    InputError
        As `feeds_of_rows`; also when lengths differ.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("columns differ in length", mend="give every column one value a row")
    rows = next(iter(lengths.values()), 0)
    absent = [column.name for column in inputs if column.name not in columns and not column.nullable]
    if absent:
        raise InputError(f"missing column{'s' if len(absent) > 1 else ''}: {', '.join(absent[:_NAMED])}")
    return {column.name: _tensor(columns.get(column.name, [None] * rows), column) for column in inputs}


def feeds_of_table(table: Any, inputs: Sequence[InputColumn]) -> Feeds:
    """Turn an Arrow table, or a frame of any library, into tensors.

    Raises
    ------
    InputError
        As `headrace.packaging.inputs.to_table`.
    """
    conformed = to_table(table, inputs)
    return {column.name: feed(conformed.column(column.name), sort_of(column.kind)) for column in inputs}


def frame_of(feeds: Feeds, inputs: Sequence[InputColumn]) -> Any:
    """Turn tensors into the frame that a scikit-learn pipeline reads."""
    arrays = []
    for column in inputs:
        values = feeds[column.name][:, 0]
        sort = sort_of(column.kind)
        if sort == "numbers":
            arrays.append(pa.array(values, mask=np.isnan(values)))
        elif sort == "strings":
            arrays.append(pa.array(values, type=pa.large_string(), mask=values == MISSING_STRING))
        else:
            arrays.append(pa.array(values.view("datetime64[us]")))
    return to_frame(pa.table(arrays, names=[column.name for column in inputs]))


def _tensor(values: Sequence[Any], column: InputColumn) -> np.ndarray[Any, Any]:
    sort = sort_of(column.kind)
    try:
        made = [_READ[sort](value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise _refused(values, column) from None
    types = {"numbers": np.float64, "strings": object, "times": np.int64}
    return np.array(made, dtype=types[sort]).reshape(-1, 1)


def _refused(values: Sequence[Any], column: InputColumn) -> InputError:
    """Name the first value that is not of its column's type."""
    for number, value in enumerate(values):
        try:
            _READ[sort_of(column.kind)](value)
        except (TypeError, ValueError, OverflowError):
            return InputError(
                f"{repr(value)[:60]} is not {_WANTED[column.kind]}", where=f"row {number}: {column.name}"
            )
    return InputError("a value is not of its type", where=column.name)


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, (int, float)):
        raise TypeError
    number = float(value)
    if math.isinf(number):
        raise ValueError
    return number


def _string(value: Any) -> str:
    if value is None:
        return MISSING_STRING
    if isinstance(value, str):
        # Half of a surrogate pair is no character, and no encoding has a place for it.
        value.encode()
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError


def _time(value: Any) -> int:
    if value is None:
        return MISSING_TIME
    if not isinstance(value, str):
        raise TypeError
    moment = dt.datetime.fromisoformat(value)
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (zoned - _EPOCH) // _TICK


_READ: dict[str, Callable[[Any], Any]] = {"numbers": _number, "strings": _string, "times": _time}
_WANTED = {
    "numeric": "a finite number",
    "boolean": "true or false",
    "string": "text",
    "datetime": "a time such as 2013-10-01T17:30:00",
}
