"""Columns made from the rows before: of one chunk, and of what the chunks before it have left."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.hashing import splitmix64
from headrace.accumulators.windows import GroupedRows, statistics
from headrace.engine.folds import plain, time_length, time_numbers, value_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.data.history import History, Step

    Past: TypeAlias = tuple[pa.Table, ...]
    """What rows leave to those after them: for each grouping of a history, rows as of `rows_of`, oldest first."""

KEY, TIME = "key", "time"
"""Columns of `rows_of` beside the values, whose names begin with `VALUE`."""
VALUE = "value "


def rows_of(history: History, table: pa.Table) -> Past:
    """Take from a chunk what is looked back at.

    Parameters
    ----------
    history : History
        What is made.
    table : pyarrow.Table
        Rows in the order of time, with at least the inputs of `history`.

    Returns
    -------
    tuple of pyarrow.Table
        For each grouping: the 64-bit hash of the keys, null where one is missing; the time in the unit of its column;
        the values. Equal hashes of different keys are not told apart: among a million keys there are any with a
        probability of 3e-8.
    """
    times, _ = time_numbers(table.column(history.time))
    made = []
    for by in history.groups:
        keys = np.zeros(table.num_rows, np.uint64)
        missing = np.zeros(table.num_rows, bool)
        for name in by:
            column = table.column(name)
            keys = splitmix64(keys + value_keys(column))
            missing |= column.is_null().to_numpy()
        columns = {KEY: pa.array(keys, mask=missing), TIME: pa.array(times)}
        columns |= {VALUE + name: plain(table.column(name)) for name in history.values(by)}
        made.append(pa.table(columns))
    return tuple(made)


def extend(history: History, table: pa.Table, past: Past | None) -> pa.Table:
    """Append the columns that a history makes.

    Parameters
    ----------
    history : History
        What is made.
    table : pyarrow.Table
        The rows of a chunk, with at least the inputs of `history`.
    past : tuple of pyarrow.Table or None
        What the chunks before have left to it; None when there is nothing before.
    """
    made: dict[str, pa.Array | pa.ChunkedArray] = {}
    for number, (by, own) in enumerate(zip(history.groups, rows_of(history, table), strict=True)):
        rows = pa.concat_tables([past[number], own]) if past else own
        rows = rows.combine_chunks()
        grouped = _grouped(rows)
        at = grouped.positions[rows.num_rows - own.num_rows :]
        kind = table.schema.field(history.time).type
        for step in history.steps:
            if step.by == by:
                values = rows.column(VALUE + step.column)
                made.update(zip(step.names, _made(step, grouped, at, values, kind), strict=True))
    for name in history.names:
        table = table.append_column(name, made[name])
    return table


def _grouped(rows: pa.Table) -> GroupedRows:
    keys = rows.column(KEY)
    known = np.asarray(keys.is_valid())
    return GroupedRows.of(
        np.asarray(keys.fill_null(0)).astype(np.uint64), known, np.asarray(rows.column(TIME)).astype(np.int64)
    )


def _made(
    step: Step, grouped: GroupedRows, at: NDArray[np.int64], values: pa.ChunkedArray, kind: pa.DataType
) -> Iterator[pa.Array | pa.ChunkedArray]:
    """Yield the columns of a step for the rows at some positions."""
    if step.kind == "fill":
        yield _taken(values, grouped, grouped.last(_valid(values)[grouped.order])[at])
        return
    gap = time_length(step.gap, kind)
    ends = grouped.ends(at, gap)
    if step.kind == "lags":
        for rows in step.rows:
            yield _taken(values, grouped, grouped.lagged(at, ends, rows))
        return
    span = 0 if step.window is None else gap + time_length(step.window, kind)
    starts = grouped.starts(at, ends, rows=step.rows, span=span)
    numbers = np.asarray(pc.fill_null(values.cast(pa.float64()), np.nan))[grouped.order]
    for found in statistics(numbers, starts, ends, step.statistics).values():
        yield pa.array(found, from_pandas=True)  # NaN: no value


def _taken(values: pa.ChunkedArray, grouped: GroupedRows, positions: NDArray[np.int64]) -> pa.ChunkedArray:
    """Take the values at some positions; -1 stands for none."""
    places = grouped.order[positions] if len(grouped.order) else positions
    return values.take(pa.array(places, mask=positions < 0))


def _valid(values: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Tell which values are neither null nor NaN."""
    return ~np.asarray(values.is_null(nan_is_null=True))


def left(history: History, rows: Past, kind: pa.DataType) -> Past:
    """Keep of rows what later rows may look back at, and the last of each key, from which is seen which keys there are.

    Of what is left and of later rows together, the same is left as of all rows.

    Parameters
    ----------
    history : History
        What is made.
    rows : tuple of pyarrow.Table
        As of `rows_of`, or what was left before with later rows after it.
    kind : pyarrow.DataType
        Type of the time column.
    """
    return tuple(_left(history, by, each, kind) for by, each in zip(history.groups, rows, strict=True))


def _left(history: History, by: tuple[str, ...], rows: pa.Table, kind: pa.DataType) -> pa.Table:
    rows = rows.filter(rows.column(KEY).is_valid()).combine_chunks()
    if not rows.num_rows:
        return rows
    grouped = _grouped(rows)
    every = np.arange(rows.num_rows)
    kept = every == grouped.stop - 1
    now = grouped.times.max()
    for step in history.steps:
        if step.by != by:
            continue
        if step.kind == "fill":
            valid = _valid(rows.column(VALUE + step.column))[grouped.order]
            kept |= every == grouped.last(valid)[grouped.stop - 1]
            continue
        gap = time_length(step.gap, kind)
        # No later row looks back at less than what is `gap` older than now.
        known = grouped.after(every, np.full(len(every), now - gap)) if gap else grouped.stop
        if step.kind == "rolling" and step.window is not None:
            kept |= grouped.times >= now - gap - time_length(step.window, kind)
        else:
            kept |= every >= known - (max(step.rows) if step.kind == "lags" else step.rows or 0)
    return rows.filter(pa.array(kept[grouped.positions]))


def joined(earlier: Past, later: Past) -> Past:
    """Put rows after earlier ones."""
    return tuple(pa.concat_tables(pair) for pair in zip(earlier, later, strict=True))


def before(past: Past, left_by: Past) -> Past:
    """Keep of a past the rows whose keys a chunk has, as is seen from what the chunk itself leaves."""
    return tuple(
        rows.filter(pc.is_in(rows.column(KEY), value_set=own.column(KEY)))
        for rows, own in zip(past, left_by, strict=True)
    )
