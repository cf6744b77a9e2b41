"""Trees that several workers grow together do not depend on who they are, nor on one that is lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cluster.config import ClusterFile
from headrace.errors import WorkflowError
from headrace.runs import Workflow

pytest.importorskip("xgboost")


def run(
    name: str, params: dict[str, Any], *, lanes: int = 2, workers: int = 2, processes: bool = False
) -> dict[str, Any]:
    if not Path("data").exists():
        Path("data").mkdir()
        rng = np.random.default_rng(0)
        X = rng.normal(size=(4000, 4))
        y = (X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=4000) > 0).astype(int)
        table = pa.table({**{f"x{j}": X[:, j] for j in range(4)}, "y": y})
        pq.write_table(table, "data/a.parquet", row_group_size=500)
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "models": [
            {"name": "trees", "estimator": "xgboost.XGBClassifier", "params": {"max_depth": 3, **params}}
        ],
        "train": {"lanes": lanes},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
    }
    cluster = ClusterFile(workers=workers, processes=processes, memory=1 << 30)
    Workflow.parse(yaml.safe_dump(document)).run(cluster, name)
    record: dict[str, Any] = json.loads(Path(name, "run.json").read_text())
    return record


def test_lanes_decide_the_trees_not_workers(in_tmp, monkeypatch):
    monkeypatch.setattr("headrace.data.chunks.LARGEST", 10_000)  # several chunks
    params = {"n_estimators": 30, "subsample": 0.8, "early_stopping_rounds": 10}
    first = run("a", params)
    assert first["chunks"] > 2
    assert first["best"]["metrics"]["roc_auc"]["value"] > 0.8
    assert first["data_passes"]["done"] <= first["data_passes"]["planned"]
    assert run("b", params, workers=3)["model_sha256"] == first["model_sha256"]
    alone = run("c", params, lanes=1)["best"]["metrics"]["roc_auc"]["value"]
    assert first["best"]["metrics"]["roc_auc"]["value"] == pytest.approx(alone, abs=0.03)
    assert not list(Path("a").rglob("*.ubj"))


def test_more_lanes_than_threads_are_refused(in_tmp, monkeypatch):
    monkeypatch.setattr("headrace.data.chunks.LARGEST", 10_000)
    monkeypatch.setattr("headrace.training.tree_lanes._MEET_SECONDS", 1)
    with pytest.raises(WorkflowError, match=r"train\.lanes: is 3, and the cluster has 2 threads"):
        run("a", {}, lanes=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_that_is_killed_costs_rounds_and_changes_nothing(in_tmp, monkeypatch):
    monkeypatch.setattr("headrace.data.chunks.LARGEST", 10_000)
    params = {"n_estimators": 1000}
    whole = run("a", params, processes=True)
    killed: list[int] = []

    def kill() -> None:
        while not list(Path("b").rglob("*.ubj")):
            time.sleep(0.01)
        workers = [
            each for each in psutil.Process().children(recursive=True)
            if not each.children() and "spawn_main" in " ".join(each.cmdline())
        ]  # fmt: skip
        killed.append(max(workers, key=lambda each: each.cpu_times().user).pid)
        os.kill(killed[0], signal.SIGKILL)

    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    again = run("b", params, processes=True)
    watcher.join(1)
    assert killed
    assert again["model_sha256"] == whole["model_sha256"]
