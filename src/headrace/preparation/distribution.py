"""The values of a column as weighted points: what filling and clipping do to its statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from headrace.accumulators.columns import ColumnSummary

_POINTS = 8192
"""Points that stand for a column of more than 10,000 distinct values; adds at most 1/16384 to a rank error."""


@dataclass(frozen=True)
class Distribution:
    """The finite values of a column.

    Exact while the profile counts every distinct value; beyond, 8192 evenly spaced quantiles of its sketch stand for
    the values, so that a quantile errs by the rank error e of the sketch + 1/16384, and the mean of f(x), f monotone, by
    at most that times the range of f.

    Attributes
    ----------
    values : ndarray of float64, shape (k,)
        Ascending.
    weights : ndarray of float64, shape (k,)
        Rows of each.
    exact : bool
        Whether these are all values with their counts.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    exact: bool

    @classmethod
    def of(cls, summary: ColumnSummary) -> Self:
        """Read a numeric, boolean or datetime column of which at least one value is finite."""
        if summary.hitters.exact:
            values = np.asarray(summary.hitters.values).astype(np.float64)
            return cls(values, summary.hitters.counts.astype(np.float64), exact=True)
        assert summary.quantiles is not None
        assert summary.moments is not None
        shares = (np.arange(_POINTS) + 0.5) / _POINTS
        points = np.asarray(summary.quantiles.quantile(shares), dtype=np.float64)
        return cls(points, np.full(_POINTS, summary.moments.n / _POINTS), exact=False)

    def mapped(self, function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Self:
        """Return the distribution of a function of the values."""
        values = function(self.values)
        order = np.argsort(values, kind="stable")
        return replace(self, values=values[order], weights=self.weights[order])

    def clipped(self, low: float, high: float) -> Self:
        """Return the distribution of the values held within bounds."""
        return replace(self, values=np.clip(self.values, low, high))

    def within(self, low: float, high: float) -> Self:
        """Return the distribution of the rows whose values lie within bounds."""
        inside = (self.values >= low) & (self.values <= high)
        return replace(self, values=self.values[inside], weights=self.weights[inside])

    def filled(self, value: float, rows: int) -> Self:
        """Return the distribution with `rows` more rows of one value."""
        if not rows:
            return self
        at = int(np.searchsorted(self.values, value))
        values, weights = np.insert(self.values, at, value), np.insert(self.weights, at, rows)
        return replace(self, values=values, weights=weights)

    @property
    def mean(self) -> float:
        """Weighted mean."""
        half = self.values[0] / 2  # halves do not overflow
        return float(2 * half + 2 * np.average(self.values / 2 - half, weights=self.weights))

    def std(self) -> float:
        """Return the population standard deviation; it does not overflow before the values do."""
        deviations = self.values / 2 - self.mean / 2
        largest = float(np.abs(deviations).max())
        if largest == 0:
            return 0.0
        mean_square = float(np.average((deviations / largest) ** 2, weights=self.weights))
        return 2 * largest * math.sqrt(mean_square)

    def quantile(self, q: ArrayLike) -> NDArray[np.float64]:
        """Return quantiles with linear interpolation between rows, as `numpy.quantile`; of points, without.

        Parameters
        ----------
        q : array_like of float
            Shares in [0, 1].
        """
        shares = np.asarray(q, dtype=np.float64)
        ends = np.cumsum(self.weights)
        last = len(self.values) - 1
        if not self.exact:
            at = np.searchsorted(ends, shares * ends[-1], side="right")
            return np.asarray(self.values[np.minimum(at, last)])
        position = shares * (ends[-1] - 1)
        below = np.floor(position)
        low = self.values[np.minimum(np.searchsorted(ends, below, side="right"), last)]
        high = self.values[np.minimum(np.searchsorted(ends, below + 1, side="right"), last)]
        part = position - below
        between = (part > 0) & (low < high)  # equal values stay what they are, to the last bit
        return np.asarray(np.where(between, low * (1 - part) + high * part, low))

    def most_frequent(self) -> float:
        """Return the value of most rows, the smallest of equals; the median of points."""
        return float(self.values[np.argmax(self.weights)] if self.exact else self.quantile(0.5))
