"""Permutation importance: by how much a metric gets worse on test rows when the values of a column are dealt out anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.training.scoring import LOWER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.evaluation.asked import Asked

REPEATS = 5


@dataclass(frozen=True)
class ColumnImportance:
    """What the model loses without the order of one column."""

    column: str
    mean: float
    """Loss of the metric, the mean of the repeats; above 0 where it gets worse."""
    low: float
    """Lower end of the 95 % interval of the mean, by Student's t over the repeats."""
    high: float
    repeats: tuple[float, ...]


@dataclass(frozen=True)
class Importance:
    """What a model loses without each column."""

    metric: str
    value: float
    """The metric on the rows as they are."""
    rows: int
    columns: tuple[ColumnImportance, ...]
    """The most important first."""
    left_out: int = 0
    """Columns that were not looked at."""


def permutation_importance(
    asked: Asked, columns: Mapping[str, tuple[str, ...]], metric: str, *, seed: int, left_out: int = 0
) -> Importance | None:
    """Shuffle one column after the other and measure what is lost (Breiman 2001; Fisher, Rudin and Dominici 2019).

    It is what `sklearn.inspection.permutation_importance` computes of the pipeline: columns are those that users give, before any
    preparation. Every column is shuffled by the same permutations.

    Parameters
    ----------
    asked : Asked
        The model and the rows.
    columns : mapping of str to tuple of str
        Columns by name; those of one name are shuffled together.
    metric : str
        As `headrace.training.scoring.score_outputs` names it.
    seed : int
        Of the permutations.
    left_out : int, optional
        Columns that are not looked at.

    Returns
    -------
    Importance or None
        None when the metric is not defined on these rows.
    """
    from scipy import stats

    X = asked.features(asked.table)
    before = asked.score(asked.said(X), metric)
    if before is None:
        return None
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(asked.rows) for _ in range(REPEATS)]
    reach = float(stats.t.ppf(0.975, REPEATS - 1)) / REPEATS**0.5
    found = []
    for name, members in columns.items():
        lost = []
        for changed in asked.shuffled(X, members, orders):
            after = asked.score(asked.said(changed), metric)
            assert after is not None, "it is defined by the truth, which stays"
            lost.append(sign * (before - after))
        mean, spread = float(np.mean(lost)), reach * float(np.std(lost, ddof=1))
        found.append(ColumnImportance(name, mean, mean - spread, mean + spread, tuple(lost)))
    ranked = tuple(sorted(found, key=lambda each: (-each.mean, each.column)))
    return Importance(metric, before, asked.rows, ranked, left_out)
