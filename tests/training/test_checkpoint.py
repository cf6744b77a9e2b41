"""Written and read between two blocks, an estimator learns on as if nothing had been; blocks survive as they are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from headrace.errors import RunError
from headrace.packaging.fingerprint import model_digest
from headrace.training.candidates import Candidate, build, class_path
from headrace.training.checkpoint import (
    Learner,
    dump_blocks,
    dump_estimator,
    dump_learners,
    load_blocks,
    load_estimator,
    load_learners,
)
from headrace.training.prepared import Block

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("sklearn.linear_model.SGDClassifier", {}),
    ("sklearn.linear_model.SGDClassifier", {"average": 300, "learning_rate": "adaptive", "eta0": 0.1}),
    ("sklearn.linear_model.SGDClassifier", {"average": False, "shuffle": True, "loss": "hinge"}),
    ("sklearn.linear_model.SGDRegressor", {}),
    ("sklearn.linear_model.PassiveAggressiveClassifier", {}),
    ("sklearn.linear_model.Perceptron", {}),
    ("sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": (8, 4)}),
    ("sklearn.neural_network.MLPClassifier", {"solver": "sgd", "learning_rate": "invscaling"}),
    ("sklearn.neural_network.MLPRegressor", {"hidden_layer_sizes": (8,)}),
    ("sklearn.cluster.MiniBatchKMeans", {"n_clusters": 4, "batch_size": 100}),
    ("sklearn.naive_bayes.GaussianNB", {}),
    ("sklearn.naive_bayes.BernoulliNB", {}),
]


def blocks(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        X = rng.normal(size=(300, 5)).astype(np.float32)
        made.append((X, (X[:, 0] + rng.normal(size=300) > 0).astype(np.int64)))
    return made


def fit(model: Any, X: np.ndarray, y: np.ndarray) -> None:
    if "KMeans" in type(model).__name__:
        model.partial_fit(X)
    elif "Regressor" in type(model).__name__:
        model.partial_fit(X, y.astype(float))
    else:
        model.partial_fit(X, y, classes=np.array([0, 1]))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("path", "params"), MODELS)
def test_learning_goes_on_to_the_same_model(path: str, params: dict[str, Any]) -> None:
    candidate = Candidate("model", path, params)
    straight = build(candidate, seed=3)
    broken: Any = load_estimator(dump_estimator(copy.deepcopy(straight)), class_path(candidate))
    for X, y in blocks(6):
        fit(straight, X, y)
        fit(broken, X, y)
        broken = load_estimator(dump_estimator(broken), class_path(candidate))
        assert model_digest(broken) == model_digest(straight)


def test_learners_come_back_by_the_name_of_their_candidate() -> None:
    candidates = {name: Candidate(name, "sklearn.naive_bayes.GaussianNB") for name in ("b", "a")}
    learners = [Learner(each, build(each, seed=0), 1.5, "why\nnot") for each in candidates.values()]
    read = load_learners(dump_learners(learners), candidates)
    assert [(each.candidate, each.seconds, each.failure) for each in read] == [
        (each, 1.5, "why\nnot") for each in candidates.values()
    ]


class Odd:
    """A type that nobody trusts."""


def test_an_estimator_that_holds_what_is_not_trusted_is_refused_on_both_ways() -> None:
    from sklearn.naive_bayes import GaussianNB

    model = GaussianNB()
    model.odd_ = Odd()
    with pytest.raises(RunError, match=r"not trusted: .*Odd"):
        dump_estimator(model)
    import skops.io

    with pytest.raises(RunError, match="cannot be loaded"):
        load_estimator(skops.io.dumps(model), "sklearn.naive_bayes.GaussianNB")


@pytest.mark.parametrize(
    "y", [np.array([1.5, 2.5, 3.0]), np.array(["a", "bb", "a"]), np.array([True, False, True]), None]
)
@pytest.mark.parametrize("dense", [True, False])
def test_a_block_comes_back_as_it_was(y: np.ndarray | None, dense: bool) -> None:
    X = np.array([[1, 0], [0, 2], [0, 0]], np.float32)
    block = Block(X if dense else sparse.csr_matrix(X), y, None if y is None else np.arange(3.0))
    read, nothing = load_blocks(dump_blocks([block, None]))
    assert read is not None
    assert nothing is None
    matrices: list[Any] = [read.X, block.X]
    left, right = (each if dense else each.toarray() for each in matrices)
    assert left.dtype == np.float32
    np.testing.assert_array_equal(left, right)
    for got, wanted in ((read.y, block.y), (read.weight, block.weight)):
        if wanted is None:
            assert got is None
        else:
            assert got is not None
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)
