"""Boosted trees from chunks are those of all rows at once, in memory and on disk, and are kept as XGBoost's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cluster.config import ClusterFile
from headrace.errors import RunError, WorkflowError
from headrace.packaging.model import load
from headrace.packaging.package import read_package
from headrace.runs import Workflow
from headrace.training.candidates import Candidate, build, candidates_of, capabilities
from headrace.training.options import ModelOptions
from headrace.training.trees import fit_trees

xgboost = pytest.importorskip("xgboost")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3000, 4))
Y = (X[:, 0] * X[:, 1] + 0.3 * RNG.normal(size=3000) > 0).astype(int)
X[RNG.random(X.shape) < 0.1] = np.nan
TREES: dict[str, Any] = {"name": "trees", "estimator": "xgboost.XGBClassifier"}


def run(place: Path, y: Any, **params: Any) -> dict[str, Any]:
    (place / "data").mkdir(exist_ok=True)
    columns = {f"x{j}": pa.array(X[:, j], from_pandas=True) for j in range(4)}
    pq.write_table(pa.table({**columns, "y": y}), place / "data" / "a.parquet", row_group_size=500)
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "prepare": {"numeric": {"impute": "none", "indicator": False}},
        "models": [{**TREES, "params": params}],
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
    }
    Workflow.parse(yaml.safe_dump(document)).run(
        ClusterFile(workers=2, processes=False, memory=1 << 30), "run"
    )
    record: dict[str, Any] = json.loads(Path("run/run.json").read_text())
    return record


@pytest.mark.parametrize("external", [False, True])
def test_trees_from_chunks_stop_early_and_are_packaged(in_tmp, monkeypatch, external):
    if external:
        monkeypatch.setattr("headrace.training.trees.BINNED_SHARE", 1 << 40)
    record = run(in_tmp, Y, n_estimators=300, max_depth=4, learning_rate=0.3, early_stopping_rounds=5)
    assert record["data_passes"]["done"] <= record["data_passes"]["planned"]
    assert record["best"]["metrics"]["roc_auc"]["value"] > 0.8
    model: Any = load("run/model").pipeline[-1]
    assert isinstance(model, xgboost.XGBClassifier)
    assert 5 < model.get_booster().num_boosted_rounds() < 300


def test_an_outer_fold_grows_as_many_trees_as_the_folds_within_it(in_tmp):
    """Its own rows judge what is chosen within it, and do not say when to stop."""
    held: list[Any] = []

    def keep(*args: Any, **more: Any) -> Any:
        fitted = fit_trees(*args, **more)
        held.append([each.estimator.get_booster().num_boosted_rounds() for each in fitted["trees"]])
        return fitted

    params = {"n_estimators": 200, "max_depth": 2, "learning_rate": 0.3, "early_stopping_rounds": 2}
    columns = {"a": X[:, 0], "b": X[:, 1], "y": Y}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headrace.training.direct.fit_trees", keep)
        of_columns(
            "nested", columns, models=[{**TREES, "params": params}],
            validation={"kind": "kfold", "folds": 3, "nested": True, "shared_preparation": True},
        )  # fmt: skip
    folds, last = held
    assert folds[:3] == [round(sum(folds[3 + 2 * k : 5 + 2 * k]) / 2) for k in range(3)]
    assert last == [round(sum(folds[:3]) / 3)]
    assert len(set(folds)) > 1


def of_columns(name: str, columns: dict[str, Any], **changes: Any) -> Any:
    """Fit trees to all rows that are not for the test, and return the product and these rows."""
    place = Path(name)
    place.mkdir()
    day = np.datetime64("2020-01-01") + np.arange(3000) // 100
    pq.write_table(pa.table({**columns, "day": day}), place / "a.parquet", row_group_size=500)
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": name, "time": "day", "split": {"kind": "time", "test_from": "2020-01-26"}},
        "prepare": {"categorical": {"encode": "ordinal"}, "columns": {"day": "drop"}},
        "validation": {"kind": "kfold", "folds": 2},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        **changes,
    }
    Workflow.parse(yaml.safe_dump(document)).run(
        ClusterFile(workers=2, processes=False, memory=1 << 30), f"{name}-run"
    )
    return load(f"{name}-run/model")


def test_codes_of_categories_are_split_by_sets_as_in_memory(in_tmp):
    letters = RNG.choice(list("abcdefghijkl"), 3000)
    letters[7] = "q"  # one fold meets it among the rows that judge alone
    x = np.round(RNG.normal(size=3000), 1)
    y = (2 * np.isin(letters, list("bdgj")) + x + 0.3 * RNG.normal(size=3000) > 1).astype(int)
    params = {"n_estimators": 6, "max_depth": 2, "learning_rate": 0.5, "enable_categorical": True}
    columns = {"x": x, "letter": letters, "y": y}
    model = of_columns("coded", columns, models=[{**TREES, "params": {**params, "early_stopping_rounds": 6}}])
    prepare, product = (step for _, step in model.pipeline.steps)
    assert product.feature_types == ["c", "q"]
    prepared = prepare.transform(model.frame(pa.table(columns)))
    theirs = xgboost.XGBClassifier(**params, feature_types=["c", "q"], tree_method="hist", random_state=0)
    theirs.fit(prepared[:2500], y[:2500])
    assert product.get_booster().num_boosted_rounds() == 6
    np.testing.assert_allclose(product.predict_proba(prepared), theirs.predict_proba(prepared), atol=1e-6)
    plain = xgboost.XGBClassifier(**{**params, "enable_categorical": False}).fit(prepared[:2500], y[:2500])
    right = [(each.predict(prepared[2500:]) == y[2500:]).mean() for each in (product, plain)]
    assert right[0] > right[1] + 0.02
    # A letter that nobody has seen, and a missing one, are no error.
    said = model.predict_proba({"x": [0.0, 0.0], "letter": ["z", None]})
    assert np.isfinite(said).all()
    # ONNX has no splits by sets, and the package says so.
    gates = read_package("coded-run/model").manifest.gates
    assert "a split by a set of categories has no converter" in gates["onnx"]["reason"]


def test_constraints_of_columns_hold_in_the_product(in_tmp):
    columns = {"a": X[:, 2], "b": np.nan_to_num(X[:, 0]), "y": Y}
    columns["y"] = (np.sin(2 * columns["b"]) + 0.3 * RNG.normal(size=3000) > 0).astype(int)
    params = {"n_estimators": 20, "monotone_constraints": {"b": 1}}
    model = of_columns("rising", columns, models=[{**TREES, "params": params}])
    asked = {"b": np.linspace(-3, 3, 200), "a": np.full(200, 0.1)}
    said = model.predict_proba(pa.table(asked))[:, 1]
    assert np.diff(said).min() >= 0
    with pytest.raises(RunError, match="monotone_constraints holds 'letter', which is no feature"):
        of_columns("lost", columns, models=[{**TREES, "params": {"monotone_constraints": {"letter": 1}}}])


def test_labels_that_xgboost_does_not_take_are_told(in_tmp):
    with pytest.raises(RunError, match=r"labels are no, yes, and XGBClassifier takes 0, 1"):
        run(in_tmp, np.where(Y, "yes", "no"))


def test_parameters_and_task_are_checked_and_rows_are_dense():
    with pytest.raises(WorkflowError, match="did you mean 'max_depth'"):
        build(Candidate("t", "xgboost.XGBClassifier", {"max_dept": 3}), seed=0)
    with pytest.raises(WorkflowError, match="is for classification, not for regression"):
        candidates_of([ModelOptions(**TREES)], task="regression")
    assert not capabilities(build(Candidate("t", "xgboost.XGBRegressor"), seed=0)).sparse
