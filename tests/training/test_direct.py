"""Candidates that are fitted outright, through whole runs: each fold and the model are what scikit-learn fits in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import mean_squared_error, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace.cluster.config import ClusterFile
from headrace.errors import WorkflowError
from headrace.packaging.model import load
from headrace.runs import Workflow
from headrace.training.candidates import Candidate, candidates_of
from headrace.training.options import ModelOptions
from headrace.training.routes import is_direct, passes_of, spread_out

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
RIDGE = "sklearn.linear_model.Ridge"
LOGISTIC = "sklearn.linear_model.LogisticRegression"

RNG = np.random.default_rng(0)
N, D, K = 3000, 4, 3
X = RNG.normal(size=(N, D)) + 10.0 * np.arange(D)
VALUE = X @ np.arange(D) + 2.0 * RNG.normal(size=N)
LABEL = np.where(RNG.normal(scale=2.0, size=N) + VALUE > VALUE.mean(), "hi", "lo")
X[RNG.random(X.shape) < np.array([0.0, 0.1, 0.2, 0.0])] = np.nan
FOLD, DAY = RNG.integers(0, K, N), np.arange(N) // 100
LEARNT = DAY < 25  # the days before 26 January


def run(place: Path, task: str, target: str, models: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {f"x{j}": pa.array(X[:, j], from_pandas=True) for j in range(D)}
    columns |= {"value": VALUE, "label": LABEL, "fold": FOLD, "day": np.datetime64("2020-01-01") + DAY}
    (place / "data").mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), place / "data" / "a.parquet", row_group_size=700)
    document = {
        "problem": {"name": "toy", "task": task, "target": target},
        "data": {
            "url": "data",
            "time": "day",
            "drop": [{"value": "label", "label": "value"}[target]],
            "split": {"kind": "time", "test_from": "2020-01-26", "validation": 0.2},
        },
        "prepare": {"numeric": {"clip": None}},
        "models": models,
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        **more,
    }
    Workflow.parse(yaml.safe_dump(document)).run(THREADS, "run")
    board = json.loads(Path("run/leaderboard.json").read_text())
    return {row["candidate"]: row for row in board["rows"]}


def passes() -> list[str]:
    record = json.loads(Path("run/run.json").read_text())
    assert record["data_passes"]["done"] <= record["data_passes"]["planned"]
    return [each["name"] for each in record["passes"]]


BY_COLUMN = {"kind": "column", "key": "fold", "values": list(range(K))}


@pytest.mark.parametrize("shared", [False, True])
def test_ridge_of_every_penalty_and_fold_is_that_in_memory_after_one_pass(in_tmp, shared):
    models = [{"name": "ridge", "estimator": RIDGE, "params": {"alpha": [1.0, 1000.0]}}]
    rows = run(in_tmp, "regression", "value", models, validation={**BY_COLUMN, "shared_preparation": shared})
    assert passes() == ["profile", "exact", "epoch 1", "final exact", "test"]
    for alpha in (1.0, 1000.0):
        row = rows[f"ridge alpha={alpha:g}"]
        for fold in range(K):
            learnt, held = LEARNT & (fold != FOLD), LEARNT & (fold == FOLD)
            prepare = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
            prepare.fit(X[LEARNT if shared else learnt])
            # Indicators are not scaled.
            prepare[-1].mean_[D:], prepare[-1].scale_[D:] = 0.0, 1.0
            model = Ridge(alpha=alpha).fit(prepare.transform(X[learnt]), VALUE[learnt])
            error = mean_squared_error(VALUE[held], model.predict(prepare.transform(X[held]))) ** 0.5
            assert row["folds"][fold]["validation"]["rmse"] == pytest.approx(error, rel=1e-6)
    assert rows["ridge alpha=1"]["best"]
    kept: Any = load("run/model").pipeline[-1]
    prepare = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()).fit(X[LEARNT])
    prepare[-1].mean_[D:], prepare[-1].scale_[D:] = 0.0, 1.0
    theirs = Ridge(alpha=1.0).fit(prepare.transform(X[LEARNT]), VALUE[LEARNT])
    np.testing.assert_allclose(np.sort(kept.coef_), np.sort(theirs.coef_), rtol=1e-9)


def test_logistic_regression_stands_beside_a_stream_on_the_leaderboard(in_tmp):
    models: list[dict[str, Any]] = [
        {"name": "logistic", "estimator": LOGISTIC, "params": {"C": [0.01, 1.0]}},
        {"name": "bayes", "estimator": "sklearn.naive_bayes.GaussianNB"},
        {"name": "stream", "estimator": "sklearn.linear_model.SGDClassifier"},
    ]
    rows = run(in_tmp, "classification", "label", models, validation=BY_COLUMN, train={"epochs": 1})
    assert [name for name in passes() if "step" not in name and "final" not in name] == [
        "profile", "exact", "epoch 1", "test",
    ]  # fmt: skip
    assert len(passes()) < 25
    for fold in range(K):
        learnt, held = LEARNT & (fold != FOLD), LEARNT & (fold == FOLD)
        prepare = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()).fit(X[learnt])
        prepare[-1].mean_[D:], prepare[-1].scale_[D:] = 0.0, 1.0
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000)
        model.fit(prepare.transform(X[learnt]), LABEL[learnt])
        said = model.predict_proba(prepare.transform(X[held]))[:, 1]
        area = roc_auc_score(LABEL[held] == "lo", said)
        found = rows["logistic C=1"]["folds"][fold]["validation"]["roc_auc"]
        assert found == pytest.approx(area, abs=1e-4)
    assert not any(row["failure"] for row in rows.values())


def test_a_holdout_needs_no_last_fit(in_tmp):
    models = [
        {"name": "poisson", "estimator": "sklearn.linear_model.PoissonRegressor", "params": {"alpha": 0.1}},
        {"name": "too many", "estimator": "headrace.training.exact_families.principal_components",
         "params": {"n_components": 50}},
    ]  # fmt: skip
    global VALUE  # noqa: PLW0603 - counts in place of values
    kept, VALUE = VALUE, RNG.poisson(5.0, N).astype(float)
    try:
        rows = run(in_tmp, "regression", "value", models)
    finally:
        VALUE = kept
    assert rows["poisson"]["best"]
    assert "50" in rows["too many"]["failure"]
    record = json.loads(Path("run/run.json").read_text())
    assert isinstance(load("run/model").pipeline[-1], PoissonRegressor)
    assert record["best"]["candidate"] == "poisson"


def test_a_list_of_penalties_is_one_candidate_each():
    candidate = Candidate(
        "net", "sklearn.linear_model.ElasticNet", {"alpha": [0.1, 1], "l1_ratio": [0.5, 0.9]}
    )
    assert [each.name for each in spread_out(candidate)] == [
        "net alpha=0.1 l1_ratio=0.5",
        "net alpha=0.1 l1_ratio=0.9",
        "net alpha=1 l1_ratio=0.5",
        "net alpha=1 l1_ratio=0.9",
    ]
    stream = Candidate("s", "sklearn.linear_model.SGDClassifier", {"alpha": [1, 2]})
    assert spread_out(stream) == (stream,)
    assert not is_direct(stream.estimator)


def test_wrong_tasks_and_names_taken_twice_are_refused():
    ridge = ModelOptions(name="ridge", estimator=RIDGE, params={"alpha": [1.0, 1.0]})
    with pytest.raises(WorkflowError, match=r"models\[0\].name: the name 'ridge alpha=1' is taken"):
        candidates_of([ridge], task="regression")
    with pytest.raises(WorkflowError, match=r"models\[0\].estimator: .*is for regression"):
        candidates_of([ModelOptions(name="ridge", estimator=RIDGE)], task="classification")


def test_passes_are_planned_as_many_as_there_may_be():
    ridge = ModelOptions(name="r", estimator=RIDGE)
    logistic = ModelOptions(name="l", estimator=LOGISTIC, params={"max_iter": 3})
    stream = ModelOptions(name="s", estimator="sklearn.linear_model.SGDClassifier")
    assert passes_of([ridge], 5) == ["exact", "epoch 1"]
    assert passes_of([logistic, stream], 2) == ["step 1", "step 2", "step 3", "epoch 1", "epoch 2"]
    assert passes_of([], 1) == ["epoch 1"]


@pytest.mark.parametrize(
    ("path", "params", "how"),
    [
        ("sklearn.linear_model.PoissonRegressor", {"alpha": 0.0}, "of the likelihood at its maximum (Wald)"),
        ("sklearn.linear_model.GammaRegressor", {"alpha": 0.0}, "Pearson's estimate of the dispersion"),
        ("sklearn.linear_model.QuantileRegressor", {"alpha": 0.0, "quantile": 0.6}, "sandwich"),
    ],
)
def test_coefficients_have_the_intervals_that_all_rows_in_memory_give(in_tmp, path, params, how):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2000, 2))
    mean = np.exp(x @ np.array([0.3, -0.2]) + 1)
    y = rng.poisson(mean).astype(float) if "Poisson" in path else rng.gamma(3.0, mean / 3)
    (in_tmp / "data").mkdir()
    pq.write_table(pa.table({"a": x[:, 0], "b": x[:, 1], "y": y}), in_tmp / "data" / "a.parquet")
    document = {
        "problem": {"name": "toy", "task": "regression", "target": "y"},
        "data": {"url": "data", "split": {"kind": "random", "test": 0.1, "validation": 0.1}},
        "prepare": {"numeric": {"clip": None, "scale": "none"}},
        "models": [{"name": "m", "estimator": path, "params": params}],
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
    }
    Workflow.parse(yaml.safe_dump(document)).run(THREADS, "run")
    told = json.loads(Path("run/understanding.json").read_text())["coefficients"]
    assert how in told["interval"]
    assert told["why"] == ""
    assert ("scores" in passes()) == ("Poisson" not in path)
    values = {each["feature"]: each for each in told["features"]}
    ones = np.column_stack([x, np.ones(2000)])
    if "Quantile" in path:
        return
    fitted = np.exp(ones @ np.array([values["a"]["value"], values["b"]["value"], told["intercept"][0]]))
    if "Poisson" in path:
        covariance = np.linalg.inv((ones * fitted[:, None]).T @ ones)
    else:
        dispersion = ((y / fitted - 1) ** 2).sum() / 1997
        covariance = dispersion * np.linalg.inv((ones * (y / fitted)[:, None]).T @ ones)
    # Of the rows 80 % are learnt from.
    reach = 1.96 * np.sqrt(np.diag(covariance)[:2] / 0.8)
    half = [(values[name]["high"] - values[name]["low"]) / 2 for name in "ab"]
    np.testing.assert_allclose(half, reach, rtol=0.1)
