"""A histogram of numbers, bounded in size, exact while it can be, whose bins do not depend on the order of the data.

The bins are prefixes of the floating-point bits. A number's bits, read as an integer, grow with it (IEEE 754), and
dropping the last ``shift`` of them gives bins of equal relative width. ``shift`` begins at 0 (each distinct number has
its own bin) and grows by one whenever more than ``limit`` bins are occupied. The bins at one shift refine those at
the next and a union occupies no fewer bins than its parts, so that the final shift is a function of the whole data:
any split and any merge tree gives the same histogram.

Probabilities are *folded*: above one half the bits of ``1 - p`` (exact there) count down, so that bins are fine near
0 and near 1, as those of a logit are.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array

_HALF = int(np.float64(0.5).view(np.int64))


def ordered_bits(values: np.ndarray, *, folded: bool) -> np.ndarray:
    """Integers in the order of non-negative numbers.

    Parameters
    ----------
    values : ndarray of float64
        Non-negative numbers; between 0 and 1 when folded.
    folded : bool
        Count down from 1 above one half.

    Returns
    -------
    ndarray of int64
        The same integer for equal numbers only, and in the same order.
    """
    if not folded:
        return (values + 0.0).view(np.int64)
    upper = values >= 0.5
    bits = (np.where(upper, 1.0 - values, values) + 0.0).view(np.int64)
    return np.where(upper, 2 * _HALF - bits, bits)


class NestedHistogram:
    """Weights of groups by bins of a non-negative number.

    Parameters
    ----------
    groups : int
        Number of weights that each bin holds, such as one for each class.
    limit : int
        Most bins held.
    folded : bool
        Whether the numbers are probabilities, with bins fine near 1 as well.

    Attributes
    ----------
    weights : ndarray of float64, shape (bins, groups)
        In increasing order of the numbers.
    low, high : ndarray of float64, shape (bins,)
        Least and greatest number of each bin; equal where the bin holds one distinct number.
    """

    def __init__(self, groups: int = 2, limit: int = 65_536, *, folded: bool = True) -> None:
        self.limit = limit
        self.folded = folded
        self.shift = 0
        self.bins = np.empty(0, dtype=np.int64)
        self.weights = np.empty((0, groups))
        self.low = np.empty(0)
        self.high = np.empty(0)

    @property
    def mixed(self) -> np.ndarray:
        """Whether each bin holds more than one distinct number."""
        return self.low < self.high

    @property
    def middle(self) -> np.ndarray:
        """The middle of each bin's numbers."""
        return self.low + (self.high - self.low) / 2

    def update(self, values: np.ndarray, group: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Add numbers.

        Parameters
        ----------
        values : ndarray of float, shape (n,)
            Non-negative and finite.
        group : ndarray of int, shape (n,)
            The group of each number.
        weight : ndarray of float, shape (n,), optional
            The weight of each number, 1 when absent.
        """
        if not len(values):
            return
        order = np.argsort(values)
        numbers = values[order].astype(np.float64)
        bins = ordered_bits(numbers, folded=self.folded) >> self.shift
        first = np.concatenate([[True], bins[1:] != bins[:-1]])
        starts = np.flatnonzero(first)
        groups = self.weights.shape[1]
        weights = np.bincount(
            (np.cumsum(first) - 1) * groups + group[order],
            weights=None if weight is None else weight[order],
            minlength=len(starts) * groups,
        ).reshape(-1, groups)
        ends = np.append(starts[1:], len(bins)) - 1
        self.absorb(bins[starts], weights.astype(np.float64), numbers[starts], numbers[ends])

    def absorb(self, bins: np.ndarray, weights: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Add bins at the present shift, then drop bits until the limit holds.

        Parameters
        ----------
        bins : ndarray of int64, shape (n,)
            Prefixes of the bits of the numbers, possibly repeated.
        weights : ndarray, shape (n, groups)
            Their weights.
        low, high : ndarray, shape (n,)
            Their least and greatest numbers.
        """
        bins = np.concatenate([self.bins, bins])
        order = np.argsort(bins, kind="stable")
        bins = bins[order]
        least, most = 0, 63  # bisection: the number of occupied bins falls as bits are dropped
        while least < most:
            half = (least + most) // 2
            if 1 + np.count_nonzero(np.diff(bins >> half)) <= self.limit:
                most = half
            else:
                least = half + 1
        self.shift += least
        bins >>= least
        starts = np.flatnonzero(np.concatenate([[True], bins[1:] != bins[:-1]]))
        self.bins = bins[starts]
        self.weights = np.add.reduceat(np.concatenate([self.weights, weights])[order], starts, axis=0)
        self.low = np.minimum.reduceat(np.concatenate([self.low, low])[order], starts)
        self.high = np.maximum.reduceat(np.concatenate([self.high, high])[order], starts)

    def merge(self, other: Self) -> Self:
        """Return the histogram of both sets of numbers."""
        merged = type(self)(self.weights.shape[1], self.limit, folded=self.folded)
        merged.shift = max(self.shift, other.shift)
        for part in (self, other):
            if len(part.bins):
                merged.absorb(part.bins >> (merged.shift - part.shift), part.weights, part.low, part.high)
        return merged

    def result(self) -> dict[str, np.ndarray]:
        """Return the arrays ``low``, ``high``, ``weights``."""
        return {"low": self.low, "high": self.high, "weights": self.weights}

    def quantile(self, q: float) -> tuple[float | None, float]:
        """Quantile of the weighted numbers, all groups together.

        Parameters
        ----------
        q : float
            Share of the weight below, between 0 and 1.

        Returns
        -------
        tuple
            The value (None when there is no weight) and a proved bound of its error. Where the share falls exactly
            between two numbers it is their mean, as in ``numpy.median``.
        """
        held = self.weights.sum(axis=1) > 0
        below = np.cumsum(self.weights[held].sum(axis=1))
        if not len(below):
            return None, 0.0
        low, high = self.low[held], self.high[held]
        target = q * below[-1]
        # Sums of weights are rounded: a share within some ulps of a step is on the step.
        slack = 1e-13 * below[-1]
        left = min(int(np.searchsorted(below, target - slack)), len(below) - 1)
        right = min(int(np.searchsorted(below, target + slack, side="right")), len(below) - 1)
        least = (low[left] + low[right]) / 2
        most = (high[left] + high[right]) / 2
        return float((least + most) / 2), float((most - least) / 2)

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {
            "limit": self.limit,
            "folded": self.folded,
            "shift": self.shift,
            **{name: encode_array(getattr(self, name)) for name in ("bins", "weights", "low", "high")},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        weights = decode_array(state["weights"])
        histogram = cls(weights.shape[1], state["limit"], folded=state["folded"])
        histogram.shift = state["shift"]
        histogram.weights = weights
        histogram.bins, histogram.low, histogram.high = (
            decode_array(state[name]) for name in ("bins", "low", "high")
        )
        return histogram
