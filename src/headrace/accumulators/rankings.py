"""ROC-AUC, average precision and their curves, from the weights of two classes by bins of a score.

Bins are in increasing order of the score. Within a bin that holds several distinct scores the order of its rows is
not known, and each result has a proved bound from taking the best and the worst order.
"""

from __future__ import annotations

import numpy as np

MOST_POINTS = 200
"""Most points of a curve."""


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide, with NaN where the divisor is 0.

    Parameters
    ----------
    above, below : ndarray
        Of shapes that go together.

    Returns
    -------
    ndarray
        The quotients.
    """
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    out = np.full(shape, np.nan)
    np.divide(above, below, out=out, where=np.asarray(below) != 0)
    return out


def roc_auc(negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Probability that a positive scores higher than a negative, ties counted half.

    Parameters
    ----------
    negatives, positives : ndarray, shape (bins, ...)
        Weight of each class by bin; further axes are separate problems.

    Returns
    -------
    ndarray, shape (...)
        NaN where a class has no weight.

    Examples
    --------
    >>> float(roc_auc(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0])))
    0.875
    """
    below = np.cumsum(negatives, axis=0) - 0.5 * negatives
    return ratio((positives * below).sum(axis=0), positives.sum(axis=0) * negatives.sum(axis=0))


def roc_auc_error(negatives: np.ndarray, positives: np.ndarray, mixed: np.ndarray) -> float:
    """Bound of the error of `roc_auc` from bins that mix scores.

    The pairs within a bin of positive weight p and negative weight n count between 0 and pn, and were counted pn/2.

    Parameters
    ----------
    negatives, positives : ndarray, shape (bins,)
        Weight of each class by bin.
    mixed : ndarray of bool, shape (bins,)
        Bins with more than one distinct score.

    Returns
    -------
    float
        The bound; 0 when no bin mixes classes.
    """
    pairs = positives.sum() * negatives.sum()
    return float(0.5 * (positives * negatives)[mixed].sum() / pairs) if pairs else 0.0


def average_precision(negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Sum over thresholds of precision times the gain of recall.

    Parameters
    ----------
    negatives, positives : ndarray, shape (bins, ...)
        Weight of each class by bin; further axes are separate problems.

    Returns
    -------
    ndarray, shape (...)
        NaN where there is no positive weight.

    Examples
    --------
    >>> round(float(average_precision(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0]))), 6)
    0.833333
    """
    true = np.cumsum(positives[::-1], axis=0)
    false = np.cumsum(negatives[::-1], axis=0)
    precision = np.nan_to_num(ratio(true, true + false))
    return ratio((precision * positives[::-1]).sum(axis=0), positives.sum(axis=0))


def average_precision_within(
    negatives: np.ndarray, positives: np.ndarray, mixed: np.ndarray
) -> tuple[float, float]:
    """Average precision and the bound of its error, from bins that may mix scores.

    With weights T and F above a mixed bin of p and n, its part is at most p k(T + p), k(x) = x / (x + F), reached
    when all its positives come first. It is at least the integral of h(x) = x / (x + F + n) from T to T + p, reached
    when they come last; as h is concave, that is at least p (h(T) + h(T + p)) / 2. The middle of the two is taken.

    Parameters
    ----------
    negatives, positives : ndarray, shape (bins,)
        Weight of each class by bin.
    mixed : ndarray of bool, shape (bins,)
        Bins with more than one distinct score.

    Returns
    -------
    tuple of float
        The value, NaN where there is no positive weight, and the bound, 0 when no bin is mixed.
    """
    gain, loss = positives[::-1], negatives[::-1]
    total = gain.sum()
    if not total:
        return float("nan"), 0.0
    true, false = np.cumsum(gain), np.cumsum(loss)
    last = np.nan_to_num(ratio(true, true + false))
    most = np.nan_to_num(ratio(true, true + false - loss))
    first = np.nan_to_num(ratio(true - gain, true - gain + false))
    least = (first + last) / 2
    inside = mixed[::-1]
    precision = np.where(inside, (most + least) / 2, last)
    value = (gain * precision).sum() / total
    return float(value), float((gain * (most - least))[inside].sum() / 2 / total)


def curve_points(negatives: np.ndarray, positives: np.ndarray) -> dict[str, list[list[float]]]:
    """Draw the ROC and the precision-recall curve.

    Parameters
    ----------
    negatives, positives : ndarray, shape (bins,)
        Weight of each class by bin.

    Returns
    -------
    dict
        ``roc``: [false positive rate, true positive rate] and ``pr``: [recall, precision], at most `MOST_POINTS`
        each, at even steps along the ROC curve; empty when a class has no weight.
    """
    total_true, total_false = positives.sum(), negatives.sum()
    if not total_true or not total_false:
        return {"roc": [], "pr": []}
    true = np.concatenate([[0.0], np.cumsum(positives[::-1])])
    false = np.concatenate([[0.0], np.cumsum(negatives[::-1])])
    along = true / total_true + false / total_false
    picked = np.unique(
        np.searchsorted(along, np.linspace(0.0, along[-1], MOST_POINTS)).clip(0, len(along) - 1)
    )
    true, false = true[picked], false[picked]
    some = (true + false) > 0
    return {
        "roc": _pairs(false / total_false, true / total_true),
        "pr": _pairs(true[some] / total_true, true[some] / (true + false)[some]),
    }


def _pairs(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    return [list(pair) for pair in np.column_stack([x, y]).clip(0.0, 1.0).tolist()]
