"""Chunks of a dataset conformed to what a model takes; values that are not of their type are found by row."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.data.schemas import is_text
from headrace.errors import InputError
from headrace.packaging.inputs import time_type, to_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.packaging.signature import InputColumn

TYPE, FINITE = "type", "finite"
_BLANK = r"[\s\pZ\pC]*"
_NUMBER = rf"(?i)^{_BLANK}[-+]?(\d+\.?\d*(e[-+]?\d+)?|\.\d+(e[-+]?\d+)?|inf.*|nan.*){_BLANK}$"
_TIME, _ZONE = r"^\d{4}-\d\d-\d\d[ T]?[\d:.]*", r"(Z|[-+][\d:]+)"
"""What all texts have that Arrow reads as numbers, as times, and as times with a zone; so have some that it does not."""


def conformed_chunk(
    table: pa.Table, inputs: Sequence[InputColumn]
) -> tuple[pa.Table, list[tuple[str, str, np.ndarray[Any, Any]]]]:
    """Conform the rows of a chunk; unlike `headrace.packaging.inputs.to_table`, a bad value costs its row alone.

    Parameters
    ----------
    table : pyarrow.Table
        Text may come dictionary-encoded, which is the fast way: each distinct text is looked at once.
    inputs : sequence of InputColumn
        What the model reads; every column is in the table.

    Returns
    -------
    conformed : pyarrow.Table
        The inputs as of `headrace.packaging.inputs.to_table`, but text encoded as it came; where a value is not of its
        type, a missing one.
    bad : list of (column, check, rows)
        Rows, shape (k,), whose value is not of the ``type`` of its column or not ``finite``.
    """
    columns = {}
    bad = []
    for column in inputs:
        held = table.column(column.name)
        if column.kind == "string" and pa.types.is_dictionary(held.type):
            columns[column.name] = held
            continue
        conformed, rows = _conformed(held, column)
        if len(rows):
            bad.append((column.name, TYPE, rows))
        if pa.types.is_floating(conformed.type):
            infinite = pc.fill_null(pc.is_inf(conformed), False)
            if pc.any(infinite).as_py():
                bad.append((column.name, FINITE, np.flatnonzero(infinite.to_numpy())))
        columns[column.name] = conformed
    return pa.table(columns), bad


def _conformed(held: pa.ChunkedArray, column: InputColumn) -> tuple[pa.ChunkedArray, np.ndarray[Any, Any]]:
    """Conform a column; values that cannot be are found, and become missing."""
    with suppress(InputError):
        return _as_input(held, column), np.empty(0, np.int64)
    if pa.types.is_dictionary(held.type):
        held = held.cast(held.type.value_type)
    if pa.types.is_string_view(held.type):  # of which Arrow knows no patterns
        held = held.cast(pa.large_string())
    try:
        _as_input(pa.chunked_array([pa.nulls(1, held.type)]), column)
    except InputError:  # nothing of its type can be, not even what is missing
        return _as_input(pa.chunked_array([pa.nulls(len(held))]), column), np.arange(len(held))
    bad = pc.is_in(held, value_set=_bad_values(held, column))
    kept = pc.if_else(bad, pa.scalar(None, held.type), held)
    return _as_input(kept, column), np.flatnonzero(bad.to_numpy())


def _bad_values(held: pa.ChunkedArray, column: InputColumn) -> pa.Array:
    """Find the values that cannot be: each distinct one is looked at once, most by their form alone, others by halving."""
    values = pc.unique(held)
    bad = ~_formed(values, column)
    (formed,) = np.nonzero(~bad)
    refused = np.fromiter(_refused(values.take(pa.array(formed)), column), np.int64)
    bad[formed[refused]] = True
    return values.filter(pa.array(bad))


def _formed(values: pa.Array, column: InputColumn) -> np.ndarray[Any, Any]:
    """Tell which values may be of a column: a column whose every value is bad would take long by halving."""
    if is_text(values.type) and column.kind in {"numeric", "boolean"}:
        formed = pc.match_substring_regex(values, _NUMBER)
    elif is_text(values.type) and column.kind == "datetime":
        zone = getattr(time_type(column.type), "tz", None)
        formed = pc.match_substring_regex(values, f"{_TIME}{_ZONE if zone else ''}$")
    elif pa.types.is_floating(values.type) and column.kind == "string":
        formed = pc.or_(pc.is_nan(values), pc.equal(pc.floor(values), values))
    else:
        return np.ones(len(values), bool)
    return np.array(pc.fill_null(formed, True))


def _refused(values: pa.Array, column: InputColumn, first: int = 0) -> Iterator[int]:
    try:
        _as_input(pa.chunked_array([values]), column)
    except InputError:
        if len(values) == 1:
            yield first
            return
        half = len(values) // 2
        yield from _refused(values.slice(0, half), column, first)
        yield from _refused(values.slice(half), column, first + half)


def _as_input(held: pa.ChunkedArray, column: InputColumn) -> pa.ChunkedArray:
    return to_table(pa.table({column.name: held}), (column,)).column(column.name)
