"""A workflow that is due runs again on the newest rows; its model is the challenger and the champion stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

from headrace.cluster.config import ClusterFile
from headrace.errors import InputError
from headrace.monitoring.options import MonitorFile
from headrace.monitoring.store import MonitorStore
from headrace.monitoring.watching import WatchState, read_state
from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry
from headrace.retraining import newest_rows, retrain_when_due
from headrace.runs import Workflow

if TYPE_CHECKING:
    from pathlib import Path

START = pd.Timestamp("2026-01-01").timestamp()
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


def document(**data: Any) -> dict[str, Any]:
    return {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data", "time": "when", **data},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 20},
    }


def test_a_window_of_rows_is_added_to_what_is_read() -> None:
    workflow = Workflow.parse(yaml.safe_dump(document(where="x > 0 or x < -1")))
    narrowed = newest_rows(workflow, START, where="w.yaml").options.data.where
    assert narrowed == "(x > 0 or x < -1) and `when` >= '2026-01-01T00:00:00'"
    without = Workflow.parse(yaml.safe_dump(document(time=None)))
    with pytest.raises(InputError, match=r"needs data\.time"):
        newest_rows(without, START, where="w.yaml")


@pytest.mark.slow
def test_a_model_that_is_due_gets_a_challenger_and_stays_champion(in_tmp: Path) -> None:
    rng = np.random.default_rng(0)
    rows = 3000
    frame = pd.DataFrame(
        {"x": rng.normal(size=rows), "when": pd.date_range("2026-01-01", periods=rows, freq="h")}
    )
    frame["y"] = (frame["x"] + rng.normal(size=rows) > 0).astype(int)
    (in_tmp / "data").mkdir()
    frame.to_parquet(in_tmp / "data" / "part.parquet", row_group_size=500)
    (in_tmp / "workflow.yaml").write_text(yaml.safe_dump(document()))
    Workflow.load("workflow.yaml").run(THREADS)
    registry, store = Registry("registry"), MonitorStore("monitor", "toy")
    options = MonitorFile.model_validate(
        {"retrain": {"workflow": "workflow.yaml", "older_than": "1s", "data_window": "30d"}}
    )
    package = read_package(registry.resolve("toy@champion"))
    now = START + 3600 * rows
    due = {"created": "2026-01-01T00:00:00+00:00"}
    old = type(package)(
        package.url, type(package.manifest)(**{**vars(package.manifest), **due}), package.contents
    )
    trained = retrain_when_due(store, options, WatchState(), {}, old, "toy@1", now=now, cluster=THREADS)
    assert trained is not None
    assert trained["reasons"] == ["it is 125.0 days old"]
    assert registry.aliases("toy") == {"champion": 1, "challenger": 2}
    challenger = read_package(registry.resolve("toy@challenger"))
    assert challenger.profile["rows"] < 24 * 30 < package.profile["rows"]
    state = read_state(store)
    assert state.retrained == now
    assert retrain_when_due(store, options, state, {}, old, "toy@1", now=now + 60, cluster=THREADS) is None
