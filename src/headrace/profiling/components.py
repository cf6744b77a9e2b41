"""Principal components of the numeric columns, from their cross products (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.accumulators.gram import Gram


@dataclass(frozen=True)
class Components:
    """Principal components of standardised columns.

    Attributes
    ----------
    names : tuple of str, length d
        Columns that vary.
    shares : ndarray of float64, shape (d,)
        Share of the variance of each component, descending.
    loadings : ndarray of float64, shape (d, d)
        Row i is component i in terms of the columns; of length 1, its largest entry positive.
    complete : bool
        No value was missing. Else correlations are of pairwise complete rows, and shares below zero, which these can
        give, are cut off.
    """

    names: tuple[str, ...]
    shares: NDArray[np.float64]
    loadings: NDArray[np.float64]
    complete: bool

    def result(self) -> dict[str, Any]:
        """Return the shares and the loadings as a finite JSON document."""
        return {
            "columns": list(self.names),
            "shares": [round(float(share), 6) for share in self.shares],
            "loadings": np.round(self.loadings, 6).tolist(),
            "complete": self.complete,
        }


def principal_components(products: Gram, *, without: str | None = None) -> Components | None:
    """Return the principal components of the correlation matrix, as `sklearn.decomposition.PCA` of standardised columns.

    Parameters
    ----------
    products : Gram
    without : str, optional
        A column to leave out: the target.

    Returns
    -------
    Components or None
        None of fewer than two columns that vary together.
    """
    correlation = products.correlation()
    at = [i for i, name in enumerate(products.names) if name != without and np.isfinite(correlation[i, i])]
    held = correlation[np.ix_(at, at)]
    # A pair that is never complete has no correlation: the column with most of these goes first.
    while len(at) > 1 and not np.isfinite(held).all():
        worst = int(np.argmax((~np.isfinite(held)).sum(axis=0)))
        at.pop(worst)
        held = correlation[np.ix_(at, at)]
    if len(at) < 2:
        return None
    values, vectors = np.linalg.eigh(held)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    n = products.n[np.ix_(at, at)]
    return Components(
        tuple(products.names[i] for i in at),
        values / values.sum(),
        vectors * signs[:, None],
        bool(n.min() == n.max()),
    )
