"""From two runs to a champion and back, by commands; and what a run keeps of its test rows for that."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from headrace.cluster.config import ClusterFile
from headrace.monitoring.performance import Outcomes
from headrace.monitoring.store import MonitorStore
from headrace.monitoring.windows import Window, floor
from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry
from headrace.packaging.scores import read_scores
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., tuple[int, str, str]]

WORKFLOW = """
problem: {{name: buyers, task: classification, target: bought}}
data: {{url: data, drop: [user, when{dropped}]}}
models: [{{name: logistic, estimator: sklearn.linear_model.SGDClassifier}}]
train: {{epochs: 1}}
evaluate: {{bootstrap: 20}}
"""


@pytest.fixture
def command(inside: Command) -> Command:
    """The command line in a directory with two versions of a model; the second may read the column that tells."""
    for dropped in (", x", ""):
        workers = ClusterFile(workers=2, processes=False, memory=1 << 30)
        Workflow.parse(WORKFLOW.format(dropped=dropped)).run(workers, f"runs/{len(dropped)}")
    return inside


def test_a_better_version_is_promoted_and_taken_back(command: Command):
    package = read_package("runs/0/model")
    scores = read_scores(package)
    assert scores is not None
    held = package.manifest.metrics
    assert len(scores["key"]) == held["rows"]
    assert np.all(np.diff(scores["key"].astype(object)) > 0)
    auc = roc_auc_score(scores["label"], scores["score"])
    assert auc == pytest.approx(held["metrics"]["roc_auc"]["value"], abs=1e-6)
    gate = package.manifest.gates.get("onnx")
    assert gate is None or gate["rows"] - gate["drawn"] == min(500, held["rows"])

    code, out, err = command("models", "compare", "buyers@1", "buyers@latest")
    assert (code, err) == (0, "")
    assert "roc_auc" in out
    assert "scores.parquet" in out
    assert "the second is better at 95 %: roc_auc" in out
    assert "only the second reads x" in out
    document = json.loads(command("models", "compare", "buyers@1", "runs/0/model", "--json")[1])
    assert document["paired"]["rows"] == held["rows"]

    code, out, _ = command("models", "promote", "buyers@2", "--store", "monitor")
    assert (code, out.splitlines()[0]) == (0, "champion is buyers@2, before buyers@1")
    assert re.fullmatch(r"one row takes \S+ ms \(median of 200, [a-z-]+\)", out.splitlines()[1])
    note = Registry("registry").alias_history("buyers")[-1]["note"]
    assert 0 < note["latency"]["p50"] <= note["latency"]["p99"]
    assert note["drift"] == {"rows": 0, "moved": {}}
    code, out, err = command("models", "promote", "buyers@1")
    assert (code, out) == (1, "")
    assert err.startswith("headrace: buyers@1: it is not shown to be better than the champion at 95 %")
    assert err.count("\n") == 1
    code, out, _ = command("models", "promote", "buyers@1", "--force", "--why", "the new one is slow")
    assert (code, out.splitlines()[0]) == (0, "champion is buyers@1, before buyers@2")
    assert "forced although it is not shown to be better" in out

    moved = json.loads(command("models", "rollback", "buyers", "--json")[1])
    assert (moved["before"], moved["version"], moved["note"]["how"]) == (1, 2, "rollback")
    code, _, err = command("models", "rollback", "buyers", "--alias", "challenger")
    assert (code, err.partition(";")[0]) == (1, "headrace: buyers: challenger stands for nothing")
    code, _, err = command("models", "promote", "buyers")
    assert (code, err) == (2, "headrace: buyers: names no version; such as buyers@latest\n")
    rng = np.random.default_rng(0)
    truth = rng.random(2000)
    for arm, version, noise in (("champion", 2, 0.4), ("challenger", 1, 0.1)):
        said = np.clip(truth + rng.normal(0, noise, 2000), 0.01, 0.99)
        outcomes = Outcomes.of(np.column_stack([1 - said, said]), (truth > 0.5).astype(int).tolist(), (0, 1))
        start = floor(time.time(), 60)
        window = Window(f"buyers@{version}", arm, start, start + 60, outcomes=outcomes)
        MonitorStore("monitor", "buyers").write([window])
    code, out, _ = command("models", "promote", "buyers@1", "--store", "monitor")
    assert (code, out.splitlines()[0]) == (0, "champion is buyers@1, before buyers@2")
    assert "in use its log_loss was lower by" in out
    assert "forced" not in out
    assert command("models", "rollback", "buyers")[0] == 0

    assert command("models", "prune", "buyers", "--keep", "1")[:2] == (0, "buyers: removed 1\n")
