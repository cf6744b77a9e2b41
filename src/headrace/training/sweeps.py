"""Prepared rows for passes in which order does not matter, and passes that learn several things from each chunk."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.folds import NOWHERE
from headrace.engine.order import TRAIN, row_keys
from headrace.preparation.crossfit import RowHashes
from headrace.training.prepared import from_arrays, to_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.engine.folds import Fold
    from headrace.training.blocks import BlockMaker, Target
    from headrace.training.prepared import Block


@dataclass(frozen=True)
class Rows:
    """Prepared rows of a chunk, in the order of the file."""

    X: Any
    """Matrix, dense or CSR, shape (rows, features)."""
    y: NDArray[Any]
    """Values of the target, or codes of its classes, shape (rows,); zeros where there is no target."""
    weight: NDArray[np.float64] | None
    """Shape (rows,); None when all are 1."""
    cells: NDArray[np.integer[Any]]
    """Cell of each row in each repeat, shape (repeats, rows); rows of no cell are left out."""
    keys: NDArray[np.uint64] | None = None
    """From `headrace.engine.order.row_keys`, shape (rows,); None of rows that may come from the cache, which does not hold them."""


class RowsOf(Protocol):
    """Prepares rows of a chunk."""

    def __call__(self, table: pa.Table, chunk: Chunk) -> Rows:
        """Prepare a chunk."""
        ...

    def recall(self, chunk: Chunk) -> Rows | None:
        """Return the rows of a chunk that was prepared before, without reading it; None when they are not kept."""
        ...


LEARNT = (0,)
"""Cells from which is learnt, where the rows of one fold alone are prepared."""


@dataclass(frozen=True)
class ViewRows:
    """Rows that one recipe of a `BlockMaker` prepares: of one fold's training rows, or of all folds by cell.

    Attributes
    ----------
    maker : BlockMaker
    number : int
        Which of its recipes.
    double : bool
        In float64 and anew each time; else float32, from the cache of the stream's blocks and into it.
    by_cell : bool
        All rows that may be learnt from, with their cells; else the training rows of the recipe's fold, in cell 0.
    masks : tuple of str
        Columns of which a 0/1 feature that says where they are missing follows the others.
    """

    maker: BlockMaker
    number: int
    double: bool = False
    by_cell: bool = False
    masks: tuple[str, ...] = ()

    @property
    def made_of(self) -> tuple[Any, ...]:
        """Everything but the chunk and its source that decides what rows these are, of all folds by cell."""
        maker = self.maker
        return (maker.recipes[self.number].digest, maker.target, maker.splitter, self.masks)

    def __call__(self, table: pa.Table, chunk: Chunk) -> Rows:
        """Prepare a chunk."""
        rows = self.maker.rows(table, chunk)
        if not self.double:
            kept = self.maker.prepare(table, chunk, self.number, rows)
            arrays = to_arrays(kept) if self.maker.cache is not None else None
            if arrays is not None and self.maker.cache is not None:
                self.maker.cache.put(self.maker.key(chunk, self.number), arrays)
            return self._of_block(kept.train, kept.cells)
        recipe = self.maker.recipes[self.number]
        if self.by_cell:
            used = rows.known & ((rows.cells[0] != NOWHERE) if self.maker.folds else (rows.cells[0] == TRAIN))
            taken = np.flatnonzero(used)
        else:
            taken, _ = rows.of(self.number % len(self.maker.folds) if self.maker.folds else 0)
        allowed = recipe.compiled.keeps(table)
        if allowed is not None:
            taken = taken[allowed[taken]]
        keys, target = row_keys(chunk), self.maker.target
        hashes = RowHashes(keys, self.maker.splitter.seed).take(taken)
        part = table.take(pa.array(taken))
        X = recipe.compiled.transform(part.select(list(recipe.features)), np.float64, training=hashes)
        if self.masks:
            X = _beside(X, np.column_stack([_missing(part.column(name)) for name in self.masks]))
        cells = rows.cells[:, taken] if self.by_cell else np.zeros((1, len(taken)), np.uint8)
        y = np.zeros(len(taken)) if target.name is None else target.codes(part)
        return Rows(X, y, target.weights(part, learnt=True), cells, keys[taken])

    def recall(self, chunk: Chunk) -> Rows | None:
        """Return the rows of a chunk from the cache; never in float64, for the stream keeps float32."""
        if self.double or self.maker.cache is None:
            return None
        arrays = self.maker.cache.get(self.maker.key(chunk, self.number))
        if arrays is None:
            return None
        kept = from_arrays(arrays)
        return self._of_block(kept.train, kept.cells)

    def _of_block(self, block: Block, cells: NDArray[np.uint8] | None) -> Rows:
        if cells is None:
            cells = np.zeros((1, block.rows), np.uint8)
        y = np.zeros(block.rows) if block.y is None else codes_of(block.y, self.maker.target)
        return Rows(block.X, y, block.weight, cells)


def codes_of(y: NDArray[Any], target: Target) -> NDArray[Any]:
    """Turn labels into the codes of their classes; values stay as they are."""
    if not target.classes:
        return y
    labels = np.asarray(target.classes)
    order = np.argsort(labels)
    return order[np.searchsorted(labels, y, sorter=order)]


def _missing(column: pa.ChunkedArray) -> NDArray[np.float64]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    absent = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    return np.asarray(absent).astype(np.float64)


def _beside(X: Any, masks: NDArray[np.float64]) -> Any:
    if isinstance(X, np.ndarray):
        return np.concatenate([X, masks], axis=1)
    from scipy import sparse

    return sparse.hstack([X, sparse.csr_matrix(masks)], format="csr")


def learns(fold: Fold, cells: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Tell which rows a fold learns from, shape (rows,), by their cells of shape (repeats, rows)."""
    used = np.zeros(NOWHERE + 1, bool)
    used[list(fold.train)] = True
    return np.asarray(used[cells[fold.repeat]])


@dataclass(frozen=True)
class Sweep:
    """What a task of a pass does with its chunk, when it learns several things from it.

    Attributes
    ----------
    parts : tuple of (RowsOf, callable)
        How rows are prepared, and what is learnt from them.
    """

    parts: tuple[tuple[RowsOf, Callable[[Rows], Any]], ...]

    def __call__(self, table: pa.Table, chunk: Chunk) -> tuple[Any, ...]:
        """Prepare a chunk in every way, and learn."""
        return tuple(learn(rows_of(table, chunk)) for rows_of, learn in self.parts)

    def recall(self, chunk: Chunk) -> tuple[Any, ...] | None:
        """Learn from rows that were prepared before; None when some are not kept."""
        found = []
        for rows_of, learn in self.parts:
            rows = rows_of.recall(chunk)
            if rows is None:
                return None
            found.append(learn(rows))
        return tuple(found)


def merge_parts(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    """Merge what was learnt, part by part."""
    return tuple(mine.merge(theirs) for mine, theirs in zip(left, right, strict=True))


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Write named arrays as a numpy archive."""
    target = io.BytesIO()
    np.savez(target, allow_pickle=False, **arrays)
    return target.getvalue()


def unpacked(piece: bytes) -> dict[str, Any]:
    """Read what `packed` wrote; nothing is unpickled."""
    with np.load(io.BytesIO(piece), allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def under(arrays: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the arrays whose names begin with a number and a point, without these."""
    start = f"{number}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
