"""CSR matrices whose rows all store equally many entries: two plain tables, taken and made as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Matrix: TypeAlias = NDArray[Any] | csr_matrix


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
    data = X.data.reshape(-1, stored).take(order, axis=0)
    indices = X.indices.reshape(-1, stored).take(order, axis=0)
    return regular_csr(data, indices, X.shape[1])


def regular_width(X: csr_matrix) -> int | None:
    """Count the entries that each row of a CSR matrix stores, when all store equally many."""
    rows = X.shape[0]
    if rows == 0:
        return None
    stored = len(X.data) // rows
    even = len(X.data) == stored * rows and bool((np.diff(X.indptr) == stored).all())
    return stored if even else None


def regular_csr(data: NDArray[Any], indices: NDArray[Any], width: int) -> csr_matrix:
    """Make the CSR matrix whose row i stores ``data[i]`` at ``indices[i]``, both of shape (rows, stored)."""
    from scipy.sparse import csr_matrix

    rows, stored = data.shape
    pointers = np.arange(0, rows * stored + 1, stored or 1, dtype=indices.dtype)[: rows + 1]
    return csr_matrix((data.reshape(-1), indices.reshape(-1), pointers), shape=(rows, width), copy=False)
