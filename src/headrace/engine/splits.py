"""The part and the fold of each row of a chunk: the test part is never seen before it is assessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.engine.folds import NOWHERE, REPEATED, value_keys
from headrace.engine.order import PARTS, TEST, parts_by_hash, parts_by_time, row_keys

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.engine.folds import Folds


@dataclass(frozen=True)
class Splitter:
    """How rows are told apart: the test part is never seen before it is assessed."""

    seed: int
    """Seed of the run."""
    test: float = 0.0
    """Share of rows by hash; 0 when split by time."""
    validation: float = 0.0
    """Share of the rows that are left; 0 when there are folds."""
    time: str | None = None
    """Time column, when split by time."""
    test_from: object = None
    """First time of the test part."""
    group: str | None = None
    """Column whose values are kept together, when split by group."""
    folds: Folds | None = None
    """How the rows that are not for the test are dealt to folds, when they are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that decide."""
        given = (self.time, self.group, *(self.folds.columns if self.folds else ()))
        return tuple(dict.fromkeys(name for name in given if name is not None))

    def parts(self, table: pa.Table, chunk: Chunk) -> NDArray[np.uint8]:
        """Part codes of the rows, shape (rows,). Rows without a time belong to the training part."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = row_keys(chunk) if self.group is None else value_keys(table.column(self.group))
        if self.time is None:
            return parts_by_hash(keys, test=self.test, validation=self.validation, seed=self.seed)
        column = table.column(self.time)
        later = pc.greater_equal(column, pa.scalar(self.test_from).cast(column.type))
        is_test = np.asarray(pc.fill_null(later, False))
        return parts_by_time(is_test, keys, validation=self.validation, seed=self.seed)

    def cells(self, table: pa.Table, chunk: Chunk) -> NDArray[np.uint8]:
        """Cells of the rows in each repeat, shape (repeats, rows); `NOWHERE` for those of the test part."""
        assert self.folds is not None, "rows are dealt to cells when there are folds"
        among = self.parts(table, chunk) != TEST
        cells = self.folds.cells(table, row_keys(chunk), among, seed=self.seed)
        cells[:, ~among] = NOWHERE
        return cells

    def groupings(self, table: pa.Table, chunk: Chunk) -> list[tuple[tuple[str, ...], NDArray[np.uint8]]]:
        """Return the ways in which a profile tells rows apart: names, and a code of each row, shape (rows,).

        Without folds one way, by part. With folds one for each repeat, by cell; each has the test part as well.
        """
        if self.folds is None:
            return [(PARTS, self.parts(table, chunk))]
        cells = self.cells(table, chunk)
        cells[cells == NOWHERE] = len(self.folds.names)
        return [((*self.cell_names(repeat), "test"), codes) for repeat, codes in enumerate(cells)]

    def cell_names(self, repeat: int) -> tuple[str, ...]:
        """Names of the profiles of one repeat's cells."""
        assert self.folds is not None, "there are cells when there are folds"
        if repeat == 0:
            return self.folds.names
        return tuple(f"{REPEATED}{repeat + 1}: {name}" for name in self.folds.names)
