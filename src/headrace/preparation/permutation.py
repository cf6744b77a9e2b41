"""Which columns stay: by what a model loses on rows that it has not seen when a column is shuffled; on a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.preparation.parted import SampledRows

PERMUTED_ROWS = 20_000
"""Sampled training rows: the first half is learnt from, the second judges."""
CATEGORIES = 250
"""Values of a string that are told apart, the most frequent; the others count as missing."""
REPEATS = 5


def permutation_scores(
    sampled: SampledRows, names: Sequence[str], target: str, strings: frozenset[str]
) -> dict[str, float]:
    """Score columns by permutation importance (Breiman 2001; `sklearn.inspection.permutation_importance`) on held-out rows of a sample.

    A `HistGradientBoosting` model of scikit-learn with its own defaults, which takes columns unprepared and missing values as they are, is
    fitted to the first half of up to 20,000 sampled training rows. The score of a column is how much worse the model does on the other half
    when the column is shuffled, the mean of 5 times: the loss of R^2 for a number, of the log loss for classes.

    Parameters
    ----------
    sampled : SampledRows
        Of the training rows, with the columns and the target.
    names : sequence of str
        Columns.
    target : str
    strings : frozenset of str
        Those of the columns that are strings.

    Returns
    -------
    dict of str to float
        All 0 when the sample has a single value of the target.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.inspection import permutation_importance
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    y = sampled.values([target], PERMUTED_ROWS)[:, 0]
    known = ~np.isnan(y)
    X = sampled.values(names, PERMUTED_ROWS)
    for place, name in enumerate(names):
        if name in strings:
            X[:, place] = _coded(X[:, place])
    X, y = X[known], y[known]
    learnt = np.arange(len(y)) < len(y) // 2
    # A class that the first half does not show cannot be judged in the second.
    judging = ~learnt & (np.isin(y, y[learnt]) if sampled.classes else True)
    if len(np.unique(y[learnt])) < 2 or not judging.any():
        return dict.fromkeys(names, 0.0)
    kind = HistGradientBoostingClassifier if sampled.classes else HistGradientBoostingRegressor
    model = kind(
        categorical_features=[name in strings for name in names], early_stopping=False, random_state=0
    )
    with threadpool_limits(limits=1):  # sums of several threads end in the order of chance
        model.fit(X[learnt], y[learnt])
        found = permutation_importance(
            model,
            X[judging],
            y[judging],
            scoring=_log_likelihood if sampled.classes else "r2",
            n_repeats=REPEATS,
            random_state=0,
        )
    return dict(zip(names, found.importances_mean.tolist(), strict=True))


def _log_likelihood(model: Any, X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    from sklearn.metrics import log_loss

    return -float(log_loss(y, model.predict_proba(X), labels=model.classes_))


def _coded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the most frequent values into codes from 0 on, and the others into NaN."""
    found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")[:CATEGORIES]]
    order = np.argsort(frequent)
    if not len(order):
        return np.full(len(values), np.nan)
    places = np.minimum(np.searchsorted(frequent[order], values), len(order) - 1)
    codes = order[places].astype(np.float64)
    return np.where(frequent[order][places] == values, codes, np.nan)
