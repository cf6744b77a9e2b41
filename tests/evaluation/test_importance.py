"""Permutation importance has the expectation of scikit-learn's, and finds what a target is made of."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.inspection import permutation_importance as theirs

from headrace.evaluation import importance
from headrace.evaluation.importance import permutation_importance

SCORING = {"label": ("roc_auc", "roc_auc"), "level": ("log_loss", "neg_log_loss"), "amount": ("rmse", "neg_root_mean_squared_error")}  # fmt: skip


@pytest.mark.parametrize("target", ["label", "level", "amount"])
def test_means_agree_with_those_of_scikit_learn(small, target, monkeypatch):
    monkeypatch.setattr(importance, "REPEATS", 8)
    model, (metric, scoring) = small(target), SCORING[target]
    names = list(model.preparation.features_in)
    found = permutation_importance(model.asked, {name: (name,) for name in names}, metric, seed=0)
    assert found is not None
    wanted = theirs(
        model.pipeline, model.frame[names], model.frame[target], scoring=scoring, n_repeats=8, random_state=1
    )
    ours = {each.column: each for each in found.columns}
    for place, name in enumerate(names):
        spread = np.hypot(wanted.importances_std[place], np.std(ours[name].repeats)) / 7**0.5
        assert abs(ours[name].mean - wanted.importances_mean[place]) <= 4 * spread + 1e-9, name
        assert ours[name].mean == pytest.approx(np.mean(ours[name].repeats))
    assert {each.column for each in found.columns[:3]} == {"x", "z", "city"}
    assert found.columns[0].low > 0


def test_columns_of_one_name_are_shuffled_together(small):
    model = small("label")
    found = permutation_importance(model.asked, {"both": ("x", "z"), "x": ("x",)}, "roc_auc", seed=0)
    assert found is not None
    assert [each.column for each in found.columns] == ["both", "x"]
    assert found.columns[0].mean > found.columns[1].mean + 0.05


def test_the_seed_decides(small):
    model = small("label")
    once, again, other = (
        permutation_importance(model.asked, {"x": ("x",)}, "roc_auc", seed=seed) for seed in (0, 0, 1)
    )
    assert once == again != other


def test_a_metric_that_is_not_defined_has_no_importance(small):
    assert permutation_importance(small("level").asked, {"x": ("x",)}, "roc_auc", seed=0) is None
