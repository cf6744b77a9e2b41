"""The paired test: equal to DeLong's, to the t-test, and to what resampling the rows says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from headrace.errors import InputError
from headrace.packaging.paired import FEWEST_ROWS, Z, common_rows, metrics_to_test, paired_test


def columns(label: Any, score: Any, weight: Any = None, predicted: Any = None, key: Any = None) -> Any:
    label, score = np.asarray(label, float), np.asarray(score, float)
    return {
        "key": np.arange(len(label), dtype=np.uint64) if key is None else key,
        "label": label,
        "weight": np.ones(len(label)) if weight is None else weight,
        "score": score,
        "predicted": (score >= 0.5).astype(float) if predicted is None else np.asarray(predicted, float),
    }


def two_models(rows: int = 400, seed: int = 0, *, weighted: bool = False, task: str = "classification"):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    weight = rng.uniform(0.2, 3.0, rows) if weighted else np.ones(rows)
    if task == "regression":
        label = 2 * x + rng.normal(size=rows)
        scores = [2 * x + noise * rng.normal(size=rows) for noise in (0.9, 0.3)]
    else:
        label = (rng.random(rows) < 1 / (1 + np.exp(-2 * x))).astype(float)
        # rounded: ties between scores are part of life
        scores = [
            np.round(1 / (1 + np.exp(-2 * x - noise * rng.normal(size=rows))), 2) for noise in (1.5, 0.4)
        ]
    return [columns(label, score, weight) for score in scores]


def delong(label: Any, first: Any, second: Any) -> Any:
    """Variance of the difference of two ROC areas, by comparing every pair of rows (DeLong et al. 1988)."""
    parts = []
    for score in (first, second):
        ones, zeros = score[label == 1], score[label == 0]
        wins = (ones[:, None] > zeros[None, :]) + 0.5 * (ones[:, None] == zeros[None, :])
        parts.append((wins.mean(axis=1), wins.mean(axis=0), wins.mean()))
    ones, zeros = (np.cov(parts[0][i], parts[1][i]) for i in (0, 1))
    together = ones / len(parts[0][0]) + zeros / len(parts[0][1])
    return parts[1][2] - parts[0][2], together[0, 0] + together[1, 1] - 2 * together[0, 1]


def test_the_test_of_roc_auc_is_that_of_delong():
    first, second = two_models()
    found = paired_test("roc_auc", first, second, 2)
    difference, variance = delong(first["label"], first["score"], second["score"])
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.high - found.difference == pytest.approx(Z * math.sqrt(variance), rel=1e-9)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(difference) / math.sqrt(variance)), rel=1e-9)
    assert found.better


@pytest.mark.parametrize(("metric", "task"), [("brier", "classification"), ("mse", "regression"), ("mae", "regression")])  # fmt: skip
def test_the_test_of_a_mean_has_the_error_of_the_paired_t_test(metric, task):
    first, second = two_models(task=task)
    power = {"brier": 2, "mse": 2, "mae": 1}[metric]
    losses = [np.abs(each["score"] - each["label"]) ** power for each in (first, second)]
    found = paired_test(metric, first, second, 2 if task == "classification" else 0)
    error = stats.sem(losses[0] - losses[1])
    assert found.difference == pytest.approx((losses[0] - losses[1]).mean(), rel=1e-12)
    assert found.high - found.low == pytest.approx(2 * Z * error, rel=1e-9)


def by_scikit_learn(metric: str, held: Any) -> Any:
    y, said, weight = held["label"], held["score"], held["weight"]
    known = {
        "roc_auc": sk.roc_auc_score,
        "average_precision": sk.average_precision_score,
        "log_loss": sk.log_loss,
        "brier": sk.brier_score_loss,
        "mse": sk.mean_squared_error,
        "rmse": sk.root_mean_squared_error,
        "mae": sk.mean_absolute_error,
        "r2": sk.r2_score,
    }
    if metric == "accuracy":
        return sk.accuracy_score(y, held["predicted"], sample_weight=weight)
    return known[metric](y, said, sample_weight=weight)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_scikit_learn_and_errors_those_of_resampling(task, weighted):
    first, second = two_models(700, 3, weighted=weighted, task=task)
    classes = 2 if task == "classification" else 0
    rng = np.random.default_rng(0)
    draws = [rng.multinomial(700, np.full(700, 1 / 700)) for _ in range(300)]
    for metric in metrics_to_test(task, classes):
        found = paired_test(metric, first, second, classes)
        assert found.first == pytest.approx(by_scikit_learn(metric, first), rel=1e-9)
        assert found.second == pytest.approx(by_scikit_learn(metric, second), rel=1e-9)
        resampled = [
            paired_test(
                metric,
                {**first, "weight": first["weight"] * draw},
                {**second, "weight": second["weight"] * draw},
                classes,
            ).difference
            for draw in draws
        ]
        assert (found.high - found.difference) / Z == pytest.approx(np.std(resampled), rel=0.2), metric


def test_losses_turn_the_sign_so_that_positive_is_better():
    first, second = two_models()
    assert paired_test("log_loss", first, second, 2).better
    back = paired_test("log_loss", second, first, 2)
    assert back.high < 0
    assert "worse by" in str(back)


def test_of_more_classes_the_probability_of_the_true_one_is_the_score():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 200)
    said = rng.dirichlet([1, 1, 1], (2, 200))
    held = [columns(label, each[np.arange(200), label], predicted=each.argmax(axis=1)) for each in said]
    found = paired_test("log_loss", held[0], held[1], 3)
    assert found.first == pytest.approx(sk.log_loss(label, said[0]))
    assert paired_test("accuracy", held[0], held[1], 3).second == np.mean(said[1].argmax(axis=1) == label)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(metrics_to_test("classification", 2)))
def test_a_model_is_not_better_than_itself_nor_two_better_than_each_other(seed, metric):
    first, second = two_models(60, seed)
    same = paired_test(metric, first, first, 2)
    assert (same.difference, same.p, same.better) == (0.0, 1.0, False)
    there, back = paired_test(metric, first, second, 2), paired_test(metric, second, first, 2)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p == pytest.approx(back.p)
    assert not (there.better and back.better)


def test_the_false_alarm_rate_is_the_stated_one():
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(400):
        x = rng.normal(size=300)
        label = rng.random(300) < 1 / (1 + np.exp(-x))
        held = [columns(label, 1 / (1 + np.exp(-x - rng.normal(size=300)))) for _ in range(2)]
        alarms += paired_test("roc_auc", held[0], held[1], 2).p < 0.05
    assert 6 <= alarms <= 36  # 20 are expected, with a standard deviation of 4.4


def test_only_common_rows_count_in_whatever_places_they_are():
    first, second = two_models(200)
    later = {name: values[50:] for name, values in second.items()}
    ours, theirs = common_rows(first, later)
    assert len(ours["key"]) == 150
    np.testing.assert_array_equal(ours["key"], theirs["key"])
    whole = paired_test("brier", {name: values[50:] for name, values in first.items()}, later, 2)
    assert paired_test("brier", first, later, 2) == whole


def test_rows_that_are_not_the_same_are_refused():
    first, second = two_models(200)
    with pytest.raises(InputError, match=f"have 0 test rows in common, and {FEWEST_ROWS} are needed"):
        paired_test("brier", first, {**second, "key": second["key"] + np.uint64(1000)}, 2)
    with pytest.raises(InputError, match="different labels"):
        paired_test("brier", first, {**second, "label": 1 - second["label"]}, 2)


def test_an_undefined_metric_is_refused():
    held = columns(np.zeros(50), np.linspace(0.1, 0.9, 50))
    with pytest.raises(InputError, match="roc_auc is not defined on the 50 common test rows"):
        paired_test("roc_auc", held, held, 2)
