"""What the leaderboard says of the cost of a model, whatever it is made of."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace.training.calibration import with_threshold
from headrace.training.leaderboard import complexity, size

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)


def test_numbers_of_a_linear_model_are_its_weights_and_intercept() -> None:
    model = LogisticRegression().fit(X, Y)
    model.coef_[0, 1] = 0.0
    assert complexity(model) == 3
    assert size(LinearRegression().fit(X, Y)) >= 3 * 8


def test_steps_of_a_pipeline_are_counted_together() -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    assert complexity(pipeline) == sum(complexity(step) for _, step in pipeline.steps) == 6 + 3 + 4
    assert size(pipeline) == sum(size(step) for _, step in pipeline.steps)


def test_trees_are_as_complex_as_they_have_nodes() -> None:
    xgboost = pytest.importorskip("xgboost")
    few, many = (xgboost.XGBClassifier(n_estimators=n, max_depth=3).fit(X, Y) for n in (2, 20))
    assert complexity(few) == len(few.get_booster().trees_to_dataframe())
    assert complexity(many) > complexity(few)
    assert size(many) > size(few) > 0


def test_a_threshold_around_a_model_costs_nothing() -> None:
    model = LogisticRegression().fit(X, Y)
    assert complexity(with_threshold(model, 0.3)) == complexity(model)
