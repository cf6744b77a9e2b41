"""A prepared chunk: its rows as a matrix with targets and weights; taken in any order, kept as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from headrace.preparation.regular import regular_csr, regular_width, take_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

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

    def take(self, order: NDArray[np.int64]) -> Block:
        """Return these rows in this order."""
        return Block(
            take_rows(self.X, order),
            None if self.y is None else self.y.take(order),
            None if self.weight is None else self.weight.take(order),
        )


def concatenate(blocks: Sequence[Block]) -> Block:
    """Put blocks one below the other."""
    from scipy import sparse

    matrices = [block.X for block in blocks]
    dense = isinstance(matrices[0], np.ndarray)
    X = np.concatenate(matrices) if dense else sparse.vstack(matrices, format="csr")
    targets = [block.y for block in blocks if block.y is not None]
    weights = [block.weight for block in blocks if block.weight is not None]
    return Block(
        X,
        np.concatenate(targets) if targets else None,
        np.concatenate(weights) if weights else None,
    )


@dataclass(frozen=True)
class Prepared:
    """What one chunk gives to the candidates in one epoch.

    A *view* is what one candidate sees in one fold: number ``variant * folds + fold``, of which a variant is one way to
    prepare. Without folds and variants there is one view, 0.
    """

    blocks: tuple[Block | None, ...]
    """Training rows in the order of the epoch, one block a view; or, with `picks`, all rows, one block a variant."""
    validation: tuple[Block | None, ...]
    """Validation rows, by view. Like a block, None where nobody asked for it."""
    picks: tuple[NDArray[np.int64], ...] = ()
    """Of each fold: which rows of a variant's block it learns from, in the order of the epoch."""

    def train(self, view: int) -> Block:
        """Return the training rows of a view in the order of the epoch."""
        block = self.blocks[view // len(self.picks) if self.picks else view]
        assert block is not None, "the views of all learners are prepared"
        return block.take(self.picks[view % len(self.picks)]) if self.picks else block


@dataclass(frozen=True)
class Kept:
    """The rows of a chunk as one recipe prepares them, in the order of the file: what is kept for later epochs."""

    train: Block
    """Training rows, or all rows that any fold uses."""
    validation: Block | None = None
    """Validation rows; None when they are among `train`."""
    cells: NDArray[np.uint8] | None = None
    """Cells of the rows of `train`, shape (repeats, rows), when all folds share them."""
    held: NDArray[np.bool_] | None = None
    """Whether a row of `train` may be held for scoring, shape (rows,), when all folds share them."""


def to_arrays(kept: Kept) -> dict[str, NDArray[Any]] | None:
    """Turn prepared rows into named arrays; None when CSR rows do not store equally many entries."""
    arrays: dict[str, NDArray[Any]] = {}
    for part, block in (("train", kept.train), ("validation", kept.validation)):
        if block is None:
            continue
        matrix = _matrix_arrays(block.X)
        if matrix is None:
            return None
        for name, array in {**matrix, "y": block.y, "weight": block.weight}.items():
            if array is not None:
                arrays[f"{part}.{name}"] = array
    if kept.cells is not None and kept.held is not None:
        arrays |= {"cells": kept.cells, "held": kept.held}
    return arrays


def _matrix_arrays(X: Matrix) -> dict[str, NDArray[Any]] | None:
    if isinstance(X, np.ndarray):
        return {"X": X}
    stored = regular_width(X) if X.shape[0] else 0
    if stored is None:
        return None
    # Half the bytes on disk for all but the widest matrices.
    indices = X.indices.astype(np.uint16) if X.shape[1] <= 1 << 16 else X.indices
    shape = (X.shape[0], stored)
    return {"data": X.data.reshape(shape), "indices": indices.reshape(shape), "width": np.array(X.shape[1])}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Kept:
    """Rebuild what `to_arrays` took apart."""
    shared = "cells" in arrays
    validation = None if shared else _block(arrays, "validation")
    return Kept(_block(arrays, "train"), validation, arrays.get("cells"), arrays.get("held"))


def _block(arrays: Mapping[str, NDArray[Any]], part: str) -> Block:
    X: Any = arrays.get(f"{part}.X")
    if X is None:
        indices = arrays[f"{part}.indices"].astype(np.int32)
        X = regular_csr(arrays[f"{part}.data"], indices, int(arrays[f"{part}.width"]))
    return Block(X, arrays.get(f"{part}.y"), arrays.get(f"{part}.weight"))
