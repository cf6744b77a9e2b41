"""What came before each chunk, for columns made from the rows before: one pass over a few columns, in bounded memory."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from headrace.data.chunks import place_of
from headrace.data.history import WHERE
from headrace.data.reading import row_group_of
from headrace.engine.commits import Form
from headrace.engine.folds import time_numbers
from headrace.engine.lookback import KEY, before, joined, left, rows_of
from headrace.errors import DataError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.data.dataset import Chunk, Dataset
    from headrace.data.history import History
    from headrace.engine.lookback import Past
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source

NAME = "history"
MOST_ROWS = 4_000_000
"""Rows that all chunks together may leave to those after them: some 100 MB for one number in groups of one key."""

EARLIER = "is earlier than the row before it"


@dataclass(frozen=True)
class Tails:
    """What each of some consecutive chunks leaves to those after it; merged in the order of the chunks."""

    time: str
    """The column in whose order the rows are."""
    chunks: tuple[Past, ...]
    """What each leaves, as of `headrace.engine.lookback.left`."""
    first: int | None = None
    """Time of the first row; None without rows."""
    last: int | None = None
    """Time of the last row."""
    start: tuple[str, int] = ("", 0)
    """File and number of the first row."""

    @property
    def rows(self) -> int:
        """Rows that are left."""
        return sum(table.num_rows for past in self.chunks for table in past)

    def merge(self, other: Self) -> Self:
        """Return what both leave; `other` is of later chunks.

        Raises
        ------
        DataError
            It begins before this one ends.
        InputError
            They leave more than `MOST_ROWS` rows.
        """
        if self.last is not None and other.first is not None and other.first < self.last:
            raise out_of_order(self.time, *other.start, EARLIER)
        early = other if self.first is None else self
        both = type(self)(
            self.time,
            (*self.chunks, *other.chunks),
            early.first,
            self.last if other.last is None else other.last,
            early.start,
        )
        if both.rows > MOST_ROWS:
            raise _too_many(both)
        return both


def out_of_order(time: str, path: str, row: int, what: str) -> DataError:
    """Name the first row that is not in the order of time."""
    return _disorder(time, path, row_group_of(path, row), f"row {row:,} {what}")


def _disorder(time: str, path: str, row_group: int, what: str) -> DataError:
    return DataError(
        f"row group {row_group} is not in the order of {time!r}, which {WHERE} needs: {what}",
        where=f"file {path}",
        mend=f"sort the data by {time!r} over all files, in the order of their names",
    )


def _too_many(tails: Tails) -> InputError:
    keys = max(
        len(
            pa.chunked_array(
                [chunk for past in tails.chunks for chunk in past[number].column(KEY).chunks]
            ).unique()
        )
        for number in range(len(tails.chunks[0]))
    )
    return InputError(
        f"{len(tails.chunks):,} chunks with {keys:,} keys leave {tails.rows:,} rows to those after them, and "
        f"{MOST_ROWS:,} is the most that is held",
        where=WHERE,
        mend="look fewer rows or less time back, use keys with fewer values, or give workers more `memory:`, "
        "which makes fewer and larger chunks",
    )


@dataclass(frozen=True)
class TailFinder:
    """Finds what one chunk leaves: sent to every task."""

    history: History

    def __call__(self, table: pa.Table, chunk: Chunk) -> Tails:
        """Look at one chunk.

        Raises
        ------
        DataError
            A row has no time, or is earlier than the one before it.
        """
        column = table.column(self.history.time)
        own = left(self.history, rows_of(self.history, table), column.type)
        times, missing = time_numbers(column)
        if not len(times):
            return Tails(self.history.time, (own,))
        wrong = np.flatnonzero(missing | np.append(False, times[1:] < times[:-1]))
        if len(wrong):
            what = "has no time" if missing[wrong[0]] else EARLIER
            raise out_of_order(self.history.time, *place_of(chunk, int(wrong[0])), what)
        return Tails(self.history.time, (own,), int(times[0]), int(times[-1]), place_of(chunk, 0))


def require_order(dataset: Dataset, time: str) -> None:
    """Refuse data whose footers tell that they are not in the order of time; what they do not tell, the pass does.

    Raises
    ------
    DataError
        A row group begins before the one before it ends.
    """
    last: Any = None
    for file in dataset.files:
        for number, group in enumerate(file.row_groups):
            extremes = group.columns[time].extremes if time in group.columns else None
            if extremes is None or extremes.minimum is None:
                continue
            if last is not None and extremes.minimum < last:
                raise _disorder(
                    time, file.path, number, f"it begins with {extremes.minimum}, and before it stands {last}"
                )
            last = extremes.maximum


def without_past(history: History, dataset: Dataset) -> tuple[Past, ...]:
    """Take every chunk for the first, where values do not count."""
    nothing = rows_of(
        history, pa.schema([dataset.schema.field(name) for name in history.inputs]).empty_table()
    )
    return (nothing,) * len(dataset.chunks)


def gather_past(reader: Reader, source: Source, history: History) -> tuple[Past, ...]:
    """Learn in one pass what came before each chunk.

    Every chunk is looked at for itself, and what all leave is merged in their order; so what a chunk is told does not
    depend on when it is read, nor on where the data are cut.

    Parameters
    ----------
    reader : Reader
        Runs the pass.
    source : Source
        All chunks of the dataset, with the inputs of `history`.
    history : History
        What is made.

    Returns
    -------
    tuple of past
        For each chunk of the dataset, as `headrace.engine.lookback.extend` takes it.

    Raises
    ------
    DataError
        The rows are not in the order of time.
    InputError
        More than `MOST_ROWS` rows would have to be held.
    """
    tails: Tails = reader.reduce(source, TailFinder(history), Tails.merge, name=NAME, form=FORM)
    return handed_on(history, tails.chunks, source.schema.field(history.time).type)


def handed_on(history: History, tails: Sequence[Past], kind: pa.DataType) -> tuple[Past, ...]:
    """Tell each chunk what all before it leave, of the keys that it has itself.

    Parameters
    ----------
    history : History
        What is made.
    tails : sequence of past
        What each chunk leaves, in order.
    kind : pyarrow.DataType
        Type of the time column.
    """
    told = [tuple(table.slice(0, 0) for table in tails[0])]
    running = tails[0]
    for own in tails[1:]:
        told.append(before(running, own))
        running = left(history, joined(running, own), kind)
    return tuple(told)


def _dump(tails: Tails) -> list[bytes]:
    counts = [[table.num_rows for table in past] for past in tails.chunks]
    target = io.BytesIO()
    head = {
        "time": tails.time,
        "counts": counts,
        "first": tails.first,
        "last": tails.last,
        "start": tails.start,
    }
    target.write(json.dumps(head).encode() + b"\n")
    for tables in zip(*tails.chunks, strict=True):
        whole = pa.concat_tables(tables)
        with pa.ipc.new_stream(target, whole.schema) as writer:
            writer.write_table(whole)
    return [target.getvalue()]


def _load(pieces: list[bytes]) -> Tails:
    (piece,) = pieces
    head, _, rest = piece.partition(b"\n")
    said = json.loads(head)
    streams = pa.BufferReader(rest)
    columns = []
    for counts in zip(*said["counts"], strict=True):
        with pa.ipc.open_stream(streams) as stream:
            whole = stream.read_all()
        starts = np.cumsum([0, *counts])
        columns.append([whole.slice(start, count) for start, count in zip(starts, counts, strict=False)])
    chunks = tuple(zip(*columns, strict=True))
    return Tails(said["time"], chunks, said["first"], said["last"], tuple(said["start"]))


FORM = Form(_dump, _load)
