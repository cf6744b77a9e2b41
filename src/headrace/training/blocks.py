"""From a decoded chunk to the blocks that estimators take, or from the cache, in the order of the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace import __version__
from headrace.data.footers import file_state
from headrace.engine.folds import NOWHERE, Fold
from headrace.engine.order import TRAIN, VALIDATION, row_keys, row_order, uniform
from headrace.preparation.crossfit import RowHashes
from headrace.training.prepared import Block, Kept, Prepared, from_arrays, to_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.data.embeddings import Embedding
    from headrace.engine.cache import ArrayCache
    from headrace.engine.splits import Splitter
    from headrace.preparation.compiled import CompiledPreparation


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
    negatives: float = 1.0
    """Share of the rows of the first class that is learnt from."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it is read from."""
        return tuple(name for name in (self.name, self.weight) if name is not None)

    def codes(self, table: pa.Table) -> NDArray[np.float64] | NDArray[np.int64]:
        """Read the target: class codes (-1 for missing) or float64 values (NaN for missing), shape (rows,)."""
        column = table.column(self.name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not self.classes:
            return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())
        labels = pa.array(self.classes, type=column.type)
        # skip_nulls: a missing target is a row without a class, not a class.
        found = pc.index_in(column, value_set=labels, skip_nulls=True)
        return np.asarray(pc.fill_null(found, -1) if found.null_count else found).astype(np.int64)

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

    def weights(self, table: pa.Table, *, learnt: bool = False) -> NDArray[np.float64] | None:
        """Weight of each row: its own times that of its class, shape (rows,); None when all are 1.

        Of rows that are learnt from, each of the first class stands for all that were left out for it.
        """
        weight = None
        if self.weight is not None:
            column = table.column(self.weight).cast(pa.float64(), safe=False)
            weight = np.nan_to_num(pc.fill_null(column, 0.0).to_numpy(), nan=0.0)
        if self.class_weight:
            by_class = np.asarray(self.class_weight)[self.codes(table)]
            weight = by_class if weight is None else weight * by_class
        if learnt and self.negatives < 1:
            stands_for = np.where(self.codes(table) == 0, 1 / self.negatives, 1.0)
            weight = stands_for if weight is None else weight * stands_for
        return weight


@dataclass(frozen=True)
class Recipe:
    """How rows become features."""

    compiled: CompiledPreparation
    features: tuple[str, ...]
    """Columns that the preparation takes."""
    digest: str = ""
    """Of the preparation, which decides with the rows what a prepared chunk is."""


@dataclass(frozen=True)
class BlockMaker:
    """Makes the blocks of a chunk: told once, sent to every task."""

    recipes: tuple[Recipe, ...]
    """One a view, see `Prepared`; one a variant when all folds share them."""
    target: Target
    splitter: Splitter
    validation_share: float
    """Share of the validation rows that is kept: they are held in memory for scoring."""
    shared: bool = False
    """Whether there are folds, and the rows of all are prepared in the same way."""
    cache: ArrayCache | None = None
    """Where prepared chunks are kept on the machine that prepared them."""
    embeddings: tuple[Embedding, ...] = ()
    """What was made of texts before rows are prepared."""

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The folds; none for a holdout."""
        return self.splitter.folds.folds if self.splitter.folds else ()

    @property
    def views(self) -> int:
        """Folds times variants."""
        return len(self.recipes) * len(self.folds) if self.shared else len(self.recipes)

    def for_epoch(self, epoch: int, views: frozenset[int] | None = None) -> EpochBlocks:
        """Return what makes the blocks of an epoch, for some views or for all."""
        return EpochBlocks(self, epoch, frozenset(range(self.views)) if views is None else views)

    @property
    def keeps(self) -> bool:
        """Whether prepared rows are taken more than once: by several folds, or in later epochs."""
        return self.shared or self.cache is not None

    def prepare(
        self, table: pa.Table, chunk: Chunk, number: int, rows: Rows, epoch: int | None = None
    ) -> Kept:
        """Prepare the rows of a chunk by one recipe, in the order of an epoch, or of the file to keep them."""
        hashes = RowHashes(row_keys(chunk), self.splitter.seed)
        if self.shared:
            used = np.flatnonzero(rows.known & (rows.cells[0] != NOWHERE))
            block = self.block(table, used, number, hashes.take(used))
            return Kept(block, None, rows.cells[:, used], rows.held[used])
        train, validation = rows.of(number % len(self.folds) if self.folds else 0)
        kept = self.recipes[number].compiled.keeps(table)
        if kept is not None:
            train = train[kept[train]]
        order = None if epoch is None else self.order(len(train), chunk, epoch)
        block = self.block(table, train, number, hashes.take(train), order)
        return Kept(block, self.block(table, validation, number))

    def order(self, rows: int, chunk: Chunk, epoch: int) -> NDArray[np.int64]:
        """Return the order in which an epoch uses so many rows of a chunk."""
        return row_order(rows, seed=self.splitter.seed, epoch=epoch, chunk=chunk.index)

    def rows(self, table: pa.Table, chunk: Chunk) -> Rows:
        """Tell the rows of a chunk apart."""
        known = self.target.known(table)
        share = self.validation_share
        held = np.ones(table.num_rows, bool)
        if share < 1:
            held = uniform(row_keys(chunk), seed=self.splitter.seed, salt="validation") < share
        learnable = known
        if self.target.negatives < 1:
            drawn = uniform(row_keys(chunk), seed=self.splitter.seed, salt="negatives")
            learnable = known & ((drawn < self.target.negatives) | (self.target.codes(table) != 0))
        if self.folds:
            return Rows(known, held, self.splitter.cells(table, chunk), self.folds, learnable)
        return Rows(known, held, self.splitter.parts(table, chunk)[None, :], (HOLDOUT,), learnable)

    def block(
        self,
        table: pa.Table,
        rows: NDArray[np.int64],
        number: int = 0,
        training: RowHashes | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> Block:
        """Prepare these rows of a table, in an order of theirs; those that are trained on say what deals them to folds."""
        recipe = self.recipes[number]
        some = None if len(rows) == table.num_rows else rows
        features = table.select(list(recipe.features))
        X = recipe.compiled.transform(features, rows=some, order=order, training=training)
        told = table.select(list(self.target.columns))
        mixed = rows if order is None else rows[order]
        taken = told if some is None and order is None else told.take(pa.array(mixed))
        return Block(X, self.target.labels(taken), self.target.weights(taken, learnt=training is not None))

    def key(self, chunk: Chunk, number: int = 0) -> str:
        """Say what a prepared chunk is made from: bytes of files, and everything that is done to them."""
        files = [(piece, file_state(piece.path)) for piece in chunk.pieces]
        fold = "all" if self.shared else number % len(self.folds) if self.folds else None
        digest = self.recipes[number].digest
        made_by = (
            __version__,
            digest,
            self.target,
            self.splitter,
            self.validation_share,
            fold,
            self.embeddings,
        )
        return repr((files, chunk.where, chunk.treatments, made_by))


HOLDOUT = Fold("holdout", 0, (TRAIN,), (VALIDATION,))
"""Parts as cells: one fold."""


@dataclass(frozen=True)
class Rows:
    """Which rows of a chunk each fold learns from and judges by."""

    known: NDArray[np.bool_]
    """Rows with a target."""
    held: NDArray[np.bool_]
    """Rows that may be held for scoring."""
    cells: NDArray[np.uint8]
    """Shape (repeats, rows)."""
    folds: tuple[Fold, ...]
    learnable: NDArray[np.bool_] | None = None
    """Rows that may be learnt from; all with a target when left out."""

    def of(self, fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows from which a fold learns and those by which it judges, in the order of the file."""
        said = self.folds[fold]
        cells = self.cells[said.repeat]
        learnable = self.known if self.learnable is None else self.learnable
        learnt = _among(cells, said.train) & learnable
        judged = _among(cells, said.validation) & self.known & self.held
        return np.flatnonzero(learnt), np.flatnonzero(judged)


