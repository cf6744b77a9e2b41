"""The dummy predicts what the profile says of the target, as scikit-learn's fitted on all rows would."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from headrace.profiling.profile import profile_table
from headrace.training.baseline import baseline
from headrace.training.blocks import Target

LABELS = np.array(["a", "b", "b", "c", "b", "a"])
VALUES = np.array([1.0, 2.5, -3.0, 4.0])


def test_a_class_is_predicted_with_its_share() -> None:
    profile = profile_table(pa.table({"y": LABELS}), target="y")["all"]
    dummy = baseline(profile, Target("y", ("a", "b", "c")))
    fitted = DummyClassifier(strategy="prior").fit(np.zeros((6, 1)), LABELS)
    assert dummy is not None
    np.testing.assert_allclose(dummy.predict_proba(np.zeros((2, 5))), fitted.predict_proba(np.zeros((2, 5))))


def test_class_weights_change_the_shares() -> None:
    profile = profile_table(pa.table({"y": LABELS}), target="y")["all"]
    dummy = baseline(profile, Target("y", ("a", "b", "c"), class_weight=(3.0, 2.0, 6.0)))
    assert dummy is not None
    np.testing.assert_allclose(dummy.predict_proba(np.zeros((1, 1))), [[1 / 3, 1 / 3, 1 / 3]])


def test_a_number_is_predicted_by_its_mean() -> None:
    profile = profile_table(pa.table({"y": VALUES}), target="y")["all"]
    dummy = baseline(profile, Target("y"))
    fitted = DummyRegressor().fit(np.zeros((4, 1)), VALUES)
    assert dummy is not None
    assert dummy.predict([[0.0]]) == pytest.approx(fitted.predict([[0.0]]))


def test_clusters_have_no_baseline() -> None:
    profile = profile_table(pa.table({"x": VALUES}))["all"]
    assert baseline(profile, Target(None)) is None
