"""The dummy that knows only the target's distribution: what every candidate has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

    from headrace.profiling.profile import Profile
    from headrace.training.blocks import Target


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
