"""A prepared chunk: its rows as a matrix with targets and weights; taken in any order, kept as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def take_rows(X: Matrix, order: NDArray[np.int64]) -> Matrix:
    """Return these rows of a matrix in this order.

    A CSR matrix whose rows store equally many entries is taken as two tables of entries, which is several times as
    fast as scikit-learn's and SciPy's way from row to row.
    """
    if isinstance(X, np.ndarray):
        return X.take(order, axis=0)
    stored = regular_width(X)
    if stored is None:
        return X[order]
    from scipy.sparse import csr_matrix

    data = X.data.reshape(-1, stored).take(order, axis=0)
    indices = X.indices.reshape(-1, stored).take(order, axis=0)
    return regular_csr(csr_matrix, data, indices, X.shape[1])


def regular_width(X: csr_matrix) -> int | None:
    """Count the entries that each row of a CSR matrix stores, when all store equally many."""
    rows = X.shape[0]
    if rows == 0:
        return None
    stored = len(X.data) // rows
    even = len(X.data) == stored * rows and bool((np.diff(X.indptr) == stored).all())
    return stored if even else None


def regular_csr(kind: type[csr_matrix], data: NDArray[Any], indices: NDArray[Any], width: int) -> csr_matrix:
    """Make the CSR matrix whose row i stores ``data[i]`` at ``indices[i]``, both of shape (rows, stored)."""
    rows, stored = data.shape
    pointers = np.arange(0, rows * stored + 1, stored or 1, dtype=indices.dtype)[: rows + 1]
    return kind((data.reshape(-1), indices.reshape(-1), pointers), shape=(rows, width), copy=False)


@dataclass(frozen=True)
class Prepared:
    """What one chunk gives to the candidates."""

    train: Block
    validation: Block


def to_arrays(prepared: Prepared) -> dict[str, NDArray[Any]] | None:
    """Turn a prepared chunk into named arrays; None when its CSR rows do not store equally many entries."""
    arrays: dict[str, NDArray[Any]] = {}
    for part, block in (("train", prepared.train), ("validation", prepared.validation)):
        matrix = _matrix_arrays(block.X)
        if matrix is None:
            return None
        for name, array in {**matrix, "y": block.y, "weight": block.weight}.items():
            if array is not None:
                arrays[f"{part}.{name}"] = array
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


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Prepared:
    """Rebuild what `to_arrays` took apart."""
    return Prepared(_block(arrays, "train"), _block(arrays, "validation"))


def _block(arrays: Mapping[str, NDArray[Any]], part: str) -> Block:
    X: Any = arrays.get(f"{part}.X")
    if X is None:
        from scipy.sparse import csr_matrix

        indices = arrays[f"{part}.indices"].astype(np.int32)
        X = regular_csr(csr_matrix, arrays[f"{part}.data"], indices, int(arrays[f"{part}.width"]))
    return Block(X, arrays.get(f"{part}.y"), arrays.get(f"{part}.weight"))
