"""What every candidate has to beat: a dummy that knows only the target, a model of one column, and a plain linear one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.preparation.selection import score_of
from headrace.training.candidates import PLAIN_LINEAR, Candidate, build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.base import BaseEstimator

    from headrace.accumulators.gram import Gram
    from headrace.preparation.compiled import CompiledPreparation
    from headrace.profiling.profile import Profile
    from headrace.training.blocks import Target

LINEAR = {
    "classification": "sklearn.linear_model.SGDClassifier",
    "regression": "sklearn.linear_model.SGDRegressor",
}
"""The linear baseline of a task, with headrace's defaults."""


def baseline(profile: Profile, target: Target) -> BaseEstimator | None:
    """Make the dummy from the profile of the training rows, without a pass.

    Parameters
    ----------
    profile : Profile
        Of the training part.
    target : Target
        How the target is read.

    Returns
    -------
    estimator or None
        ``DummyClassifier`` that predicts the share of each class, ``DummyRegressor`` that predicts the mean, or None
        when there is no target.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if target.name is None:
        return None
    if target.classes:
        counts = np.array([profile.classes.get(str(label), 0) for label in target.classes], float)
        if target.class_weight:
            counts *= target.class_weight
        rows = np.zeros((len(counts), 1))
        dummy = DummyClassifier(strategy="prior")
        return dummy.fit(rows, np.asarray(target.classes), sample_weight=counts)
    moments = profile.columns[target.name].overall.moments
    mean = moments.mean if moments is not None else 0.0
    return DummyRegressor(strategy="mean").fit(np.zeros((1, 1)), np.array([mean]))


def telling_column(
    profile: Profile, preparation: CompiledPreparation, target: Target, gram: Gram | None
) -> str | None:
    """Name the column that tells most about the target by itself, of those that become features of their own.

    Parameters
    ----------
    profile : Profile
        Of the training rows.
    preparation : CompiledPreparation
        Of these rows.
    target : Target
        How the target is read.
    gram : Gram or None
        Cross products of numbers with a target that is a number.

    Returns
    -------
    str or None
        By mutual information with the classes; or by correlation with a number, of which numbers alone are judged.
    """
    by = "mutual_information" if target.classes else "correlation"
    if not target.classes and (gram is None or target.name not in gram.names):
        return None
    scores = {
        name: score
        for name in preparation.features_in
        if preparation.features_of(name) and (score := score_of(profile, name, by, gram)) is not None
    }
    return max(scores, key=lambda name: scores[name], default=None)


def one_column(features: Sequence[int], width: int, task: str, seed: int) -> Any:
    """Make a linear model of some features: a pipeline of `VarianceThreshold` and the linear baseline.

    The selector gets its fitted attributes here, a variance of 1 for what is kept and 0 for all else: one array, where a
    `ColumnTransformer` would list what it leaves out, number by number.

    Parameters
    ----------
    features : sequence of int
        Their places among all.
    width : int
        Features in all.
    task : {"classification", "regression"}
        Which linear model.
    seed : int
        Of its random state.
    """
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.pipeline import Pipeline

    column = VarianceThreshold()
    column.n_features_in_ = width
    column.variances_ = np.zeros(width)
    column.variances_[list(features)] = 1.0
    model = build(Candidate(PLAIN_LINEAR, LINEAR[task]), seed=seed)
    return Pipeline([("column", column), ("model", model)])
