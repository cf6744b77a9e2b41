"""Probabilities as scikit-learn clips them, and how well they are calibrated."""

from __future__ import annotations

import numpy as np

from headrace.accumulators.bootstrap import percentile_interval
from headrace.accumulators.rankings import ratio

CALIBRATION_BINS = 15
"""Bins of equal width of the expected calibration error."""
CALIBRATION_EDGES = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
"""Inner edges of the calibration bins; a bin holds its lower edge."""


def clipped_log(scores: np.ndarray) -> np.ndarray:
    """Natural logarithm of probabilities clipped to [eps, 1 - eps] of their own type, as scikit-learn does.

    Parameters
    ----------
    scores : ndarray of float
        Probabilities.

    Returns
    -------
    ndarray of float64
        Finite logarithms.
    """
    kept = scores if np.issubdtype(scores.dtype, np.floating) else scores.astype(np.float64)
    eps = np.finfo(kept.dtype).eps
    logs: np.ndarray = np.log(np.clip(kept, eps, 1 - eps)).astype(np.float64)
    return logs


def calibration_curve(
    weights: np.ndarray, scores: np.ndarray, observed: np.ndarray
) -> list[dict[str, float | None]]:
    """Draw what was observed against what was said.

    Parameters
    ----------
    weights, scores, observed : ndarray, shape (bins, 1 + replicates)
        Weight, sum of scores and observed weight of each calibration bin; column 0 is the data.

    Returns
    -------
    list of dict
        ``{"score", "observed", "low", "high", "weight"}`` (mean score, observed share with its 95 % interval,
        weight) for the bins with weight.
    """
    rate = ratio(observed, weights)
    points: list[dict[str, float | None]] = []
    for place in np.flatnonzero(weights[:, 0] > 0):
        low, high = percentile_interval(rate[place])
        points.append(
            {
                "score": float(scores[place, 0] / weights[place, 0]),
                "observed": float(rate[place, 0]),
                "low": low,
                "high": high,
                "weight": float(weights[place, 0]),
            }
        )
    return points
