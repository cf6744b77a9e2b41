"""Writing a matrix a block of rows at a time, so that what is written stays in the processor's cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.preparation.blocks import Block, Slot
    from headrace.preparation.native import Loops

BLOCK = 8192
"""Rows written at a time: the entries of so many rows stay in the processor's cache while columns are written across them.

For compiled loops alone 2,048 would do better, but threads that let go of Python's lock so often wait for each other."""

_ENTRIES = 1 << 18
"""Entries of a block, when it has not the least number of rows: the room of 10,000 numbers takes 20 MB."""
_LEAST = 256


@dataclass(frozen=True)
class Writing:
    """Which rows of a table are written where.

    Attributes
    ----------
    slots : list of Slot
        Over the table.
    table_rows : int
        Rows of the table.
    rows : ndarray of int, optional
        Those that are written; by default all.
    order : ndarray of int, optional
        A permutation of these: the row that comes first, and so on; by default as they are. Takes `loops`.
    loops : Loops, optional
        Compiled.
    """

    slots: list[Slot]
    table_rows: int
    rows: NDArray[np.int64] | None
    order: NDArray[np.int64] | None
    loops: Loops | None

    @property
    def count(self) -> int:
        """Rows that are written."""
        return self.table_rows if self.rows is None else len(self.rows)

    def fill(self, tables: Sequence[NDArray[Any]], empty: Callable[..., Block]) -> None:
        """Write all rows.

        Parameters
        ----------
        tables : sequence of ndarray, shape (count, entries)
            That make up the matrix.
        empty : callable
            Makes a block of rows from as many rows of each table.
        """
        rows = np.arange(self.table_rows) if self.rows is None and self.loops is not None else self.rows
        step = self._prepare()
        places = None
        apart: tuple[NDArray[Any], ...] = ()
        if self.order is not None:
            places = np.empty(len(self.order), dtype=np.int64)
            places[self.order] = np.arange(len(self.order))
            # To write rows in order and put them elsewhere is faster than to read columns out of order.
            apart = tuple(np.empty((step, table.shape[1]), dtype=table.dtype) for table in tables)
        for start in range(0, self.count, step):
            at = slice(start, min(start + step, self.count))
            parts = [part[: at.stop - start] for part in apart] or [table[at] for table in tables]
            block = empty(*parts)
            for slot in self.slots:
                slot.write(at if rows is None else rows[at], block)
            if places is not None and self.loops is not None:
                for part, table in zip(parts, tables, strict=True):
                    self.loops.place_rows(part, places[at], table)

    def _prepare(self) -> int:
        """Make room in slots for a block, and return its rows: fewer when they are wide."""
        entries = sum(len(slot.features) for slot in self.slots)
        step = max(1, min(self.count, BLOCK, max(_LEAST, _ENTRIES // max(1, entries))))
        for slot in self.slots:
            slot.prepare(step)
        return step
