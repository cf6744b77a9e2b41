"""From a sketch to what can be drawn: the window, round bins, shares per bin, and Wilson intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.report.scales import SECONDS, round_step

if TYPE_CHECKING:
    from headrace.accumulators.columns import ColumnSummary

BINS = 36
DAY = 86400


@dataclass(frozen=True)
class Window:
    """The range of values that is drawn; long thin tails are cut, and said so.

    Parameters
    ----------
    low, high : float
        The range.
    cut_low, cut_high : bool
        Whether values lie below or above it.
    """

    low: float
    high: float
    cut_low: bool = False
    cut_high: bool = False


def window(summary: ColumnSummary) -> Window:
    """Return the range to draw: all of it, unless a tail is longer than the middle 99 % of the rows is wide."""
    sketch, moments = summary.quantiles, summary.moments
    if sketch is None or moments is None or not sketch.n:
        return Window(0.0, 0.0)
    low, high = float(moments.minimum), float(moments.maximum)
    inner_low, inner_high = (float(value) for value in sketch.quantile([0.005, 0.995]))
    span = inner_high - inner_low
    if not span > 0 or not math.isfinite(span):
        return Window(low, high)
    cut_low, cut_high = inner_low - low > span, high - inner_high > span
    return Window(inner_low if cut_low else low, inner_high if cut_high else high, cut_low, cut_high)


def edges(seen: Window, *, whole: bool, unit_seconds: float | None = None, most: int = BINS) -> np.ndarray:
    """Return the edges of at most about `most` equal bins at round values that cover the window.

    Parameters
    ----------
    seen : Window
        The range to cover.
    whole : bool
        All values are integers: bins then hold the same number of integers each, and edges lie between them.
    unit_seconds : float, optional
        For points in time, the length of one unit in seconds; bins are then seconds to weeks or whole days.
    most : int
        Bins at most, but for rounding.

    Returns
    -------
    numpy.ndarray, shape (bins + 1,)
    """
    low, high = seen.low, seen.high
    if not high > low:
        return np.array([low - 0.5, low + 0.5])
    if not math.isfinite(high - low):
        return np.linspace(low / most, high / most, most + 1) * most
    if unit_seconds is not None:
        step = _time_step((high - low) * unit_seconds / most) / unit_seconds
        first, last = math.floor(low / step), math.floor(high / step) + 1
        return np.arange(first, last + 1) * step
    if whole:
        width = max(1.0, round_step(high - low + 1, most))
        width = float(math.ceil(width))
        start = math.floor(low / width) * width if width > 1 else low
        bins = math.floor((high - start) / width) + 1
        return start - 0.5 + width * np.arange(bins + 1)
    step = round_step(high - low, most)
    if low + step == low or high - step == high:
        return np.linspace(low, high, most + 1)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    cuts = np.arange(first, max(last, first + 1) + 1) * step
    # What rounding left outside by a billionth of a bin belongs to the outer bins.
    cuts[0], cuts[-1] = min(cuts[0], low), max(cuts[-1], high)
    return cuts


def _time_step(least: float) -> float:
    if least < 1:
        return round_step(least, 1)
    fitting = [step for step in SECONDS if step >= least]
    return float(fitting[0]) if fitting else math.ceil(least / DAY) * DAY


@dataclass(frozen=True)
class Shares:
    """How the values of a column fall into bins.

    Parameters
    ----------
    below, above : float
        Shares of the values outside the bins.
    inside : numpy.ndarray, shape (bins,)
        Shares of the values in each bin.
    rows : int
        Values in all.
    error : float
        By how much each of `inside` can be off; 0 when all values are counted one by one.
    """

    below: float
    inside: np.ndarray
    above: float
    rows: int
    error: float


def shares(summary: ColumnSummary, bin_edges: np.ndarray) -> Shares:
    """Return the shares of the values in bins that are closed to the right.

    Counted exactly while the summary holds every distinct value; else differences of the sketch's distribution
    function. Values at the very first edge count to the first bin.
    """
    sketch = summary.quantiles
    assert sketch is not None
    if summary.hitters.exact and summary.hitters.items():
        pairs = np.array(summary.hitters.items(), dtype=np.float64)
        places = np.searchsorted(bin_edges, pairs[:, 0], side="left")
        places[pairs[:, 0] == bin_edges[0]] = 1
        counts = np.bincount(places, weights=pairs[:, 1], minlength=bin_edges.size + 1) / pairs[:, 1].sum()
        return Shares(float(counts[0]), counts[1:-1], float(counts[-1]), int(sketch.n), 0.0)
    reached = np.asarray(sketch.cdf(bin_edges), dtype=np.float64)
    inside = np.maximum(np.diff(reached), 0.0)
    below = float(reached[0])
    if float(sketch.quantile(0.0)) >= bin_edges[0]:
        inside[0] += below
        below = 0.0
    return Shares(
        below, inside, max(0.0, 1.0 - float(reached[-1])), int(sketch.n), 2 * float(sketch.rank_error)
    )


def wilson(hits: float, rows: float, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927).

    Examples
    --------
    >>> low, high = wilson(5, 10)
    >>> round(low, 3), round(high, 3)
    (0.237, 0.763)
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if rows <= 0:
        return 0.0, 1.0
    p = hits / rows
    centre = p + z * z / (2 * rows)
    half = z * math.sqrt(max(p * (1 - p), 0.0) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def explained(table: np.ndarray) -> float:
    """Return the share of the entropy of the columns that the rows explain (Theil's uncertainty coefficient).

    Parameters
    ----------
    table : numpy.ndarray, shape (cells, classes)
        Counts.

    Returns
    -------
    float
        ``I(cell; class) / H(class)`` in [0, 1], with the first-order bias ``(cells - 1)(classes - 1) / 2n`` of
        the mutual information taken off (Miller 1955).

    Examples
    --------
    >>> explained(np.array([[100.0, 0.0], [0.0, 100.0]])) > 0.99
    True
    >>> explained(np.array([[50.0, 50.0], [50.0, 50.0]]))
    0.0
    """
    counts = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    total = float(counts.sum())
    if total <= 0 or min(counts.shape) < 2:
        return 0.0
    joint = counts / total
    rows, columns = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    present = joint > 0
    information = float((joint[present] * np.log((joint / (rows * columns))[present])).sum())
    entropy = float(-(columns * np.log(columns)).sum())
    bias = (counts.shape[0] - 1) * (counts.shape[1] - 1) / (2 * total)
    share: float = (information - bias) / entropy
    return min(1.0, max(0.0, share))
