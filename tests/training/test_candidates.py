"""Candidates come from the workflow or from good defaults, and are refused early with the mend."""

from __future__ import annotations

import pytest
from sklearn.linear_model import SGDClassifier

from headrace.errors import WorkflowError
from headrace.training.candidates import (
    DEFAULT_CANDIDATES,
    GOOD_DEFAULTS,
    Candidate,
    build,
    candidates_of,
    capabilities,
)
from headrace.training.options import ModelOptions

SGD = "sklearn.linear_model.SGDClassifier"
LOGISTIC = "sklearn.linear_model.LogisticRegression"


def model(name: str = "m", estimator: str = SGD, **params: object) -> ModelOptions:
    return ModelOptions(name=name, estimator=estimator, params=params)


@pytest.mark.parametrize("task", sorted(DEFAULT_CANDIDATES))
def test_every_task_has_default_candidates_that_can_be_built(task: str) -> None:
    for candidate in candidates_of([], task=task):
        assert hasattr(build(candidate, seed=3), "partial_fit")


@pytest.mark.parametrize("path", sorted(GOOD_DEFAULTS))
def test_good_defaults_are_parameters_of_their_estimators(path: str) -> None:
    estimator = build(Candidate("m", path), seed=3)
    params = estimator.get_params()
    assert params["random_state"] == 3
    assert {key: params[key] for key in GOOD_DEFAULTS[path]} == GOOD_DEFAULTS[path]


def test_what_the_user_sets_wins_over_the_defaults() -> None:
    estimator = build(Candidate("m", SGD, {"alpha": 0.5, "random_state": 9}), seed=3)
    assert (estimator.alpha, estimator.random_state) == (0.5, 9)


def test_lists_of_a_yaml_file_become_tuples() -> None:
    estimator = build(
        Candidate("m", "sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": [8, 4]}), seed=0
    )
    assert estimator.hidden_layer_sizes == (8, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (model(estimator="sklearn.linear_model.SGDClasifier"), "did you mean 'SGDClassifier'"),
        (model(estimator="sklearn.nowhere.SGDClassifier"), "cannot import 'sklearn.nowhere'"),
        (model(estimator="SGDClassifier"), "give a full import path"),
        (model(estimator="sklearn.svm.SVC"), "has no partial_fit"),
        (model(aplha=1.0), "has no parameter 'aplha'; did you mean 'alpha'"),
        (model(estimator="sklearn.linear_model"), "sklearn.linear_model is no estimator"),
        (model(estimator="os.system"), "os.system cannot be made: .* 'command'"),
        (model(estimator="builtins.len"), "cannot be made: "),
        (model(estimator="..nowhere"), "cannot import"),
        (model(alpha=-1), r"'alpha' parameter of SGDClassifier must be .*Got -1"),
        (model(class_weight="balanced"), "weights of classes belong in train.class_weight"),
        (model(loss="logg"), "'loss' parameter of SGDClassifier must be"),
        (model(estimator=LOGISTIC, C=0), "'C' parameter of LogisticRegression must be"),
        (model(estimator=LOGISTIC, C=[1, "a"]), "'C' parameter of LogisticRegression must be .*Got 'a'"),
        (model(estimator=LOGISTIC, C=[]), "an empty list leaves no candidate; give values"),
        (model(estimator=LOGISTIC, max_iter=[10, 20]), "'max_iter' parameter of LogisticRegression must be"),
        (model(estimator=LOGISTIC, max_iter=None), "'max_iter' parameter of LogisticRegression must be"),
    ],
)
def test_a_model_that_cannot_learn_from_a_stream_is_refused_with_the_mend(
    options: ModelOptions, message: str
) -> None:
    with pytest.raises(WorkflowError, match=rf"models\[0\]\.[\w.]+: .*{message}"):
        candidates_of([options], task="classification")


@pytest.mark.parametrize(
    ("path", "params", "task"),
    [
        ("sklearn.linear_model.Ridge", {"alpha": -1}, "regression"),
        ("sklearn.linear_model.GammaRegressor", {"alpha": "x"}, "regression"),
        ("headrace.training.exact_families.principal_components", {"alpha": -1.0}, "regression"),
        ("sklearn.cluster.KMeans", {"tol": -1}, "clustering"),
        ("sklearn.cluster.KMeans", {"random_state": "x"}, "clustering"),
        ("sklearn.cluster.KMeans", {"n_clusters": True}, "clustering"),
        ("xgboost.XGBRegressor", {"n_estimators": 0}, "regression"),
    ],
)
def test_values_of_parameters_are_refused_before_data_are_read(
    path: str, params: dict[str, object], task: str
) -> None:
    with pytest.raises(WorkflowError, match=rf"^models\[0\]\.params.*{next(iter(params))}"):
        candidates_of([ModelOptions(name="m", estimator=path, params=params)], task=task)


@pytest.mark.parametrize("names", [("a", "a"), ("baseline",)])
def test_names_on_the_leaderboard_are_taken_once(names: tuple[str, ...]) -> None:
    with pytest.raises(WorkflowError, match="is taken"):
        candidates_of([model(name) for name in names], task="classification")


@pytest.mark.parametrize(
    ("path", "sparse", "classes", "weight"),
    [
        (SGD, True, True, True),
        ("sklearn.linear_model.SGDRegressor", True, False, True),
        ("sklearn.naive_bayes.GaussianNB", False, True, True),
        ("sklearn.cluster.MiniBatchKMeans", True, False, True),
    ],
)
def test_capabilities_are_read_from_scikit_learn(
    path: str, sparse: bool, classes: bool, weight: bool
) -> None:
    able = capabilities(build(Candidate("m", path), seed=0))
    assert (able.sparse, able.classes, able.weight) == (sparse, classes, weight)
    assert capabilities(SGDClassifier()).sparse
