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
from headrace.runs import Workflow
from headrace.training.candidates import Candidate, build, candidates_of, capabilities
from headrace.training.options import ModelOptions

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
        monkeypatch.setattr("headrace.training.trees.BINNED_MEMORY", 1)
    record = run(in_tmp, Y, n_estimators=300, max_depth=4, learning_rate=0.3, early_stopping_rounds=5)
    assert record["data_passes"]["done"] <= record["data_passes"]["planned"]
    assert record["best"]["metrics"]["roc_auc"]["value"] > 0.8
    model: Any = load("run/model").pipeline[-1]
    assert isinstance(model, xgboost.XGBClassifier)
    assert 5 < model.get_booster().num_boosted_rounds() < 300


def test_labels_that_xgboost_does_not_take_are_told(in_tmp):
    with pytest.raises(RunError, match=r"labels are no, yes, and XGBClassifier takes 0, 1"):
        run(in_tmp, np.where(Y, "yes", "no"))


def test_parameters_and_task_are_checked_and_rows_are_dense():
    with pytest.raises(WorkflowError, match="did you mean 'max_depth'"):
        build(Candidate("t", "xgboost.XGBClassifier", {"max_dept": 3}), seed=0)
    with pytest.raises(WorkflowError, match="is for classification, not for regression"):
        candidates_of([ModelOptions(**TREES)], task="regression")
    assert not capabilities(build(Candidate("t", "xgboost.XGBRegressor"), seed=0)).sparse
