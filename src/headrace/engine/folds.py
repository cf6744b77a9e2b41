"""The fold of each row, decided where it is read: by its place, its class, its group, its time or a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.hashing import hash_numbers, hash_strings, splitmix64
from headrace.engine.order import words

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}

NOWHERE = 255
"""Cell of a row that is in none."""

REPEATED = "repeat "
"""How the names of cells begin that hold rows which other cells hold as well."""


@dataclass(frozen=True)
class Fold:
    """One way to divide the rows: from some cells is learnt, by others is judged, and the rest is left out."""

    name: str
    repeat: int
    train: tuple[int, ...]
    """Cells of this repeat."""
    validation: tuple[int, ...]
    """Cells of this repeat; none of them in `train`."""
    within: int | None = None
    """Number of the fold from whose training rows alone it is; None of all rows."""


class Folds(Protocol):
    """A way to deal rows to cells, the largest sets of rows that no fold tells apart.

    Each row is in one cell of every repeat; it depends on the row, the seed and, where the class says so, on the chunk.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that decide."""
        ...

    @property
    def repeats(self) -> int:
        """How often all rows are dealt."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cells of one repeat."""
        ...

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Those of all repeats."""
        ...

    def cells(
        self, table: pa.Table, keys: NDArray[np.uint64], among: NDArray[np.bool_], *, seed: int
    ) -> NDArray[np.uint8]:
        """Deal the rows of a chunk.

        Parameters
        ----------
        table : pyarrow.Table
            The rows.
        keys : ndarray of uint64, shape (rows,)
            From `headrace.engine.order.row_keys`.
        among : ndarray of bool, shape (rows,)
            Rows that are dealt; the cells of the others mean nothing.
        seed : int
            Of the run.

        Returns
        -------
        ndarray of uint8, shape (repeats, rows)
        """
        ...


class _EachOnce:
    """As many cells as folds."""

    count: int
    repeats: int

    @property
    def names(self) -> tuple[str, ...]:
        """One cell a fold."""
        return _numbered(self.count)

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Each cell judges once in each repeat."""
        return each_once(self.names, self.repeats)


@dataclass(frozen=True)
class RowFolds(_EachOnce):
    """Rows are dealt by a hash of their place: fold sizes differ as those of coin tosses do."""

    count: int
    repeats: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """None."""
        return ()

    def cells(
        self, table: pa.Table, keys: NDArray[np.uint64], among: NDArray[np.bool_], *, seed: int
    ) -> NDArray[np.uint8]:
        """Deal by hash; the row's place alone decides."""
        del table, among
        return _dealt(keys, self.count, self.repeats, seed=seed)


@dataclass(frozen=True)
class GroupFolds(_EachOnce):
    """All rows with one value of a column are in one fold, by a hash of the value; missing values are one group."""

    column: str
    count: int
    repeats: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The key."""
        return (self.column,)

    def cells(
        self, table: pa.Table, keys: NDArray[np.uint64], among: NDArray[np.bool_], *, seed: int
    ) -> NDArray[np.uint8]:
        """Deal by the hash of the value; neither place nor chunk matters."""
        del keys, among
        return _dealt(value_keys(table.column(self.column)), self.count, self.repeats, seed=seed)


@dataclass(frozen=True)
class StratifiedFolds(_EachOnce):
    """The rows of each class are dealt in turn, in the order of a hash, beginning at a fold drawn for each chunk.

    In one chunk the rows of a class in two folds differ by one at most; over n chunks therefore by n at most, and by
    about the square root of n / 2 as a rule, where a hash alone gives the root of the rows. A row's fold depends on how
    chunks are cut, which a run keeps when it is resumed.
    """

    column: str
    """The target."""
    count: int
    repeats: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.column,)

    def cells(
        self, table: pa.Table, keys: NDArray[np.uint64], among: NDArray[np.bool_], *, seed: int
    ) -> NDArray[np.uint8]:
        """Deal class by class."""
        cells = np.zeros((self.repeats, len(keys)), np.uint8)
        rows = np.flatnonzero(among)
        if not len(rows):
            return cells
        label, classes = np.unique(value_keys(table.column(self.column))[rows], return_inverse=True)
        for repeat in range(self.repeats):
            mixed = words(keys[rows], seed=seed, salt=_salt(repeat))
            order = np.lexsort((mixed, classes))
            sizes = np.bincount(classes, minlength=len(label))
            rank = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            first = splitmix64(label ^ mixed.min()) % np.uint64(self.count)
            cells[repeat, rows[order]] = (rank + first.astype(np.int64)[classes[order]]) % self.count
        return cells


@dataclass(frozen=True)
class ColumnFolds:
    """A column says which fold a row is in; rows with another value, or none, are learnt from in every fold."""

    column: str
    values: tuple[str | int, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def repeats(self) -> int:
        """Once."""
        return 1

    @property
    def names(self) -> tuple[str, ...]:
        """One cell a value, and the others."""
        return (*(f"fold {value}" for value in self.values), "other values")

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Each value judges once."""
        rest = len(self.values)
        return tuple(
            Fold(name, 0, tuple(cell for cell in range(rest + 1) if cell != k), (k,))
            for k, name in enumerate(self.names[:rest])
        )

    def cells(
        self, table: pa.Table, keys: NDArray[np.uint64], among: NDArray[np.bool_], *, seed: int
    ) -> NDArray[np.uint8]:
        """Look the values up."""
        del keys, among, seed
        column = plain(table.column(self.column))
        found = pc.index_in(column, value_set=pa.array(self.values).cast(column.type), skip_nulls=True)
        return np.asarray(pc.fill_null(found, len(self.values))).astype(np.uint8)[None, :]


