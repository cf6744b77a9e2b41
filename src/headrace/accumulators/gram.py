"""Covariance and correlation of numeric columns from pairwise complete rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_BLOCK = 1 << 15
"""Numbers centred together: they and their scratch stay in the cache."""


MATRICES = ("n", "mean", "squares", "products")


@dataclass(frozen=True)
class Gram:
    r"""Centred cross products of d columns, where each pair of columns has the rows that hold both.

    For each pair (i, j), over the rows where both are present: the count :math:`n_{ij}`, the mean :math:`\mu_{ij}` of
    column i, the sum :math:`V_{ij}` of squared deviations of column i, and
    :math:`C_{ij} = \sum (x_i - \mu_{ij}) (x_j - \mu_{ji})`. Blocks merge by Chan, Golub and LeVeque (1983): with
    :math:`\delta` the difference of the means, :math:`C = C_a + C_b + \delta_{ij} \delta_{ji} n_a n_b / n`.
    Equal to `pandas.DataFrame.cov` and `corr`. 32 d^2 bytes. Infinite values count as missing.

    Attributes
    ----------
    names : tuple of str
        The d columns.
    n, mean, squares, products : ndarray of float64, shape (d, d)
        As above.

    Examples
    --------
    >>> gram = Gram.of(("a", "b"), np.array([[1.0, 2.0], [2.0, np.nan], [3.0, 6.0]]))
    >>> gram.covariance().tolist()
    [[1.0, 4.0], [4.0, 8.0]]
    """

    names: tuple[str, ...]
    n: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def empty(cls, names: Sequence[str]) -> Self:
        """Nothing seen of the columns `names`."""
        d = len(names)
        return cls(tuple(names), *(np.zeros((d, d)) for _ in range(4)))

    @classmethod
    def of(cls, names: Sequence[str], X: NDArray[Any]) -> Self:
        """Measure rows.

        Parameters
        ----------
        names : sequence of str, length d
        X : ndarray of numbers, shape (n, d)
            NaN and infinities are missing values.
        """
        whole = cls.empty(names)
        rows = max(64, _BLOCK // max(1, len(names)))
        for start in range(0, len(X), rows):
            whole = whole.merge(cls._block(tuple(names), X[start : start + rows].astype(np.float64)))
        return whole

    @classmethod
    def _block(cls, names: tuple[str, ...], X: NDArray[np.float64]) -> Self:
        with np.errstate(all="ignore"):
            present = np.isfinite(X)
            if present.all():
                return cls._complete(names, X)
            mask = present.astype(np.float64)
            # First less a value of the column, so that a constant becomes exactly 0, then less the mean.
            first = X[present.argmax(axis=0), np.arange(X.shape[1])]
            first = np.where(present.any(axis=0), first, 0.0)
            X = np.where(present, X - first, 0.0)
            centre = X.sum(axis=0) / np.maximum(mask.sum(axis=0), 1.0)
            X -= centre * mask
            shift = first + centre
            n = mask.T @ mask
            sums = X.T @ mask
            offset = sums / np.maximum(n, 1.0)  # mean of column i less its shift, where j is present
            squares = np.maximum((X * X).T @ mask - sums * offset, 0.0)
            products = X.T @ X - n * offset * offset.T
        return cls(names, n, np.where(n > 0, shift[:, None] + offset, 0.0), squares, products)

    @classmethod
    def _complete(cls, names: tuple[str, ...], X: NDArray[np.float64]) -> Self:
        """Measure a block without missing values, where all pairs share their rows."""
        rows, d = X.shape
        first = X[0].copy()
        X -= first
        centre = X.sum(axis=0) / rows
        X -= centre
        products = X.T @ X
        columns = (first + centre, np.diag(products).copy())
        mean, squares = (np.repeat(column[:, None], d, axis=1) for column in columns)
        return cls(names, np.full((d, d), float(rows)), mean, squares, products)

    def update(self, X: NDArray[Any]) -> Self:
        """Return the products with further rows, as in `of`."""
        return self.merge(self.of(self.names, X))

    def merge(self, other: Self) -> Self:
        """Return the products of both; the columns must be the same."""
        assert self.names == other.names
        with np.errstate(all="ignore"):
            n = self.n + other.n
            share = other.n / np.maximum(n, 1.0)
            delta = np.where((self.n > 0) & (other.n > 0), other.mean - self.mean, 0.0)
            weight = self.n * share
            return type(self)(
                self.names,
                n,
                np.where(self.n > 0, self.mean + delta * share, other.mean),
                self.squares + other.squares + delta * delta * weight,
                self.products + other.products + delta * delta.T * weight,
            )

    def covariance(self, ddof: int = 1) -> NDArray[np.float64]:
        """Return the pairwise covariance, shape (d, d); NaN where fewer than ``ddof + 1`` rows hold both."""
        with np.errstate(all="ignore"):
            return np.where(self.n > ddof, self.products / (self.n - ddof), np.nan)

    def correlation(self) -> NDArray[np.float64]:
        """Return Pearson's correlation, shape (d, d); NaN where a column does not vary in the shared rows."""
        with np.errstate(all="ignore"):
            scale = np.sqrt(self.squares) * np.sqrt(self.squares.T)
            return np.where(scale > 0, np.clip(self.products / scale, -1.0, 1.0), np.nan)

    def result(self) -> dict[str, Any]:
        """Return the names, covariance and correlation."""
        return {
            "names": self.names,
            "covariance": self.covariance(),
            "correlation": self.correlation(),
        }

    def state(self) -> dict[str, Any]:
        """Everything held, as JSON."""
        return {"names": list(self.names), **{key: encode_array(getattr(self, key)) for key in MATRICES}}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls(tuple(state["names"]), *(decode_array(state[key]) for key in MATRICES))
