"""What sources give: typed tables with the rows that did not parse; rows of values to typed tables (pure)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.data.schemas import is_text
from headrace.ingesting.quarantine import BadRow
from headrace.ingesting.texts import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.ingesting.columns import Layout


@dataclass(frozen=True)
class Batch:
    """Some rows of a source."""

    table: pa.Table
    """Rows that parse, in the layout's schema."""
    bad: tuple[BadRow, ...] = ()
    """Rows that do not."""


def settle(table: pa.Table, layout: Layout, locate: Callable[[], Callable[[int], tuple[int, str]]]) -> Batch:
    """Convert the columns that are still text.

    Parameters
    ----------
    table : pyarrow.Table
        The layout's columns in their order, some as strings.
    layout : Layout
        Their types.
    locate : callable
        Called when a row is bad; returns a function from the number of a row to its line and text.
    """
    arrays: list[Any] = []
    reasons: dict[int, str] = {}
    for column in layout.columns:
        given = table[column.name]
        if given.type == column.type:
            arrays.append(given)
            continue
        texts = given.combine_chunks()
        if isinstance(texts, pa.ChunkedArray):
            texts = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.string())
        values, bad = typed(texts, column)
        arrays.append(values)
        for row in np.flatnonzero(bad):
            said = " ".join(str(texts[int(row)].as_py()).split())[:100]
            reasons.setdefault(int(row), f"{column.name}: {said!r} is not {_kind(column.type)}")
    result = pa.table(arrays, schema=layout.schema)
    if not reasons:
        return Batch(result)
    place = locate()
    kept = np.ones(table.num_rows, dtype=bool)
    kept[list(reasons)] = False
    bad_rows = tuple(BadRow(place(row)[0], reasons[row], place(row)[1]) for row in sorted(reasons))
    return Batch(result.filter(pa.array(kept)), bad_rows)


def text_of(value: Any, nulls: frozenset[str]) -> str | None:
    """Write a value of JSON, a workbook or a page as text that loses nothing.

    Examples
    --------
    >>> text_of(3.0, frozenset()), text_of(True, frozenset()), text_of("NA", frozenset({"NA"})), text_of([1], frozenset())
    ('3', 'true', None, '[1]')
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, str):
        return None if value in nulls else value
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return repr(value.total_seconds())
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give the fields of objects in objects the names of their paths; lists stay values.

    Examples
    --------
    >>> flat({"a": 1, "b": {"c": 2, "d": {"e": [3]}}})
    {'a': 1, 'b.c': 2, 'b.d.e': [3]}
    """
    found: dict[str, Any] = {}
    for name, value in record.items():
        found |= (
            flat(value, f"{prefix}{name}.")
            if isinstance(value, dict) and value
            else {f"{prefix}{name}": value}
        )
    return found


def text_table(rows: Sequence[dict[str, Any]], names: Sequence[str], nulls: Sequence[str]) -> pa.Table:
    """Return rows as columns of text; a field that a row lacks is null."""
    missing = frozenset(nulls)
    arrays = [pa.array([text_of(row.get(name), missing) for row in rows], pa.string()) for name in names]
    return pa.table(arrays, names=list(names))


def names_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Names of all fields, in the order in which they are met."""
    return list(dict.fromkeys(name for row in rows for name in row))


def rows_to_batch(
    rows: Sequence[dict[str, Any]], lines: Sequence[int], layout: Layout, nulls: Sequence[str]
) -> Batch:
    """Convert rows of values strictly; what does not convert is a bad row with its JSON as text."""

    def locate() -> Callable[[int], tuple[int, str]]:
        return lambda row: (lines[row], json.dumps(rows[row], ensure_ascii=False, default=str))

    return settle(text_table(rows, layout.names, nulls), layout, locate)


def conform(table: pa.Table, layout: Layout, first: int) -> Batch:
    """Bring a typed table into the layout; rows with a value that its type cannot hold without loss are bad.

    Parameters
    ----------
    table : pyarrow.Table
        Any types. A column of the layout that is not there is null.
    layout : Layout
        Names and types that are wanted.
    first : int
        Number of the first row.
    """
    arrays = []
    for column in layout.columns:
        if column.name not in table.column_names:
            arrays.append(pa.chunked_array([pa.nulls(table.num_rows, column.type)]))
            continue
        given = table[column.name]
        if pa.types.is_dictionary(given.type):
            given = given.cast(given.type.value_type)
        if given.type != column.type and not (is_text(given.type) and not is_text(column.type)):
            try:
                given = given.cast(column.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                given = _as_text(given)
        arrays.append(given.cast(pa.string()) if is_text(given.type) and given.type != column.type else given)

    def locate() -> Callable[[int], tuple[int, str]]:
        return lambda row: (
            first + row,
            json.dumps(table.slice(row, 1).to_pylist()[0], ensure_ascii=False, default=str),
        )

    return settle(pa.table(arrays, names=list(layout.names)), layout, locate)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [text_of(value, frozenset()) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _kind(data_type: pa.DataType) -> str:
    types = pa.types
    if types.is_integer(data_type):
        return f"a whole number ({data_type})"
    if types.is_floating(data_type):
        return "a number"
    if types.is_boolean(data_type):
        return "true or false"
    return "a date" if types.is_date(data_type) else "a time"