def _among(cells: NDArray[np.uint8], some: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell which rows are in one of some cells; to compare is 50 times as fast as to look up."""
    found = np.zeros(len(cells), dtype=bool)
    for cell in some:
        found |= cells == cell
    return found


@dataclass(frozen=True)
class EpochBlocks:
    """Makes the blocks of one epoch: the prepared chunk, its training rows in the order of the epoch."""

    maker: BlockMaker
    epoch: int
    views: frozenset[int]
    """Those for which somebody learns."""

    @property
    def _numbers(self) -> list[int]:
        """Recipes that are needed."""
        per = len(self.maker.folds) if self.maker.shared else 1
        return sorted({view // per for view in self.views})

    def __call__(self, table: pa.Table, chunk: Chunk) -> Prepared:
        """Prepare a chunk, and keep it for the next epoch."""
        rows = self.maker.rows(table, chunk)
        epoch = None if self.maker.keeps else self.epoch
        made = {number: self.maker.prepare(table, chunk, number, rows, epoch) for number in self._numbers}
        if self.maker.cache is not None:
            for number, kept in made.items():
                arrays = to_arrays(kept)
                if arrays is not None:
                    self.maker.cache.put(self.maker.key(chunk, number), arrays)
        return self._ordered(made, chunk)

    def recall(self, chunk: Chunk) -> Prepared | None:
        """Return the blocks of a chunk that were prepared before, without reading it; None when one is not kept."""
        if self.maker.cache is None:
            return None
        made = {}
        for number in self._numbers:
            arrays = self.maker.cache.get(self.maker.key(chunk, number))
            if arrays is None:
                return None
            made[number] = from_arrays(arrays)
        return self._ordered(made, chunk)

    def _ordered(self, made: dict[int, Kept], chunk: Chunk) -> Prepared:
        if self.maker.shared:
            return self._picked(made, chunk)
        blocks: list[Block | None] = [None] * len(self.maker.recipes)
        validation = list(blocks)
        for number, kept in made.items():
            train = kept.train
            blocks[number] = train.take(self._order(train.rows, chunk)) if self.maker.keeps else train
            validation[number] = kept.validation
        return Prepared(tuple(blocks), tuple(validation))

    def _picked(self, made: dict[int, Kept], chunk: Chunk) -> Prepared:
        folds = self.maker.folds
        (first, *_) = made.values()
        assert first.cells is not None, "shared rows know their cells"
        assert first.held is not None, "shared rows know their cells"
        rows = Rows(np.ones(first.train.rows, bool), first.held, first.cells, folds)
        told = [rows.of(fold) for fold in range(len(folds))]
        picks = tuple(train[self._order(len(train), chunk)] for train, _ in told)
        blocks = tuple(made[v].train if v in made else None for v in range(len(self.maker.recipes)))
        validation = tuple(
            block.take(told[fold][1])
            if block is not None and variant * len(folds) + fold in self.views
            else None
            for variant, block in enumerate(blocks)
            for fold in range(len(folds))
        )
        return Prepared(blocks, validation, picks)

    def _order(self, rows: int, chunk: Chunk) -> NDArray[np.int64]:
        return self.maker.order(rows, chunk, self.epoch)
