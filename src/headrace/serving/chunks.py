"""Chunks of a dataset turned into the tensors that a model takes; values that are not of their type are found by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.errors import InputError
from headrace.packaging.exports.onnx_file import feed, sort_of
from headrace.packaging.exports.steps import MISSING_STRING
from headrace.packaging.inputs import to_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.packaging.signature import InputColumn
    from headrace.serving.feeds import Feeds

TYPE, FINITE = "type", "finite"


def feeds_of_chunk(
    table: pa.Table, inputs: Sequence[InputColumn]
) -> tuple[Feeds, list[tuple[str, str, np.ndarray[Any, Any]]]]:
    """Turn the rows of a chunk into tensors; unlike `headrace.serving.feeds`, a bad value costs its row alone.

    Parameters
    ----------
    table : pyarrow.Table
        Text may come dictionary-encoded, which is the fast way: each distinct text is made a Python string once.
    inputs : sequence of InputColumn
        What the model reads; every column is in the table.

    Returns
    -------
    feeds : dict of str to ndarray, shape (rows, 1)
        As of `headrace.serving.feeds`; where a value is not of its type, a missing one.
    bad : list of (column, check, rows)
        Rows, shape (k,), whose value is not of the ``type`` of its column or not ``finite``.
    """
    feeds: Feeds = {}
    bad = []
    for column in inputs:
        held = table.column(column.name)
        if column.kind == "string" and pa.types.is_dictionary(held.type):
            feeds[column.name] = _texts(held)
            continue
        conformed, rows = _conformed(held, column)
        tensor = feed(conformed, sort_of(column.kind))
        if len(rows):
            bad.append((column.name, TYPE, rows))
        if tensor.dtype.kind == "f":
            infinite = np.flatnonzero(np.isinf(tensor[:, 0]))
            if len(infinite):
                bad.append((column.name, FINITE, infinite))
        feeds[column.name] = tensor
    return feeds, bad


def taken(feeds: Feeds, rows: np.ndarray[Any, Any]) -> Feeds:
    """Pick rows of all tensors."""
    return {name: tensor[rows] for name, tensor in feeds.items()}


def _texts(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    column = column.unify_dictionaries()
    parts = []
    for piece in column.chunks:
        known = np.array([*piece.dictionary.to_pylist(), MISSING_STRING], dtype=object)
        known[known == None] = MISSING_STRING  # noqa: E711 - compared element by element
        codes = piece.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
        parts.append(known[codes])
    texts = np.concatenate(parts) if parts else np.empty(0, dtype=object)
    return texts.reshape(-1, 1)


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
