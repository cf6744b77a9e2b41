"""Chunks of a dataset conformed to what a model takes; values that are not of their type are found by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import InputError
from headrace.packaging.inputs import to_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.packaging.signature import InputColumn

TYPE, FINITE = "type", "finite"


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
    """Conform a column; values that cannot be are found by halving, and become missing."""
    try:
        return _as_input(held, column), np.empty(0, np.int64)
    except InputError:
        if len(held) == 0:
            raise
    rows: list[int] = []
    pieces = _pieces(held, column, 0, rows)
    made = [piece for piece in pieces if piece is not None]
    kind = (made[0] if made else _as_input(pa.chunked_array([pa.nulls(0)]), column)).type
    # The ranges that stood as None hold one bad value each.
    arrays = [pa.chunked_array([pa.nulls(1, kind)]) if piece is None else piece for piece in pieces]
    whole = pa.chunked_array([chunk for array in arrays for chunk in array.chunks], type=kind)
    return whole, np.array(rows, np.int64)


def _pieces(
    held: pa.ChunkedArray, column: InputColumn, first: int, rows: list[int]
) -> list[pa.ChunkedArray | None]:
    try:
        return [_as_input(held, column)]
    except InputError:
        if len(held) == 1:
            rows.append(first)
            return [None]
    half = len(held) // 2
    return [
        *_pieces(held.slice(0, half), column, first, rows),
        *_pieces(held.slice(half), column, first + half, rows),
    ]


def _as_input(held: pa.ChunkedArray, column: InputColumn) -> pa.ChunkedArray:
    return to_table(pa.table({column.name: held}), (column,)).column(column.name)
