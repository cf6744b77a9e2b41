"""Folds in the stream are those of scikit-learn loops over the same rows in the same order, and nothing leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score

from headrace.cluster.config import ClusterFile
from headrace.engine.order import chunk_order, row_order
from headrace.opening import open_data
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import fit_preparation
from headrace.profiling.profile import Profile, profile_table
from headrace.runs import Workflow

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
SGD = "sklearn.linear_model.SGDClassifier"
ROWS = 3_000


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A directory with data in several chunks: numbers, categories, a time, groups, a predefined fold."""
    rng = np.random.default_rng(0)
    x = rng.normal(10, 3, ROWS)
    color = rng.choice(["red", "green", "blue"], ROWS)
    logit = 0.4 * (x - 10) + (color == "red") - 0.5
    frame = pd.DataFrame({
        "x": np.where(rng.random(ROWS) < 0.1, np.nan, x),
        "color": color,
        "when": pd.date_range("2026-01-01", periods=ROWS, freq="h"),
        "who": rng.integers(0, 200, ROWS),
        "part": rng.integers(-1, 3, ROWS),
        "y": (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(int),
    })  # fmt: skip
    where = tmp_path_factory.mktemp("folds")
    (where / "data").mkdir()
    for number in range(3):
        part = pa.Table.from_pandas(frame.iloc[number * 1000 : (number + 1) * 1000], preserve_index=False)
        pq.write_table(part, where / "data" / f"{number}.parquet", row_group_size=250)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        yield where


def workflow(validation: dict[str, Any], **changes: Any) -> Workflow:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data", "time": "when", "split": {"kind": "random", "test": 0.2}},
        "validation": validation,
        "models": [
            {"name": "a", "estimator": SGD},
            {"name": "b", "estimator": SGD, "params": {"alpha": 0.01}},
        ],
        "train": {"epochs": 2},
        "evaluate": {"bootstrap": 0},
        "checks": {"on_fail": "warn"},
        **changes,
    }
    return Workflow.parse(yaml.safe_dump(document))


def board(directory: str) -> dict[str, Any]:
    held = json.loads(Path(directory, "leaderboard.json").read_text())
    return {row["candidate"]: row for row in held["rows"]}


def by_hand(job: Workflow, *, alpha: float, shared: bool) -> list[float]:
    """The AUC of each fold after the best of two epochs, by a loop of partial_fit over the same rows in the same order."""
    opened = open_data(job.options, 1 << 30)
    source, splitter = opened.trained, opened.splitter
    assert splitter.folds is not None
    tables = [part.read() for part in source.parts]
    cells = [splitter.cells(table, chunk) for table, chunk in zip(tables, source.chunks, strict=True)]
    scores = []
    for fold in splitter.folds.folds:
        used = range(len(splitter.folds.names)) if shared else fold.train
        learnt = [np.isin(each[fold.repeat], list(used)) for each in cells]
        profile: Profile | None = None
        for table, mask in zip(tables, learnt, strict=True):
            here = profile_table(table.filter(pa.array(mask)), target="y")["all"]
            profile = here if profile is None else profile.merge(here)
        assert profile is not None
        compiled = CompiledPreparation(
            fit_preparation(profile, job.options.prepare, features=opened.features)
        )

        def rows(index: int, wanted: tuple[int, ...], at: int = fold.repeat, made: Any = compiled) -> Any:
            taken = tables[index].filter(pa.array(np.isin(cells[index][at], list(wanted))))
            return made.transform(taken), taken["y"].to_numpy()

        model = SGDClassifier(
            loss="log_loss", alpha=alpha, learning_rate="constant", eta0=0.01, average=True, shuffle=False,
            random_state=0,
        )  # fmt: skip
        reached = []
        for epoch in (1, 2):
            for index in chunk_order(len(tables), seed=0, epoch=epoch):
                X, y = rows(index, fold.train)
                order = row_order(len(y), seed=0, epoch=epoch, chunk=source.chunks[index].index)
                model.partial_fit(X[order], y[order], classes=[0, 1])
            held = [rows(index, fold.validation) for index in range(len(tables))]
            said = np.concatenate([model.predict_proba(X)[:, 1] for X, _ in held])
            reached.append(roc_auc_score(np.concatenate([y for _, y in held]), said))
        scores.append(max(reached))
    return scores


@pytest.mark.parametrize(
    "validation",
    [
        {"kind": "kfold", "folds": 3},
        {"kind": "stratified", "folds": 3, "shared_preparation": True},
        {"kind": "time", "folds": 3, "gap": "12h"},
    ],
)
def test_every_fold_is_the_loop_of_partial_fit_over_its_rows(validation: dict[str, Any]) -> None:
    job = workflow(validation)
    shared = bool(validation.get("shared_preparation"))
    name = f"run-{validation['kind']}"
    result = job.run(THREADS, name)
    rows = board(name)
    for candidate, alpha in (("a", 1e-6), ("b", 0.01)):
        found = [fold["validation"]["roc_auc"] for fold in rows[candidate]["folds"]]
        assert found == pytest.approx(by_hand(job, alpha=alpha, shared=shared), abs=1e-12)
        assert rows[candidate]["validation"]["roc_auc"] == pytest.approx(np.mean(found))
    assert {row["name"] for row in result.run["passes"]} == {
        "profile", "epoch 1", "epoch 2", "test",
        *(f"final epoch {k}" for k in range(1, result.run["best"]["epoch"] + 1)),
    }  # fmt: skip
    assert result.run["data_passes"]["done"] <= result.run["data_passes"]["planned"] == 6
    assert result.run["best"]["fitted_to"] == "training and validation rows"
    assert any(("shared_preparation" in note) is shared for note in result.run["notes"] if "folds (" in note)
    assert "baseline" in rows
    assert rows["baseline"]["validation"]["roc_auc"] == pytest.approx(0.5)
    assert sum(row["simplest"] for row in rows.values()) == 1
    low, high = rows["a"]["interval"]
    assert low < rows["a"]["validation"]["roc_auc"] < high
    assert rows["baseline"]["difference"]["high"] < 0
    page = Path(name, "report.html").read_text()
    assert "Means over 3 folds" in page
    assert "simplest within one standard error" in page
