"""Prepared rows of which one column is changed: its features are exchanged, and the others need not be prepared again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Exchange:
    """A matrix whose features of one column are replaced.

    It rests on preparation being done row by row, each feature made of one column alone.

    Attributes
    ----------
    rest : ndarray or csr_matrix, shape (rows, width)
        The matrix; in CSR without the features.
    features : ndarray of int
        Their places.
    """

    rest: Any
    features: NDArray[np.intp]

    @classmethod
    def of(cls, X: Any, features: Sequence[int]) -> Self:
        """Prepare to exchange some features of a matrix, dense or CSR."""
        places = np.asarray(features, np.intp)
        if isinstance(X, np.ndarray):
            return cls(X, places)
        kept = np.ones(X.shape[1], bool)
        kept[places] = False
        rest = X.copy()
        rest.data = np.where(kept[X.indices], X.data, 0.0)
        rest.eliminate_zeros()
        return cls(rest, places)

    def taking(self, source: Any, rows: NDArray[Any]) -> Any:
        """Return the matrix with these features of the rows of another, shape (rows, width).

        Parameters
        ----------
        source : ndarray or csr_matrix, shape (any, width)
            Of the same kind.
        rows : ndarray of int, shape (rows,)
            Which of its rows stands for each.
        """
        values = source[:, self.features][rows]
        if isinstance(self.rest, np.ndarray):
            made = self.rest.copy()
            made[:, self.features] = values
            return made
        from scipy import sparse

        count = len(self.features)
        places = (np.ones(count), (np.arange(count), self.features))
        return self.rest + values @ sparse.csr_matrix(places, shape=(count, self.rest.shape[1]))
