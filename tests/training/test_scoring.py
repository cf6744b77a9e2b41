"""Validation scores are scikit-learn's, and estimators without probabilities keep their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB

from headrace.training.prepared import Block
from headrace.training.scoring import (
    PART_ROWS,
    goodness,
    kind_of,
    outputs,
    parts_of,
    score_block,
    score_outputs,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4)).astype(np.float32)
Y = (X[:, 0] + RNG.normal(size=600) > 0).astype(np.int64)


def test_binary_scores_are_those_of_scikit_learn_with_weights() -> None:
    weight = RNG.uniform(0.1, 2, 600)
    model = LogisticRegression().fit(X, Y)
    labels = np.array(["no", "yes"])
    scores = score_block(
        model, Block(X, labels[Y], weight), kind="binary", sparse=True, classes=("no", "yes")
    )
    said = model.predict_proba(X)[:, 1]
    assert scores["roc_auc"] == pytest.approx(metrics.roc_auc_score(Y, said, sample_weight=weight))
    assert scores["log_loss"] == pytest.approx(metrics.log_loss(Y, said, sample_weight=weight))


@given(st.integers(0, 2**32), st.integers(2, 400), st.integers(1, 500))
@settings(max_examples=60, deadline=None)
def test_ranks_are_scored_to_the_same_bits_as_by_scikit_learn_in_any_order(
    seed: int, rows: int, steps: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(rows) % 2)
    said = rng.integers(0, steps + 1, rows) / steps
    scores = score_outputs(said, Block(np.empty((rows, 0)), truth, None), kind="binary", classes=(0, 1))
    assert scores["roc_auc"] == metrics.roc_auc_score(truth, said)
    assert scores["average_precision"] == metrics.average_precision_score(truth, said)


def test_the_auc_of_a_single_class_is_left_out_rather_than_invented() -> None:
    model = LogisticRegression().fit(X, Y)
    scores = score_block(model, Block(X[:5], np.ones(5), None), kind="binary", sparse=True, classes=(0, 1))
    assert "roc_auc" not in scores
    assert goodness(scores, "roc_auc") == -np.inf


def test_an_estimator_without_probabilities_is_ranked_by_its_decision_function() -> None:
    model = SGDClassifier(loss="hinge", random_state=0).fit(X, Y)
    said = outputs(model, X, kind="binary", sparse=True)
    assert metrics.roc_auc_score(Y, said) == metrics.roc_auc_score(Y, model.decision_function(X))
    assert 0 <= said.min() <= said.max() <= 1


def test_a_dense_estimator_gives_the_same_on_a_sparse_block() -> None:
    model = GaussianNB().fit(X, Y)
    many = np.tile(X, (2 * PART_ROWS // len(X) + 1, 1))
    np.testing.assert_allclose(
        outputs(model, sparse.csr_matrix(many), kind="binary", sparse=False),
        outputs(model, many, kind="binary", sparse=False),
    )
    assert max(part.shape[0] for _, part in parts_of(sparse.csr_matrix(many), sparse=False)) == PART_ROWS


def test_errors_are_the_better_the_lower() -> None:
    assert goodness({"rmse": 2.0}, "rmse") == -2.0
    assert goodness({"r2": 0.5}, "r2") == 0.5
    assert (kind_of("classification", 2), kind_of("classification", 3)) == ("binary", "multiclass")
