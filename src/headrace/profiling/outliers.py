"""How many values lie outside, by each of the usual rules, from a summary and with its error (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headrace.accumulators.columns import ColumnSummary


@dataclass(frozen=True)
class Outside:
    """The values outside one pair of fences.

    Attributes
    ----------
    rule : str
        Such as ``1.5 IQR``.
    low, high : float
        The fences; from quantiles that are as exact as the sketch, or from exact moments.
    share : float
        Of the finite values, those below `low` or above `high`.
    error : float
        By how much `share` can be off; 0 when every value was counted.
    """

    rule: str
    low: float
    high: float
    share: float
    error: float


def outliers(summary: ColumnSummary) -> tuple[Outside, ...]:
    """Count values outside the fences of Tukey (1977), three standard deviations, and the percentiles 1 and 99.

    Parameters
    ----------
    summary : ColumnSummary
        Of numbers.

    Returns
    -------
    tuple of Outside
        For the rules ``1.5 IQR``, ``3 IQR``, ``z > 3``, ``p1 - p99``; empty when nothing varies.
    """
    sketch, moments = summary.quantiles, summary.moments
    if sketch is None or moments is None or not sketch.n or not moments.minimum < moments.maximum:
        return ()
    p1, q25, q75, p99 = (float(value) for value in sketch.quantile([0.01, 0.25, 0.75, 0.99]))
    reach, spread = q75 - q25, float(moments.std)
    fences = [
        ("1.5 IQR", q25 - 1.5 * reach, q75 + 1.5 * reach),
        ("3 IQR", q25 - 3 * reach, q75 + 3 * reach),
        ("z > 3", float(moments.mean) - 3 * spread, float(moments.mean) + 3 * spread),
        ("p1 - p99", p1, p99),
    ]
    return tuple(
        Outside(rule, low, high, *_share(summary, low, high))
        for rule, low, high in fences
        if np.isfinite(low) and np.isfinite(high)
    )


def _share(summary: ColumnSummary, low: float, high: float) -> tuple[float, float]:
    sketch = summary.quantiles
    assert sketch is not None
    if summary.hitters.exact and len(summary.hitters.counts):
        values = np.asarray(summary.hitters.values, dtype=np.float64)
        counts = summary.hitters.counts
        return float(counts[(values < low) | (values > high)].sum() / counts.sum()), 0.0
    below, upto = sketch.cdf([np.nextafter(low, -np.inf), high])
    return max(0.0, float(below) + 1.0 - float(upto)), 2 * float(sketch.rank_error)
