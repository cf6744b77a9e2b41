"""From a decoded chunk to the block that estimators take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.order import TRAIN, VALIDATION, row_keys, row_order, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from headrace.data.dataset import Chunk
    from headrace.preparation.compiled import CompiledPreparation
    from headrace.profiling.measure import Splitter

    Matrix: TypeAlias = NDArray[np.float32] | csr_matrix


@dataclass(frozen=True)
class Block:
    """A prepared chunk."""

    X: Matrix
    """Shape (rows, features)."""
    y: NDArray[Any] | None
    """Labels or values of the target, shape (rows,); None when there is no target."""
    weight: NDArray[np.float64] | None
    """Weights of the rows, shape (rows,)."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])


@dataclass(frozen=True)
class Target:
    """How the target column is read."""

    name: str | None
    classes: tuple[Any, ...] = ()
    """Labels in order; empty for regression and clustering."""
    class_weight: tuple[float, ...] = ()
    """Weight of each class; empty when all are 1."""
    weight: str | None = None
    """Column of row weights."""

    def codes(self, table: pa.Table) -> NDArray[np.float64] | NDArray[np.int64]:
        """Read the target: class codes (-1 for missing) or float64 values (NaN for missing), shape (rows,)."""
        column = table.column(self.name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not self.classes:
            return np.asarray(column.cast(pa.float64()).to_numpy())
        labels = pa.array(self.classes, type=column.type)
        # skip_nulls: a missing target is a row without a class, not a class.
        found = pc.index_in(column, value_set=labels, skip_nulls=True)
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)

    def known(self, table: pa.Table) -> NDArray[np.bool_]:
        """Tell which rows have a target, shape (rows,)."""
        if self.name is None:
            return np.ones(table.num_rows, bool)
        codes = self.codes(table)
        return codes >= 0 if self.classes else ~np.isnan(codes)

    def labels(self, table: pa.Table) -> NDArray[Any] | None:
        """Labels or values of a table whose rows all have a target, shape (rows,)."""
        if self.name is None:
            return None
        codes = self.codes(table)
        return np.asarray(self.classes)[codes] if self.classes else codes

    def weights(self, table: pa.Table) -> NDArray[np.float64] | None:
        """Weight of each row: its own times that of its class, shape (rows,); None when all are 1."""
        weight = None
        if self.weight is not None:
            column = table.column(self.weight).cast(pa.float64())
            weight = np.asarray(pc.fill_null(column, 0.0))
        if self.class_weight:
            by_class = np.asarray(self.class_weight)[self.codes(table)]
            weight = by_class if weight is None else weight * by_class
        return weight


@dataclass(frozen=True)
class Prepared:
    """What one chunk gives to the candidates."""

    train: Block
    validation: Block


@dataclass(frozen=True)
class BlockMaker:
    """Makes the blocks of a chunk: told once, sent to every task."""

    compiled: CompiledPreparation
    features: tuple[str, ...]
    """Columns that the preparation takes."""
    target: Target
    splitter: Splitter
    validation_share: float
    """Share of the validation rows that is kept: they are held in memory for scoring."""

    def __call__(self, table: pa.Table, chunk: Chunk, *, epoch: int) -> Prepared:
        """Prepare the training rows in the order of this epoch, and in the first one the validation rows."""
        seed = self.splitter.seed
        parts = self.splitter.parts(table, chunk)
        known = self.target.known(table)
        training = np.flatnonzero((parts == TRAIN) & known)
        training = training[row_order(len(training), seed=seed, epoch=epoch, chunk=chunk.index)]
        held = np.zeros(0, np.int64)
        if epoch == 1 and self.validation_share > 0:
            drawn = uniform(row_keys(chunk), seed=seed, salt="validation") < self.validation_share
            held = np.flatnonzero((parts == VALIDATION) & known & drawn)
        return Prepared(self.block(table, training), self.block(table, held))

    def block(self, table: pa.Table, rows: NDArray[np.int64]) -> Block:
        """Prepare these rows of a table in this order."""
        taken = table.take(pa.array(rows))
        X = self.compiled.transform(taken.select(list(self.features)))
        return Block(X, self.target.labels(taken), self.target.weights(taken))
