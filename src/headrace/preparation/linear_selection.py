"""Which numbers stay, judged together: along the path of the lasso, or by recursive elimination, from cross products alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import WorkflowError
from headrace.preparation.together import filled_covariance
from headrace.profiling.classes import NULL_CLASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.accumulators.gram import Gram
    from headrace.profiling.profile import Profile

JOINT = frozenset({"l1", "recursive_elimination"})
"""Scores of numbers that are judged together."""


def joint_scores(profile: Profile, names: Sequence[str], by: str, gram: Gram) -> dict[str, float]:
    r"""Score numbers by least squares on all of them, filled with their means and brought to mean 0 and deviation 1, as is the target.

    Of classes, least squares learn 0 and 1 for each class (a linear probability model): everything follows from one pass, where
    logistic regression would need a pass a step.

    - l1: the largest penalty :math:`\alpha` of :math:`\|y - Xw\|^2 / 2n + \alpha \|w\|_1` at which the coefficient of the number is not
      0, from the whole path (Efron, Hastie, Johnstone and Tibshirani 2004; `sklearn.linear_model.lars_path_gram`): at most 1, the
      correlation of the first number to enter. Of several classes the largest over one class against the others.
    - recursive_elimination: the round in which the number goes when each round takes the one with the smallest coefficient (Guyon, Weston,
      Barnhill and Vapnik 2002; `sklearn.feature_selection.RFE` of `LinearRegression`), of several classes by the sum of squares.

    Parameters
    ----------
    profile : Profile
        Of the training rows, its classes told apart.
    names : sequence of str
        Columns; those that are not in `gram` have no score.
    by : {"l1", "recursive_elimination"}
    gram : Gram
        Of the numbers, and of the target where that is a number.

    Returns
    -------
    dict of str to float

    Raises
    ------
    WorkflowError
        When there is no target to learn.
    """
    names = [name for name in names if name in gram.names and name != profile.target]
    at = [gram.names.index(name) for name in names]
    covariance = filled_covariance(gram, at, profile.rows)
    deviation = np.sqrt(np.diag(covariance))
    outcomes = _outcomes(profile, names, by, gram)
    varies = deviation > 0
    scale = deviation[varies]
    correlation = covariance[np.ix_(varies, varies)] / np.outer(scale, scale)
    found = np.zeros(len(names))
    learn = _path if by == "l1" else _elimination
    if varies.any():
        found[varies] = learn(correlation, outcomes[varies] / scale[:, None], profile.rows)
    return dict(zip(names, found.tolist(), strict=True))


def _outcomes(profile: Profile, names: list[str], by: str, gram: Gram) -> NDArray[np.float64]:
    """Covariance of each number with each outcome of deviation 1, shape (numbers, outcomes)."""
    if profile.target in gram.names:
        at = [gram.names.index(name) for name in (*names, profile.target)]
        covariance = filled_covariance(gram, at, profile.rows)
        return np.asarray(covariance[:-1, -1:] / max(np.sqrt(covariance[-1, -1]), np.finfo(float).tiny))
    labels = [label for label in profile.classes if label != NULL_CLASS]
    if len(labels) < 2:
        raise WorkflowError(
            f"{by} learns the target from all numbers, and there is none that it could learn",
            where="prepare.select.by",
            mend="use variance, or say it in prepare: of a workflow with a target",
        )
    made = np.empty((len(names), len(labels)))
    for column, label in enumerate(labels):
        share = profile.classes[label] / profile.rows
        for row, name in enumerate(names):
            overall, held = (
                summary.moments if summary is not None else None
                for summary in (profile.columns[name].overall, profile.columns[name].by_class.get(label))
            )
            away = 0.0 if held is None or overall is None else held.n * (held.mean - overall.mean)
            made[row, column] = away / profile.rows / np.sqrt(share * (1 - share))
    # Of two classes one says all.
    return made[:, 1:] if len(labels) == 2 else made


def _path(correlation: NDArray[np.float64], outcomes: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    from sklearn.linear_model import lars_path_gram

    entered = np.zeros(len(correlation))
    for outcome in outcomes.T:
        penalties, _, path = lars_path_gram(
            rows * outcome,
            rows * correlation,
            n_samples=rows,
            method="lasso",
            max_iter=10 * len(correlation) + 10,
        )
        in_use = path != 0
        # A coefficient grows from the knot before the first at which it is not 0.
        first = penalties[np.maximum(in_use.argmax(axis=1) - 1, 0)]
        entered = np.maximum(entered, np.where(in_use.any(axis=1), first, 0.0))
    return entered


def _elimination(
    correlation: NDArray[np.float64], outcomes: NDArray[np.float64], _rows: int
) -> NDArray[np.float64]:
    went = np.zeros(len(correlation))
    left = np.arange(len(correlation))
    for number in range(1, len(correlation) + 1):
        # As LinearRegression: of columns that follow from each other, the smallest coefficients that fit.
        weights = np.linalg.pinv(correlation[np.ix_(left, left)], hermitian=True) @ outcomes[left]
        least = int((weights**2).sum(axis=1).argmin())
        went[left[least]] = number
        left = np.delete(left, least)
    return went
