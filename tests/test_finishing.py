"""The model that is kept has learnt from the rows that were asked for: a holdout's too, or all of them after the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from headrace.cluster.config import ClusterFile
from headrace.packaging.model import load
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
RNG = np.random.default_rng(0)
N = 2000
X = RNG.normal(size=(N, 3))
LABEL = np.where(X[:, 0] + RNG.normal(size=N) > 0, "yes", "no")
DAY = np.arange(N) // 100
MODELS: list[dict[str, Any]] = [
    {"name": "logistic", "estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 1.0}},
    {"name": "stream", "estimator": "sklearn.linear_model.SGDClassifier"},
]


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data of twenty days, of which the last five are for the test."""
    where = tmp_path_factory.mktemp("lastfit")
    (where / "data").mkdir()
    columns = {**{f"x{j}": X[:, j] for j in range(3)}, "label": LABEL}
    days = np.datetime64("2020-01-01") + DAY
    pq.write_table(pa.table({**columns, "day": days}), where / "data" / "a.parquet", row_group_size=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr("headrace.data.chunks.LARGEST", 20_000)  # some chunks hold rows of the test alone
        yield where


def run(name: str, refit: str | None, models: list[dict[str, Any]], **changes: Any) -> tuple[Any, Any]:
    """Return the record and the pipeline of a run."""
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "label"},
        "data": {
            "url": "data",
            "time": "day",
            "split": {"kind": "time", "test_from": "2020-01-16", "validation": 0.3},
        },
        "prepare": {"numeric": {"clip": None}, "columns": {"day": "drop"}},
        "models": models,
        "train": {"epochs": 2, "refit": refit},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        **changes,
    }
    Workflow.parse(yaml.safe_dump(document)).run(THREADS, name)
    pipeline: Any = load(f"{name}/model").pipeline
    return json.loads(Path(name, "run.json").read_text()), pipeline


@pytest.mark.parametrize(
    ("refit", "learnt", "said"),
    [
        ("validation", DAY < 15, "training and validation rows"),
        ("all", DAY < 20, "all rows, those of the test after they had judged"),
    ],
)
def test_the_model_learns_from_all_rows_that_were_asked_for(refit, learnt, said):
    record, pipeline = run(refit, refit, MODELS[:1])
    assert record["best"]["fitted_to"] == said
    rows = pa.table({f"x{j}": X[learnt, j] for j in range(3)}).to_pandas()
    prepared = pipeline[:-1].transform(rows.assign(day=None)[list(pipeline.feature_names_in_)])
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(prepared, LABEL[learnt])
    np.testing.assert_allclose(pipeline[-1].coef_, theirs.coef_, atol=1e-4)
    names = [each["name"] for each in record["passes"]]
    assert "final step 1" in names
    assert ("all step 1" in names) == (refit == "all")
    assert record["data_passes"]["done"] <= record["data_passes"]["planned"]
    (first,) = [
        each for each in record["passes"] if each["name"] == f"{'all' if refit == 'all' else 'final'} step 1"
    ]
    assert first["rows"] >= learnt.sum()
    # What was learnt from afterwards has not changed what was found before.
    assert record["best"]["metrics"]["roc_auc"]["value"] < 0.95


def test_what_was_decided_stands_around_the_model_of_all_rows():
    more: dict[str, Any] = {"calibrate": "sigmoid", "threshold": {"metric": "f1"}}
    before, plain = run("decided", None, MODELS[1:], **more)
    after, pipeline = run("decided-all", "all", MODELS[1:], **more)
    assert after["decision"] == before["decision"]
    assert type(pipeline[-1]) is type(plain[-1])
    assert pipeline[-1].threshold == plain[-1].threshold
    assert len(after["notes"]) == len(set(after["notes"]))
    assert after["model_sha256"] != before["model_sha256"]
    assert {"final epoch 1", "all epoch 1"} <= {each["name"] for each in after["passes"]}
