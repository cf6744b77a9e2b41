"""What whole runs leave about how their model answers, for every kind of task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from tests.evaluation.conftest import made

from headrace.cluster.config import ClusterFile
from headrace.data.embeddings import Embedding
from headrace.evaluation import understanding
from headrace.evaluation.understanding import columns_of, origins_of, telling
from headrace.packaging.model import load
from headrace.profiling.profile import profile_table
from headrace.runs import Workflow

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
ROWS, LEARNT = 3_000, 2_400
TARGETS = {"amount", "label", "level"}
LOGISTIC, LEAST_SQUARES = (
    "sklearn.linear_model.LogisticRegression",
    "sklearn.linear_model.LinearRegression",
)


def run(place: Path, target: str | None, model: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Run a workflow whose last rows are for the test, and return what it understood."""
    table = made(0, ROWS).append_column("fold", [np.arange(ROWS) % 3])
    (place / "data").mkdir()
    pq.write_table(table, place / "data" / "a.parquet", row_group_size=900)
    task = {"amount": "regression", None: "clustering"}.get(target, "classification")
    day = str(np.datetime64("2026-01-01") + LEARNT // 24)
    document = {
        "problem": {"name": "toy", "task": task, **({"target": target} if target else {})},
        "data": {"url": "data", "time": "when", "drop": sorted(TARGETS - {target})},
        "models": [{"name": "best", **model}],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 0, "slices": ["flag"]},
        **more,
    }
    document["data"]["split"] = {"kind": "time", "test_from": day}
    Workflow.parse(yaml.safe_dump(document)).run(THREADS, "run")
    assert ("Rows that cost most" in Path("run/report.html").read_text()) == (target is not None)
    found: dict[str, Any] = json.loads(Path("run/understanding.json").read_text())
    return found


FOLDS = {"validation": {"kind": "column", "key": "fold", "values": [0, 1, 2]}}


def learnt_from(target: str) -> tuple[Any, np.ndarray, Any]:
    """Return the features of all rows that the final model was fitted to, their target, and its pipeline."""
    frame = made(0, ROWS).slice(0, LEARNT).to_pandas()
    pipeline = load("run/model").pipeline
    X = pipeline[:-1].transform(frame)
    return (X if isinstance(X, np.ndarray) else X.toarray()), frame[target].to_numpy(), pipeline


def test_least_squares_has_the_intervals_of_the_formula(in_tmp):
    found = run(in_tmp, "amount", {"estimator": LEAST_SQUARES}, **FOLDS)
    X, y, pipeline = learnt_from("amount")
    names = [str(name) for name in pipeline[:-1].get_feature_names_out()]
    told = {each["feature"]: each for each in found["coefficients"]["features"]}
    # One feature for every value of a category: their sum is that of the intercept, which is left out of the formula.
    alone = [place for place, name in enumerate(names) if "city" not in name]
    member = [place for place, name in enumerate(names) if "city" in name]
    design = np.column_stack([X[:, alone], X[:, member]])
    if np.linalg.matrix_rank(np.column_stack([design, np.ones(len(y))])) > design.shape[1]:
        design = np.column_stack([design, np.ones(len(y))])
    inverse = np.linalg.inv(design.T @ design)
    rest = y - design @ (inverse @ design.T @ y)
    freedom = len(y) - design.shape[1]
    errors = np.sqrt(rest @ rest / freedom * np.diag(inverse))
    for place, column in enumerate(alone):
        each = told[names[column]]
        assert each["value"] == pytest.approx(pipeline[-1].coef_[column], rel=1e-9)
        half = (each["high"] - each["low"]) / 2
        assert half == pytest.approx(1.9610 * errors[place], rel=1e-3), each["feature"]
    assert f"{freedom:,} degrees of freedom" in found["coefficients"]["interval"]
    assert found["importance"]["metric"] == "rmse"
    assert {each["column"] for each in found["importance"]["columns"][:3]} == {"x", "z", "city"}
    assert found["contributions"] is None


def test_logistic_regression_without_a_penalty_has_wald_intervals(in_tmp):
    model = {"estimator": LOGISTIC, "params": {"C": float("inf")}}
    found = run(in_tmp, "label", model, **FOLDS)
    X, y, pipeline = learnt_from("label")
    names = [str(name) for name in pipeline[:-1].get_feature_names_out()]
    p = pipeline[-1].predict_proba(X)[:, 1]
    design = np.column_stack([X, np.ones(len(y))])
    covariance = np.linalg.pinv((design * (p * (1 - p))[:, None]).T @ design, rcond=1e-9)
    for each in found["coefficients"]["features"]:
        if "city" in each["feature"]:
            continue
        half = (each["high"] - each["low"]) / 2
        place = names.index(each["feature"])
        assert half == pytest.approx(1.959964 * np.sqrt(covariance[place, place]), rel=1e-3)
    assert "Wald" in found["coefficients"]["interval"]
    assert found["dependence"][0]["outputs"] == ["lo"]
    assert len(found["dependence"][0]["lines"]) == 50


