"""How far one column alone tells the classes apart: a hint that it knows the answer."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.accumulators.columns import ColumnSummary
    from headrace.profiling.profile import ColumnProfile

FEWEST_ROWS = 20
"""Rows of a class, or of a value, below which its share says nothing."""
MOST_CLASSES = 12
"""Classes compared pairwise; of more, the largest."""
_GRID = (np.arange(512) + 0.5) / 512


def separation(column: ColumnProfile, classes: Collection[str]) -> float | None:
    """Mean over pairs of classes of the best AUC that the column alone can reach.

    Parameters
    ----------
    column : ColumnProfile
        A profile with one summary for each class.
    classes : collection of str
        Labels that count as classes; rows without a target are not one.

    Returns
    -------
    float or None
        0.5 (tells nothing) to 1.0 (gives the answer away); None when fewer than two classes have enough rows.

    Notes
    -----
    For each pair the larger of two figures: the column as a score, P(X_b > X_a) + P(X_b = X_a) / 2 from the classes' quantile
    sketches; and as a category, its values ranked by the share of class b, rare values in one pool. Missing is a value as
    well. The mean over pairs is the M of Hand & Till (2001), Machine Learning 45. The error is at most the sum of
    the two sketches' rank errors and 1/512.
    """
    large = sorted(
        (summary.rows, label)
        for label, summary in column.by_class.items()
        if label in classes and summary.rows >= FEWEST_ROWS
    )
    groups = [column.by_class[label] for _, label in large[-MOST_CLASSES:]]
    if len(groups) < 2:
        return None
    pairs = list(combinations(groups, 2))
    return float(sum(max(_as_score(a, b), _as_category(a, b)) for a, b in pairs) / len(pairs))


def _as_score(a: ColumnSummary, b: ColumnSummary) -> float:
    """AUC of the value itself, missing rows set below or above all others, whichever tells more."""
    if a.quantiles is None or b.quantiles is None or not a.quantiles.n or not b.quantiles.n:
        return 0.5
    points = np.asarray(b.quantiles.quantile(_GRID), dtype=float)
    upto = np.asarray(a.quantiles.cdf(points), dtype=float)
    below = np.asarray(a.quantiles.cdf(np.nextafter(points, -np.inf)), dtype=float)
    above = float(np.mean(upto + below) / 2)  # P(X_a < X_b) + P(=)/2 among valid values
    valid_a, valid_b = a.valid / a.rows, b.valid / b.rows
    tied = (1 - valid_a) * (1 - valid_b) / 2
    return max(
        valid_a * valid_b * order + gained + tied
        for order in (above, 1 - above)
        for gained in ((1 - valid_a) * valid_b, valid_a * (1 - valid_b))
    )


def _as_category(a: ColumnSummary, b: ColumnSummary) -> float:
    """AUC of the values ranked by the share of b among their rows."""
    counts_a, counts_b = _counts(a), _counts(b)
    pool = [a.rows, b.rows]
    pairs = {value: (counts_a.get(value, 0), counts_b.get(value, 0)) for value in {**counts_a, **counts_b}}
    kept = []
    # Most values of a number are rare, and need no order.
    for value in sorted((value for value, pair in pairs.items() if sum(pair) >= FEWEST_ROWS), key=str):
        kept.append(pairs[value])
        pool = [pool[0] - pairs[value][0], pool[1] - pairs[value][1]]
    kept.append((max(0, pool[0]), max(0, pool[1])))
    table = np.array([pair for pair in kept if sum(pair)], dtype=float)
    table = table[np.argsort(table[:, 1] / table.sum(axis=1), kind="stable")]
    before = np.cumsum(table[:, 0]) - table[:, 0]
    return float(table[:, 1] @ (before + table[:, 0] / 2)) / (a.rows * b.rows)


def _counts(summary: ColumnSummary) -> dict[Any, int]:
    counts: dict[Any, int] = {None: summary.missing}
    return counts | dict(summary.hitters.items())
