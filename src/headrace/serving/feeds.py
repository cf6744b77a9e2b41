"""Rows, columns or Arrow tables turned into the tensors that a model takes, each value held against its type."""

from __future__ import annotations

import datetime as dt
import math
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.data.pii import treat_tensor
from headrace.errors import InputError
from headrace.packaging.exports.onnx_file import feed, sort_of
from headrace.packaging.exports.steps import MISSING_STRING
from headrace.packaging.exports.times import MISSING_TIME
from headrace.packaging.inputs import to_frame, to_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.packaging.signature import InputColumn, Signature

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
    required = _required(inputs)
    for number, row in enumerate(rows):
        if not required <= row.keys():
            absent = [column.name for column in inputs if column.name in required and column.name not in row]
            raise InputError(
                f"missing column{'s' if len(absent) > 1 else ''}: {', '.join(absent[:_NAMED])}",
                where=f"row {number}",
            )
    return _tensors(lambda names: [row.get(name) for name in names for row in rows], inputs, len(rows))


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
    left_out = [None] * rows
    return _tensors(
        lambda names: [value for name in names for value in columns.get(name, left_out)], inputs, rows
    )


def feeds_of_table(table: Any, inputs: Sequence[InputColumn]) -> Feeds:
    """Turn an Arrow table, or a frame of any library, into tensors.

    Raises
    ------
    InputError
        As `headrace.packaging.inputs.to_table`.
    """
    conformed = to_table(table, inputs)
    return {column.name: feed(conformed.column(column.name), sort_of(column.kind)) for column in inputs}


def treated(feeds: Feeds, signature: Signature) -> Feeds:
    """Treat columns about persons as they were in training.

    Raises
    ------
    InputError
        When the key of a hash is not here, or not that of the training.
    """
    missing = {"numbers": math.nan, "strings": MISSING_STRING, "times": MISSING_TIME}
    sorts = {column.name: sort_of(column.kind) for column in signature.inputs}
    return feeds | {
        each.column: treat_tensor(feeds[each.column], each, missing[sorts[each.column]])
        for each in signature.pii
        if each.column in feeds
    }


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


def _required(inputs: Sequence[InputColumn]) -> set[str]:
    return {column.name for column in inputs if not column.nullable}


def _tensors(
    values_of: Callable[[Sequence[str]], list[Any]], inputs: Sequence[InputColumn], rows: int
) -> Feeds:
    """Make the tensors of all columns: one array a kind, of which each tensor is a view."""
    kinds: dict[str, list[str]] = {}
    for column in inputs:
        kinds.setdefault(column.kind, []).append(column.name)
    feeds: Feeds = {}
    for kind, names in kinds.items():
        try:
            block = _block(kind, values_of(names)).reshape(len(names), rows, 1)
        except (TypeError, ValueError, OverflowError):
            raise _refused(kind, names, values_of) from None
        feeds.update(zip(names, block, strict=True))
    return feeds


def _block(kind: str, values: list[Any]) -> np.ndarray[Any, Any]:
    """Read values of one kind, each by itself unless numbers are plain and finite, which the array itself finds."""
    sort = sort_of(kind)  # which refuses what it does not know
    if kind == "numeric" and _PLAIN.issuperset(map(type, values)):
        numbers = np.array(values, dtype=np.float64)
        if not np.isinf(numbers).any():
            return numbers
    return np.array(list(map(_READ[kind], values)), dtype=_TYPES[sort])


def _refused(kind: str, names: Sequence[str], values_of: Callable[[Sequence[str]], list[Any]]) -> InputError:
    """Name the first value that is not of its column's type."""
    for name in names:
        for number, value in enumerate(values_of([name])):
            try:
                _READ[kind](value)
            except (TypeError, ValueError, OverflowError):
                # The whole of a hostile value may be megabytes, or a thousand lists in one another.
                shown = reprlib.repr(value)[:60]
                return InputError(f"{shown} is not {_WANTED[kind]}", where=f"row {number}: {name}")
    return InputError("a value is not of its type", where=", ".join(names[:_NAMED]))


def _number(value: Any) -> float:
    if type(value) is float:
        number = value
    elif type(value) is int:
        number = float(value)
    elif value is None:
        return math.nan
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise TypeError
    if math.isinf(number):
        raise ValueError
    return number


def _boolean(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or (isinstance(value, (int, float)) and value in {0, 1}):
        return float(value)
    raise TypeError


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


_READ: dict[str, Callable[[Any], Any]] = {
    "numeric": _number,
    "boolean": _boolean,
    "string": _string,
    "datetime": _time,
}
_PLAIN = frozenset({float, int, type(None)})
"""Types of values that an array of numbers takes as `_number` does: null becomes NaN."""
_TYPES = {"numbers": np.float64, "strings": np.object_, "times": np.int64}
_WANTED = {
    "numeric": "a finite number",
    "boolean": "true or false",
    "string": "text",
    "datetime": "a time such as 2013-10-01T17:30:00",
}