@dataclass(frozen=True)
class TimeFolds:
    """Each fold judges by a stretch of time and learns from what was before it, as a model in use does.

    Rows without a time are in no fold.
    """

    column: str
    starts: tuple[int, ...]
    """First moment by which each fold judges, ascending, in the unit of the column; it ends where the next begins."""
    gap: int = 0
    """Time before that moment from which is not learnt."""
    window: int | None = None
    """Time before the gap from which is learnt; None: all of it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The time column."""
        return (self.column,)

    @property
    def repeats(self) -> int:
        """Once."""
        return 1

    @property
    def cuts(self) -> tuple[int, ...]:
        """Moments at which a cell begins, but for the first."""
        moments = {
            moment for start in self.starts for moment in (start, *self._learnt(start)) if moment is not None
        }
        return tuple(sorted(moments))

    @property
    def names(self) -> tuple[str, ...]:
        """Stretches of time, and the rows without one."""
        return (*(f"stretch {k}" for k in range(1, len(self.cuts) + 2)), "without a time")

    @property
    def folds(self) -> tuple[Fold, ...]:
        """In the order of time."""
        begins: tuple[float, ...] = (float("-inf"), *self.cuts)
        found = []
        for k, start in enumerate(self.starts):
            low, high = self._learnt(start)
            end = self.starts[k + 1] if k + 1 < len(self.starts) else float("inf")
            train = [c for c, begin in enumerate(begins) if begin < high and (low is None or begin >= low)]
            judged = [c for c, begin in enumerate(begins) if start <= begin < end]
            found.append(Fold(f"fold {k + 1}", 0, tuple(train), tuple(judged)))
        return tuple(found)

    def cells(
        self, table: pa.Table, keys: NDArray[np.uint64], among: NDArray[np.bool_], *, seed: int
    ) -> NDArray[np.uint8]:
        """Find the stretch of each time."""
        del keys, among, seed
        times, missing = time_numbers(table.column(self.column))
        cells = np.searchsorted(np.array(self.cuts, np.int64), times, side="right").astype(np.uint8)
        cells[missing] = len(self.cuts) + 1
        return cells[None, :]

    def _learnt(self, start: int) -> tuple[int | None, int]:
        high = start - self.gap
        return (None if self.window is None else high - self.window), high


def each_once(names: tuple[str, ...], repeats: int) -> tuple[Fold, ...]:
    """Return folds of which each judges by one cell and learns from all others."""
    every = range(len(names))
    return tuple(
        Fold(
            names[k] if repeats == 1 else f"{REPEATED}{repeat + 1}: {names[k]}",
            repeat,
            tuple(cell for cell in every if cell != k),
            (k,),
        )
        for repeat in range(repeats)
        for k in every
    )


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without dictionary encoding."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def value_keys(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Return a 64-bit key of each value, the same in every chunk for equal values of one column; 0 for missing ones.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Numbers, booleans, strings (dictionary-encoded or not), dates or times.

    Returns
    -------
    ndarray of uint64, shape (rows,)
    """
    if not len(column):
        return np.empty(0, np.uint64)
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = encoded.unify_dictionaries().combine_chunks()
    codes = np.asarray(pc.fill_null(whole.indices, len(whole.dictionary))).astype(np.int64)
    return np.append(_hashes(whole.dictionary), np.uint64(0)).take(codes)


def _hashes(values: pa.Array) -> NDArray[np.uint64]:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return hash_strings(values)
    if pa.types.is_date32(kind):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        values = values.cast(pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return hash_strings(values.cast(pa.string()))
    # The low bits of these hashes are not mixed well, and a fold is decided by few bits.
    return splitmix64(hash_numbers(np.asarray(pc.fill_null(values, 0))))


def time_numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times as whole numbers in the unit of the column, and which are missing; both of shape (rows,)."""
    column = plain(column)
    missing = np.asarray(column.is_null())
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    return np.asarray(pc.fill_null(column.cast(pa.int64()), 0)), missing


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"fold {k}" for k in range(1, count + 1))


def _salt(repeat: int) -> str:
    return f"fold {repeat}"


def _dealt(keys: NDArray[np.uint64], count: int, repeats: int, *, seed: int) -> NDArray[np.uint8]:
    """Deal keys evenly by 32 bits of a hash, shape (repeats, rows)."""
    dealt = [
        ((words(keys, seed=seed, salt=_salt(repeat)) >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
        for repeat in range(repeats)
    ]
    return np.array(dealt, np.uint8)


def time_length(span: timedelta, kind: pa.DataType) -> int:
    """Turn a length of time into the unit of a column of times, rounded up."""
    microseconds = round(span.total_seconds() * 1e6)
    if pa.types.is_date32(kind):
        return -(-microseconds // 86_400_000_000)
    unit = "ms" if pa.types.is_date64(kind) else kind.unit
    return microseconds * 1000 if unit == "ns" else -(-microseconds // _MICROSECONDS[unit])
