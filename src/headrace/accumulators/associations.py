"""How strongly two columns go together: rank correlation, Cramer's V, correlation ratio, mutual information (pure)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

GROUPS = 20
"""Groups of rows that the jackknife leaves out in turn."""
_T = 2.093
"""97.5 % point of Student's t with `GROUPS` - 1 degrees of freedom."""


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks from 1, ties by their mean rank; NaN stays NaN.

    Examples
    --------
    >>> ranks(np.array([3.0, np.nan, 1.0, 3.0])).tolist()
    [2.5, nan, 1.0, 2.5]
    """
    found = np.full(len(values), np.nan)
    held = ~np.isnan(values)
    found[held] = rankdata(values[held])
    return found


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return Pearson's correlation of the rows that hold both; NaN where one does not vary."""
    both = np.isfinite(x) & np.isfinite(y)
    a, b = x[both], y[both]
    if len(a) < 2:
        return math.nan
    a, b = _centred(a), _centred(b)
    scale = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return max(-1.0, min(1.0, float(a @ b) / scale)) if scale > 0 else math.nan


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations from the mean, as shares of the largest value so that no square overflows."""
    most = float(np.abs(values).max())
    scaled = values / most if most > 0 else values
    return np.asarray(scaled - scaled.mean())


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation of the rows that hold both, ties by mean rank, as `scipy.stats.spearmanr`."""
    both = ~(np.isnan(x) | np.isnan(y))
    return pearson(rankdata(x[both]), rankdata(y[both]))


def crosstab(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count pairs of codes, without the rows and columns that never occur; negative codes are missing."""
    both = (a >= 0) & (b >= 0)
    a, b = a[both], b[both]
    if not len(a):
        return np.zeros((0, 0), dtype=np.int64)
    width = int(b.max()) + 1
    table = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).reshape(-1, width)
    return table[table.any(axis=1)][:, table.any(axis=0)]


def cramers_v(table: NDArray[np.int64]) -> float:
    """Return Cramer's V of a table of counts, with the bias correction of Bergsma (2013); NaN of one row or column.

    Examples
    --------
    >>> round(cramers_v(np.array([[500, 0], [0, 500]])), 3), cramers_v(np.array([[250, 250], [250, 250]]))
    (1.0, 0.0)
    """
    n = float(table.sum())
    if n < 2 or min(table.shape, default=0) < 2:
        return math.nan
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi2 = float(((table - expected) ** 2 / expected).sum()) / n
    r, c = table.shape
    corrected = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return min(1.0, math.sqrt(corrected / least)) if least > 0 else math.nan


def correlation_ratio(codes: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Return the correlation ratio eta (Pearson 1905) of a number given a category, with the correction of Kelley (1935).

    Its square is the share of the variance between groups, less what as many groups would explain by chance.

    Parameters
    ----------
    codes : ndarray of int, shape (n,)
        Group of each row; negative is missing.
    values : ndarray of float, shape (n,)
        NaN and infinities are missing.

    Returns
    -------
    float
        In [0, 1]; NaN where the values do not vary or there is one group.
    """
    both = (codes >= 0) & np.isfinite(values)
    codes, values = codes[both], values[both]
    if len(values) < 3:
        return math.nan
    centred = _centred(values)
    counts = np.bincount(codes)
    groups = int(np.count_nonzero(counts))
    total = float(centred @ centred)
    if groups < 2 or len(values) <= groups or not 0 < total < math.inf:
        return math.nan
    sums = np.bincount(codes, weights=centred)
    between = float((sums**2 / np.maximum(counts, 1)).sum())
    n = len(values)
    squared = 1 - (1 - between / total) * (n - 1) / (n - groups)
    return math.sqrt(min(1.0, max(0.0, squared)))


def mutual_information(table: NDArray[np.int64]) -> float:
    """Return the mutual information of a table of counts in nats, less its first-order bias (Miller 1955), at least 0.

    Examples
    --------
    >>> round(mutual_information(np.array([[5000, 0], [0, 5000]])), 3)
    0.693
    """
    n = float(table.sum())
    if n <= 0 or min(table.shape, default=0) < 2:
        return 0.0
    joint = table / n
    expected = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    held = joint > 0
    found = float((joint[held] * np.log(joint[held] / expected[held])).sum())
    bias = float((table.shape[0] - 1) * (table.shape[1] - 1)) / (2 * n)
    return max(0.0, found - bias)


def jackknife(statistic: Callable[[NDArray[np.bool_]], float], rows: int) -> tuple[float, float]:
    """Return a statistic of a sample and the half width of its 95 % interval, by the jackknife over groups of rows.

    Each of 20 runs of rows is left out in turn (Quenouille 1956, Tukey 1958); the rows must be in random order, as those
    of a `RowSample` are.

    Parameters
    ----------
    statistic : callable
        ``statistic(kept) -> float``, of the rows that a mask of shape (rows,) keeps.
    rows : int
        Rows of the sample.

    Returns
    -------
    value, half : float
        NaN as the half width of fewer than 40 rows, or where leaving out a group leaves the statistic undefined.
    """
    kept = np.ones(rows, dtype=bool)
    value = statistic(kept)
    if rows < 2 * GROUPS:
        return value, math.nan
    bounds = np.linspace(0, rows, GROUPS + 1).astype(int)
    found = np.empty(GROUPS)
    for i in range(GROUPS):
        kept[bounds[i] : bounds[i + 1]] = False
        found[i] = statistic(kept)
        kept[bounds[i] : bounds[i + 1]] = True
    return value, float(_T * math.sqrt((GROUPS - 1) * np.var(found)))
