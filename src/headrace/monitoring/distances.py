"""Distances between two distributions that are counted in the same cells, and what chance explains of them (pure)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def stability_index(a: ArrayLike, b: ArrayLike) -> float:
    """Return the population stability index, sum of (p - q) ln(p / q), with half a row added to each cell.

    Parameters
    ----------
    a, b : array_like, shape (cells,)
        Rows of each cell now and in the reference.
    """
    p, q = _smoothed(a), _smoothed(b)
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon(a: ArrayLike, b: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence in nats, at most ln 2; the square of SciPy's distance.

    Parameters
    ----------
    a, b : array_like, shape (cells,)
        Rows of each cell.
    """
    p, q = _shares(a), _shares(b)
    middle = (p + q) / 2
    return float(special.rel_entr(p, middle).sum() + special.rel_entr(q, middle).sum()) / 2


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> float:
    """Return the largest difference of the cumulative shares at the edges of cells that lie on a line.

    It is less than that over all values by at most the share of one cell.
    """
    return float(np.abs(np.cumsum(_shares(a)) - np.cumsum(_shares(b))).max())


def wasserstein(
    a: ArrayLike, b: ArrayLike, cuts: ArrayLike, low: float, high: float, *, beyond: float = 0.0
) -> float:
    """Return the first Wasserstein distance, the area between the cumulative shares, in units of the column.

    Rows are taken as spread evenly over their cell, so it is wrong by at most the share of a cell times its width,
    summed over cells.

    Parameters
    ----------
    a, b : array_like, shape (k + 3,)
        Rows below `low`, up to and including each of `cuts`, up to `high`, above it.
    cuts : array_like, shape (k,)
    low, high : float
        Extremes of the reference.
    beyond : float
        Sum of how far the rows of `a` lie outside of them.
    """
    p, q = _shares(a), _shares(b)
    edges = np.concatenate([[low], np.asarray(cuts, dtype=np.float64), [high]])
    gap = np.cumsum(p - q)[:-1]
    left, right = gap[:-1], gap[1:]
    width = np.diff(edges)
    # the area below a straight line from left to right; where it crosses zero, that of two triangles
    crossing = left * right < 0
    total = np.abs(left) + np.abs(right)
    triangles = (left**2 + right**2) / np.where(crossing, 2 * total, 1.0)
    area = float((width * np.where(crossing, triangles, total / 2)).sum())
    rows = float(np.sum(np.asarray(a, dtype=np.float64)))
    return area + (beyond / rows if rows else 0.0)


def chi_square(a: ArrayLike, b: ArrayLike) -> tuple[float, int]:
    """Return the chi-squared statistic of two samples and its degrees of freedom; cells that are empty in both are left out.

    Parameters
    ----------
    a, b : array_like, shape (cells,)
        Rows of each cell.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    held = x + y > 0
    x, y = x[held], y[held]
    n, m = x.sum(), y.sum()
    if not n or not m or len(x) < 2:
        return 0.0, 0
    return float(((math.sqrt(m / n) * x - math.sqrt(n / m) * y) ** 2 / (x + y)).sum()), len(x) - 1


def chi_square_chance(statistic: float, free: int, displaced: float = 0.0) -> float:
    """Return how probable a statistic as large is when nothing moved.

    Parameters
    ----------
    statistic : float
    free : int
        Degrees of freedom.
    displaced : float
        What an error of the sketches adds to it at most, in expectation (the non-centrality).
    """
    if free < 1:
        return 1.0
    if displaced <= 0:
        return float(special.chdtrc(free, statistic))
    return float(max(0.0, 1.0 - special.chndtr(statistic, free, displaced)))


def kolmogorov_chance(distance: float, n: float, m: float, error: float = 0.0) -> float:
    """Return how probable a Kolmogorov-Smirnov distance as large is when nothing moved (its limit for large samples).

    Parameters
    ----------
    distance : float
    n, m : float
        Rows of the two samples.
    error : float
        What the sketches may have added to it.
    """
    if not n or not m:
        return 1.0
    return float(special.kolmogorov(max(0.0, distance - error) * math.sqrt(n * m / (n + m))))


def rate_chance(a: float, n: float, b: float, m: float) -> float:
    """Return how probable it is that `a` of `n` and `b` of `m` rows differ as much, when their rates are the same.

    Given a + b, `a` is then hypergeometric, whose tails are lighter than those of the binomial that is taken here; so
    it is never too small, however rare.
    """
    k = a + b
    if not k or not n or not m:
        return 1.0
    share = n / (n + m)
    over = float(special.betainc(a, k - a + 1, share)) if a > 0 else 1.0
    under = float(special.betainc(k - a, a + 1, 1 - share)) if k > a else 1.0
    return min(1.0, 2 * min(over, under))


def new_values_chance(rows: float, n: float, m: float, singles: int) -> float:
    """Return how probable `rows` of `n` rows with values that `m` rows did not hold are, when nothing moved.

    The probability of a new value is about the share of values that occurred once (Good 1953), here raised by three
    standard errors.
    """
    if not rows or not n or not m:
        return 1.0
    held = singles + 1
    expected = (held + 3 * math.sqrt(held)) * n / m
    return float(special.pdtrc(rows - 1, expected))


def pooled(
    a: NDArray[np.float64], b: NDArray[np.float64], least: float = 5.0
) -> tuple[NDArray[np.float64], ...]:
    """Put cells together whose expected rows are few, so that chi-squared's limit holds.

    Parameters
    ----------
    a, b : ndarray, shape (cells,)
    least : float
        Rows that each sample should have in each cell when nothing moved.

    Returns
    -------
    tuple of two ndarrays
        The cells that are large enough, then those that were put together.
    """
    n, m = a.sum(), b.sum()
    if not n or not m:
        return a, b
    expected = (a + b) / (n + m) * min(n, m)
    order = np.argsort(expected, kind="stable")
    upto = np.cumsum(expected[order])
    small = int((expected < least).sum())
    if small:
        # one more cell at a time until what was put together is large enough itself
        small = max(small, int(np.searchsorted(upto, least)) + 1)
    away, kept = order[:small], np.sort(order[small:])
    if not small:
        return a, b
    return tuple(np.append(side[kept], side[away].sum()) for side in (a, b))


def _shares(counts: ArrayLike) -> NDArray[np.float64]:
    held = np.asarray(counts, dtype=np.float64)
    total = held.sum()
    return held / total if total else held


def _smoothed(counts: ArrayLike) -> NDArray[np.float64]:
    return _shares(np.asarray(counts, dtype=np.float64) + 0.5)
