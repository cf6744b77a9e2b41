"""From a decoded chunk to the blocks that estimators take, or from the cache, in the order of the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace import __version__
from headrace.data.footers import file_state
from headrace.engine.order import TRAIN, VALIDATION, row_keys, row_order, uniform
from headrace.training.prepared import Block, Prepared, from_arrays, to_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.engine.cache import ArrayCache
    from headrace.preparation.compiled import CompiledPreparation
    from headrace.profiling.measure import Splitter


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
class BlockMaker:
    """Makes the blocks of a chunk: told once, sent to every task."""

    compiled: CompiledPreparation
    features: tuple[str, ...]
    """Columns that the preparation takes."""
    target: Target
    splitter: Splitter
    validation_share: float
    """Share of the validation rows that is kept: they are held in memory for scoring."""

    cache: ArrayCache | None = None
    """Where prepared chunks are kept on the machine that prepared them."""
    digest: str = ""
    """Of the preparation, which decides with the rows what a prepared chunk is."""

    def for_epoch(self, epoch: int) -> EpochBlocks:
        """Return what makes the blocks of an epoch."""
        return EpochBlocks(self, epoch)

    def prepare(self, table: pa.Table, chunk: Chunk) -> Prepared:
        """Prepare the training rows and the validation rows of a chunk, in the order of the file."""
        parts = self.splitter.parts(table, chunk)
        known = self.target.known(table)
        validating = (parts == VALIDATION) & known
        if self.validation_share < 1:
            validating &= (
                uniform(row_keys(chunk), seed=self.splitter.seed, salt="validation") < self.validation_share
            )
        return Prepared(
            self.block(table, np.flatnonzero((parts == TRAIN) & known)),
            self.block(table, np.flatnonzero(validating)),
        )

    def block(self, table: pa.Table, rows: NDArray[np.int64]) -> Block:
        """Prepare these rows of a table in this order."""
        taken = table if len(rows) == table.num_rows else table.take(pa.array(rows))
        X = self.compiled.transform(taken.select(list(self.features)))
        return Block(X, self.target.labels(taken), self.target.weights(taken))

    def key(self, chunk: Chunk) -> str:
        """Say what a prepared chunk is made from: bytes of files, and everything that is done to them."""
        files = [(piece, file_state(piece.path)) for piece in chunk.pieces]
        made_by = (__version__, self.digest, self.target, self.splitter, self.validation_share)
        return repr((files, chunk.where, made_by))


@dataclass(frozen=True)
class EpochBlocks:
    """Makes the blocks of one epoch: the prepared chunk, its training rows in the order of the epoch."""

    maker: BlockMaker
    epoch: int

    def __call__(self, table: pa.Table, chunk: Chunk) -> Prepared:
        """Prepare a chunk, and keep it for the next epoch."""
        prepared = self.maker.prepare(table, chunk)
        if self.maker.cache is not None:
            arrays = to_arrays(prepared)
            if arrays is not None:
                self.maker.cache.put(self.maker.key(chunk), arrays)
        return self._ordered(prepared, chunk)

    def recall(self, chunk: Chunk) -> Prepared | None:
        """Return the block of a chunk that was prepared before, without reading it; None when it is not kept."""
        if self.maker.cache is None:
            return None
        arrays = self.maker.cache.get(self.maker.key(chunk))
        return None if arrays is None else self._ordered(from_arrays(arrays), chunk)

    def _ordered(self, prepared: Prepared, chunk: Chunk) -> Prepared:
        order = row_order(
            prepared.train.rows, seed=self.maker.splitter.seed, epoch=self.epoch, chunk=chunk.index
        )
        return Prepared(prepared.train.take(order), prepared.validation)