@pytest.mark.parametrize(
    ("target", "model", "why"),
    [
        ("level", {"estimator": "sklearn.linear_model.SGDClassifier"}, "by steps on the stream"),
        ("label", {"estimator": LOGISTIC}, "penalty"),
    ],
)
def test_other_coefficients_have_no_interval_and_a_reason(in_tmp, target, model, why):
    found = run(in_tmp, target, model)
    told = found["coefficients"]
    assert why in told["why"]
    assert told["interval"] == ""
    assert {each["low"] for each in told["features"]} == {None}
    assert {each["output"] for each in told["features"]} == ({"0", "1", "2"} if target == "level" else {"lo"})
    assert found["dependence"][0]["column"] == found["importance"]["columns"][0]["column"]
    assert found["rows"] <= ROWS - LEARNT
    assert found["sliced"][0] == "flag"
    assert all(each["low"] > 0 for each in found["slices"])
    lows = [each["low"] for each in found["slices"]]
    assert lows == sorted(lows, reverse=True)


@pytest.mark.parametrize("target", ["amount", "level"])
def test_shap_values_of_a_run_are_those_of_its_model_and_its_trees_cost_time(in_tmp, target):
    xgboost = pytest.importorskip("xgboost")
    kind = "XGBRegressor" if target == "amount" else "XGBClassifier"
    params = {"n_estimators": 15, "max_depth": 3, "enable_categorical": True}
    prepare = {"numeric": {"impute": "none"}, "categorical": {"encode": "ordinal"}}
    found = run(in_tmp, target, {"estimator": f"xgboost.{kind}", "params": params}, prepare=prepare)
    told = found["contributions"]
    pipeline: Any = load("run/model").pipeline
    rows = pq.read_table("data/a.parquet").slice(LEARNT)
    X = np.asarray(pipeline[:-1].transform(rows.to_pandas()), np.float64)
    matrix = xgboost.DMatrix(X, feature_types=pipeline[-1].feature_types, enable_categorical=True)
    values = pipeline[-1].get_booster().predict(matrix, pred_contribs=True, strict_shape=True)
    place = list(pipeline[:-1].get_feature_names_out()).index("x")
    of_x = next(each for each in told["columns"] if each["column"] == "x")
    assert told["rows"] == len(X) == ROWS - LEARNT
    np.testing.assert_allclose(of_x["by_output"], np.abs(values[..., place]).mean(axis=0), rtol=1e-5)
    sizes = [each["size"] for each in told["columns"]]
    assert sizes == sorted(sizes, reverse=True)
    assert {each["column"] for each in told["columns"][:3]} == {"x", "z", "city"}
    assert bool(of_x["points"]) == (target == "amount")
    assert "Mean size of the SHAP values" in Path("run/report.html").read_text()
    board = json.loads(Path("run/leaderboard.json").read_text())["rows"]
    assert all(row["seconds"] > 0 for row in board if not row["is_baseline"])


def test_of_clusters_nothing_is_said(in_tmp):
    found = run(in_tmp, None, {"estimator": "sklearn.cluster.MiniBatchKMeans", "params": {"n_clusters": 3}})
    assert found["rows"] == 0
    assert found["importance"] is None


def test_of_very_many_columns_those_are_chosen_that_tell_most(monkeypatch):
    monkeypatch.setattr(understanding, "SHUFFLED_COLUMNS", 2)
    columns = {name: (name,) for name in ("noise", "city", "flag", "x")}
    assert set(telling(columns, profile_table(made(0, 2_000), target="label")["all"])) == {"x", "city"}
    amounts = profile_table(made(0, 2_000), target="amount", gram=True)["all"]
    assert next(iter(telling(columns, amounts))) == "x"
    assert list(telling(columns, profile_table(made(0, 50))["all"])) == ["noise", "city"]


def test_every_feature_has_its_column(small):
    model = small("label")
    columns = columns_of(model.preparation.features_in, ())
    origins = origins_of(model.preparation, columns)
    for name, origin in zip(model.preparation.layout.names, origins, strict=True):
        assert name.removeprefix("missingindicator_").startswith(origin)


def test_what_a_text_became_is_one_column():
    found = columns_of(["size", "title_embedding_0", "title_embedding_1"], [Embedding("title", "m", 2, "")])
    assert found["meaning of title"] == ("title_embedding_0", "title_embedding_1")
