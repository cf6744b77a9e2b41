"""Kernel machines on a stream are scikit-learn's pipelines: fed by hand in the same parts they learn the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from headrace.packaging.fingerprint import model_digest
from headrace.packaging.trust import dump_pipeline, load_pipeline
from headrace.training.candidates import Candidate, build, in_double
from headrace.training.checkpoint import Learner, dump_learners, load_learners
from headrace.training.learning import learn
from headrace.training.prepared import Block, Prepared
from headrace.training.scoring import PART_ROWS

CLASSIFIER = "headrace.training.kernels.kernel_classifier"
REGRESSOR = "headrace.training.kernels.kernel_regressor"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(PART_ROWS + 500, 4)).astype(np.float32)
INSIDE = ((X**2).sum(axis=1) < 3.4).astype(int)


def taught(candidate: Candidate, block: Block, classes: tuple[int, ...] = (0, 1), epochs: int = 1) -> Learner:
    learner = Learner(candidate, build(candidate, seed=3))
    for _ in range(epochs):
        (learner,) = learn((learner,), Prepared((block,), (None,)), classes=classes)
    assert not learner.failure
    return learner


@pytest.mark.parametrize("as_block", [np.asarray, sparse.csr_matrix])
def test_parts_of_a_block_teach_what_they_teach_by_hand(as_block: Any) -> None:
    learner = taught(
        Candidate("k", CLASSIFIER, {"n_components": 40, "gamma": 0.3}), Block(as_block(X), INSIDE, None)
    )
    features = RBFSampler(gamma=0.3, n_components=40, random_state=3)
    model = SGDClassifier(
        loss="log_loss", alpha=1e-6, learning_rate="constant", eta0=1.0, average=True, shuffle=False,
        random_state=3,
    )  # fmt: skip
    for rows in (slice(0, PART_ROWS), slice(PART_ROWS, None)):
        Z = features.fit_transform(X[rows]) if rows.start == 0 else features.transform(X[rows])
        model.partial_fit(Z, INSIDE[rows], classes=[0, 1])
    by_hand = Pipeline([("kernel", features), ("model", model)])
    np.testing.assert_allclose(learner.estimator.predict_proba(X), by_hand.predict_proba(X), atol=1e-5)


def test_landmarks_are_rows_of_the_first_part() -> None:
    settings = {"approximation": "nystroem", "n_components": 20, "gamma": 0.5}
    learner = taught(Candidate("k", CLASSIFIER, settings), Block(X, INSIDE, None))
    expected = Nystroem(gamma=0.5, n_components=20, random_state=3).fit(X[:PART_ROWS])
    found = learner.estimator.steps[0][1]
    np.testing.assert_array_equal(found.components_, expected.components_)


def test_a_boundary_that_no_line_finds_is_found_as_a_kernel_machine_in_memory_finds_it() -> None:
    learner = taught(Candidate("k", CLASSIFIER), Block(X, INSIDE, None), epochs=3)
    in_memory = SVC(gamma="scale").fit(X[:2000], INSIDE[:2000])
    held = slice(PART_ROWS, None)
    reached = learner.estimator.score(X[held], INSIDE[held])
    assert reached > in_memory.score(X[held], INSIDE[held]) - 0.03
    assert reached > SGDClassifier(random_state=0).fit(X, INSIDE).score(X[held], INSIDE[held]) + 0.2


def test_numbers_are_predicted_too() -> None:
    y = np.sin(2 * X[:, 0])
    learner = taught(Candidate("k", REGRESSOR), Block(X, y, None), classes=(), epochs=3)
    assert isinstance(learner.estimator.steps[-1][1], SGDRegressor)
    assert learner.estimator.score(X, y) > 0.5


def test_what_is_written_comes_back_and_is_trusted() -> None:
    candidate = Candidate("k", CLASSIFIER, {"n_components": 10})
    learner = taught(candidate, Block(X, INSIDE, None))
    (back,) = load_learners(dump_learners([learner]), {"k": candidate})
    assert model_digest(back.estimator) == model_digest(learner.estimator)
    double = in_double(learner.estimator)
    assert double.steps[0][1].random_weights_.dtype == np.float64
    loaded = load_pipeline(dump_pipeline(double), where="here")
    np.testing.assert_array_equal(loaded.predict_proba(X[:50]), double.predict_proba(X[:50]))
