"""Calibrations are scikit-learn's, and no other threshold is better than the chosen one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import KFold, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB

from headrace.packaging.fingerprint import model_digest
from headrace.packaging.trust import dump_pipeline, load_pipeline
from headrace.training.calibration import (
    Answers,
    best_threshold,
    calibrated,
    calibration,
    together,
    with_threshold,
)
from headrace.training.candidates import bare, capabilities
from headrace.training.options import CostOptions, ThresholdOptions
from headrace.training.prepared import Block

RNG = np.random.default_rng(0)
X = RNG.normal(size=(900, 3))
SCORE = X[:, 0] + 0.5 * X[:, 1] + RNG.normal(size=900)
TWO = np.where(SCORE > 0.7, "yes", "no")
THREE = np.digitize(SCORE, [-0.5, 0.8])
WEIGHT = RNG.uniform(0.5, 2.0, 900)
SGD = SGDClassifier(loss="log_loss", random_state=0)
LEARNT, JUDGED = slice(0, 500), slice(500, None)


def answers(estimator: Any, y: np.ndarray, weight: np.ndarray | None = None) -> Answers:
    held = None if weight is None else weight[JUDGED]
    return Answers.of(estimator, Block(X[JUDGED], y[JUDGED], held), sparse=False)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("estimator", [SGD, GaussianNB()], ids=["decides", "gives probabilities"])
@pytest.mark.filterwarnings("ignore:Since FrozenEstimator")
def test_on_held_out_rows_it_is_that_of_scikit_learn(estimator: Any, y: np.ndarray, method: Any) -> None:
    fitted = clone(estimator).fit(X[LEARNT], y[LEARNT])
    expected = CalibratedClassifierCV(FrozenEstimator(fitted), method=method)
    expected.fit(X[JUDGED], y[JUDGED], sample_weight=WEIGHT[JUDGED])
    learnt = calibration(answers(fitted, y, WEIGHT), method)
    found = calibrated(fitted, learnt)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    assert bare(found) is fitted


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_of_folds_it_is_that_of_scikit_learn_without_an_ensemble(method: Any) -> None:
    folds = KFold(3)
    expected = CalibratedClassifierCV(clone(SGD), method=method, cv=folds, ensemble=False).fit(X, TWO)
    of_folds = [
        Answers.of(clone(SGD).fit(X[a], TWO[a]), Block(X[b], TWO[b], None), sparse=False)
        for a, b in folds.split(X)
    ]
    learnt = calibration(together(of_folds, (), ("no", "yes")), method)
    found = calibrated(clone(SGD).fit(X, TWO), learnt)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-10, atol=1e-12)


def test_weights_of_classes_are_taken_back() -> None:
    by_class = np.where(TWO == "yes", 4.0, 0.5)
    weighted = Answers(SCORE, None, TWO, WEIGHT * by_class)
    found = together([weighted], (0.5, 4.0), ("no", "yes")).weight
    assert found is not None
    np.testing.assert_allclose(found, WEIGHT)


METRICS = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score}


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_the_threshold_is_that_of_scikit_learn_tried_at_every_probability(metric: Any) -> None:
    model = GaussianNB().fit(X[LEARNT], TWO[LEARNT] == "yes")
    held, truth = X[JUDGED], TWO[JUDGED] == "yes"
    said = model.predict_proba(held)[:, 1]
    threshold, value = best_threshold(said, truth, None, ThresholdOptions(metric=metric))
    tuned = TunedThresholdClassifierCV(
        model, scoring=metric, cv="prefit", refit=False, thresholds=np.unique(said)
    ).fit(held, truth)
    assert value == pytest.approx(tuned.best_score_)
    np.testing.assert_array_equal(with_threshold(model, threshold).predict(held), tuned.predict(held))


@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(1, 3)), min_size=2, max_size=40),
    options=st.sampled_from([
        ThresholdOptions(metric="f1"),
        ThresholdOptions(metric="balanced_accuracy"),
        ThresholdOptions(cost=CostOptions(false_positive=1, false_negative=5)),
        ThresholdOptions(cost=CostOptions(false_positive=2, false_negative=1, true_positive=-3)),
    ]),
)  # fmt: skip
def test_no_threshold_is_better(rows: list[tuple[int, bool, int]], options: ThresholdOptions) -> None:
    p, positive, weight = (np.array(column) for column in zip(*rows, strict=True))
    p = p / 8
    if len(set(positive.tolist())) < 2:
        return
    threshold, value = best_threshold(p, positive, weight.astype(float), options)

    def at(cut: float) -> float:
        said = p >= cut
        if options.cost is None:
            assert options.metric is not None
            return float(METRICS[options.metric](positive, said, sample_weight=weight))
        cost = options.cost
        each = np.where(
            said,
            np.where(positive, cost.true_positive, cost.false_positive),
            np.where(positive, cost.false_negative, cost.true_negative),
        )
        return -float(np.average(each, weights=weight))

    assert 0 < threshold < 1
    assert at(threshold) == pytest.approx(value if options.cost is None else -value)
    assert at(threshold) >= max(at(cut) for cut in np.linspace(1 / 16, 15 / 16, 8)) - 1e-12


def test_what_is_put_around_is_trusted_and_takes_what_the_estimator_takes() -> None:
    fitted = clone(SGD).fit(X[LEARNT], TWO[LEARNT])
    for method in ("sigmoid", "isotonic"):
        model = with_threshold(calibrated(fitted, calibration(answers(fitted, TWO), method)), 0.3)
        assert capabilities(model) == capabilities(fitted)
        back = load_pipeline(dump_pipeline(model), where="here")
        assert model_digest(back) == model_digest(model)
        expected = np.where(model.predict_proba(X)[:, 1] >= 0.3, "yes", "no")
        np.testing.assert_array_equal(back.predict(X), expected)
