"""A run with an ensemble: the product is scikit-learn's, made of what all rows teach its members, and ends alike after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.model_selection import FixedThresholdClassifier

import headrace as hr
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.engine import ledger
from headrace.engine.events import ChunkDone, Event
from headrace.errors import WorkflowError
from headrace.packaging.package import read_package
from headrace.runs import Workflow
from headrace.training.candidates import ENSEMBLE, bare

pytest.importorskip("xgboost")

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS, FILES = 4_800, 8
TWO = ClusterFile(workers=2, processes=False, memory=1 << 30)
# A few trees find what bends, and the others what is straight: together they are better than each.
LINEAR = {"name": "linear", "estimator": "sklearn.linear_model.LogisticRegression"}
STREAM = {"name": "stream", "estimator": "sklearn.linear_model.SGDClassifier"}
BAYES = {"name": "bayes", "estimator": "sklearn.naive_bayes.GaussianNB"}
TREES = {
    "name": "trees",
    "estimator": "xgboost.XGBClassifier",
    "params": {"n_estimators": 3, "max_depth": 2},
}
FOLDS = {"kind": "kfold", "folds": 2}


@pytest.fixture(scope="module", autouse=True)
def frame(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pd.DataFrame]:
    """Data of eight chunks, each of which is committed."""
    place = tmp_path_factory.mktemp("ensemble")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 4))
    value = x[:, 0] + x[:, 1] + x[:, 3] + 2 * np.sin(3 * x[:, 2]) + 0.7 * rng.normal(size=ROWS)
    held = pd.DataFrame(
        {**{f"x{i}": x[:, i] for i in range(4)}, "value": value, "y": (value > 0).astype(int)}
    )
    (place / "data").mkdir()
    for number, rows in enumerate(np.array_split(np.arange(ROWS), FILES)):
        part = pa.Table.from_pandas(held.iloc[rows], preserve_index=False)
        pq.write_table(part, place / "data" / f"part-{number:02}.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(chunks, "LARGEST", 24_000)
        patch.setattr(ledger, "COMMIT_SECONDS", 0.0)
        yield held


def job(**changes: Any) -> Workflow:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data", "drop": ["value"]},
        "models": [LINEAR, STREAM, BAYES, TREES],
        "train": {"epochs": 2},
        "evaluate": {"bootstrap": 0},
        "checks": {"on_fail": "warn"},
        "ensemble": {"kind": "average"},
        **changes,
    }
    return Workflow.parse(yaml.safe_dump(document))


def board(place: str) -> dict[str, Any]:
    rows = json.loads(Path(place, "leaderboard.json").read_text())["rows"]
    return {row["candidate"]: row for row in rows}


@pytest.mark.parametrize(
    ("kind", "validation"),
    [
        ("average", FOLDS),
        ("stack", {"kind": "holdout"}),
        pytest.param("average", {"kind": "holdout"}, marks=pytest.mark.slow),
        pytest.param("stack", FOLDS, marks=pytest.mark.slow),
    ],
)
def test_the_product_is_an_ensemble_of_scikit_learn(
    frame: pd.DataFrame, kind: str, validation: dict[str, Any]
) -> None:
    name = f"{kind}-{validation['kind']}"
    record = job(validation=validation, ensemble={"kind": kind}).run(TWO, name).run
    rows = board(name)
    assert record["best"]["candidate"] == ENSEMBLE, record["notes"]
    assert rows[ENSEMBLE]["best"]
    others = [row["validation"]["roc_auc"] for key, row in rows.items() if key != ENSEMBLE]
    assert rows[ENSEMBLE]["validation"]["roc_auc"] > max(others)
    assert rows[ENSEMBLE]["seconds"] > 0
    assert all(rows[name]["seconds"] > 0 for name in ("linear", "stream", "bayes", "trees"))
    assert record["data_passes"]["done"] <= record["data_passes"]["planned"]
    model = hr.load(f"{name}/model")
    prepare, product = (step for _, step in model.pipeline.steps)
    assert isinstance(product, VotingClassifier if kind == "average" else StackingClassifier)
    X = prepare.transform(model.frame(frame))
    said = [each.predict_proba(X) for each in product.estimators_]
    if kind == "average":
        weights = [w for w in rows[ENSEMBLE]["params"]["weights"].values() if w > 0]
        expected = np.average(said, axis=0, weights=weights)
    else:
        expected = product.final_estimator_.predict_proba(np.column_stack([each[:, 1] for each in said]))
    np.testing.assert_allclose(model.predict_proba(frame), expected, rtol=1e-12)
    gate = read_package(f"{name}/model").manifest.gates
    assert gate.get("onnx", {"passed": True})["passed"], gate


def test_an_average_of_numbers_over_a_search_in_rounds(frame: pd.DataFrame) -> None:
    pytest.importorskip("optuna")
    stream = {
        "name": "stream",
        "estimator": "sklearn.linear_model.SGDRegressor",
        "space": {
            "eta0": {"low": 1e-4, "high": 1e-2, "log": True},
            "prepare.numeric.clip": [None, {"method": "iqr"}],
        },
    }
    trees = {
        "name": "trees",
        "estimator": "xgboost.XGBRegressor",
        "params": {"n_estimators": 6},
        "space": {"max_depth": [2, 3], "prepare.numeric.clip": [None]},
    }
    changes = {
        "problem": {"name": "toy", "task": "regression", "target": "value"},
        "data": {"url": "data", "drop": ["y"]},
        "models": [stream, trees],
        "search": {"kind": "bayes", "candidates": 6, "batch": 2},
        "validation": FOLDS,
    }
    record = job(**changes).run(TWO, "rounds").run
    row = board("rounds")[ENSEMBLE]
    assert row["best"], record["notes"]
    assert row["estimator"] == "sklearn.ensemble.VotingRegressor"
    assert isinstance(hr.load("rounds/model").pipeline[-1], VotingRegressor)
    assert row["interval"] is not None
    assert row["prepare"] == {"numeric.clip": None}
    alike = [name for name, each in board("rounds").items() if each["prepare"] == row["prepare"]]
    assert set(row["params"]["weights"]) <= set(alike) - {ENSEMBLE}
    assert len(row["params"]["weights"]) == 5
    assert sum(weight > 0 for weight in row["params"]["weights"].values()) >= 2


def test_it_is_calibrated_and_has_its_threshold(frame: pd.DataFrame) -> None:
    record = job(validation=FOLDS, calibrate="sigmoid", threshold={"metric": "f1"}).run(TWO, "decided").run
    assert record["best"]["candidate"] == ENSEMBLE, record["notes"]
    product = hr.load("decided/model").pipeline[-1]
    assert isinstance(product, FixedThresholdClassifier)
    assert isinstance(product.estimator_.estimator, CalibratedClassifierCV)
    assert isinstance(bare(product), VotingClassifier)
    assert record["decision"]["rows"] == board("decided")[ENSEMBLE]["validation_rows"]
    assert record["best"]["metrics"]["roc_auc"]["value"] > 0.7


def test_it_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(WorkflowError, match="not for clustering; remove it"):
        job(problem={"name": "toy", "task": "clustering"}, models=[])
    with pytest.raises(WorkflowError, match="the name 'ensemble' is that of the ensemble; rename one"):
        job(models=[{**LINEAR, "name": "ensemble"}])


class Stopped(BaseException):
    """Ends a run as a signal would: nothing of headrace catches it."""


def stop_in(name: str) -> Any:
    """Stop in the third chunk of a pass."""
    seen = 0

    def watch(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, ChunkDone) and event.name == name
        if seen == 3:
            raise Stopped

    return watch


@pytest.mark.slow
@pytest.mark.parametrize("place", ["epoch 2", "final step 2", "final epoch 1"])
def test_stopped_in_a_pass_it_goes_on_to_the_same_ensemble(place: str) -> None:
    # In a stack every member has a say, those of the stream too.
    changes = {"validation": FOLDS, "ensemble": {"kind": "stack"}}
    if not Path("whole/run.json").exists():
        job(**changes).run(TWO, "whole")
    whole = json.loads(Path("whole/run.json").read_text())
    assert whole["best"]["candidate"] == ENSEMBLE
    with pytest.raises(Stopped):
        job(**changes).run(TWO, f"stopped in {place}", [stop_in(place)])
    again = Workflow.resume(f"stopped in {place}", TWO).run
    assert again["model_sha256"] == whole["model_sha256"]
    assert again["best"] == whole["best"]
    assert [each["name"] for each in again["passes"]] == [each["name"] for each in whole["passes"]]


@pytest.mark.slow
def test_killed_on_the_command_line_it_ends_with_the_same_model() -> None:
    Path("w.yaml").write_text(job(validation=FOLDS).text)
    program = (
        "from headrace.data import chunks; from headrace.engine import ledger; chunks.LARGEST = 24_000\n"
    )
    program += "ledger.COMMIT_SECONDS = 0.0; from headrace.cli import main; main()"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}

    def begin(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, "run", *arguments, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        )  # fmt: skip

    def ended(process: subprocess.Popen[str]) -> str:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        digest: str = json.loads(out)["model_sha256"]
        return digest

    expected = ended(begin("w.yaml", "--run", "never-killed"))
    process = begin("w.yaml", "--run", "killed")
    deadline = time.monotonic() + 200
    while not list(Path("killed/ledger").glob("*")) or len(list(Path("killed/ledger").glob("*"))) < 24:
        assert time.monotonic() < deadline
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert ended(begin("--resume", "killed")) == expected
