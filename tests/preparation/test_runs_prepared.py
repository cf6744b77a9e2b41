"""Preparations in whole runs: what is learnt beside the profile comes from the same pass, and the model needs scikit-learn alone."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import headrace as hr
from headrace.cluster.config import ClusterFile
from headrace.runs import Workflow

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
EXAMPLE = Path(__file__).parents[2] / "examples" / "text"


def write_texts(directory: Path, rows: int) -> None:
    spec = importlib.util.spec_from_file_location("make_data", EXAMPLE / "make_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(str(directory), rows)


def test_the_text_example_finds_subjects(in_tmp):
    write_texts(in_tmp / "data/texts", 1_500)
    document = yaml.safe_load((EXAMPLE / "workflow.yaml").read_text())
    document["train"] = {"epochs": 1}
    document["evaluate"] = {"bootstrap": 20}
    workflow = Workflow.parse(yaml.safe_dump(document))
    notes = workflow.plan(THREADS).notes
    assert any("no pass of its own" in note and "tokens of text" in note for note in notes)
    result = workflow.run(THREADS, "run")
    assert result.passed
    assert result.run["data_passes"] == {"planned": 3, "done": 3}
    model = hr.load("run/model")
    said = model.predict([{"text": "petal width in cm and sepal length of iris", "source": None}])
    assert said.tolist() == ["flowers"]


ALONE = """
import sys, numpy as np, pandas as pd, skops.io, warnings
warnings.simplefilter("ignore")
place, rows, out = sys.argv[1:]
pipeline = skops.io.load(place, trusted=skops.io.get_untrusted_types(file=place))
np.save(out, pipeline.predict(pd.read_json(rows)))
assert not [name for name in sys.modules if name.startswith("headrace")]
"""


@pytest.mark.slow
def test_a_regression_with_folds_and_a_model_that_needs_scikit_learn_alone(in_tmp):
    rng = np.random.default_rng(0)
    rows = 2_400
    X = rng.normal(size=(rows, 3)) @ rng.normal(size=(3, 3)) + np.linspace(0, 1, rows)[:, None]
    distance, minutes = rng.integers(100, 3000, rows), rng.integers(20, 300, rows)
    shop = rng.integers(0, 400, rows)
    effect = rng.normal(size=400)
    frame = pd.DataFrame(
        {
            **{name: np.where(rng.random(rows) < 0.1, np.nan, X[:, j]) for j, name in enumerate("abc")},
            "distance": distance,
            "minutes": np.where(rng.random(rows) < 0.01, 0, minutes),
            "shop": [f"s{i}" for i in shop],
            "word": rng.choice(["x", "y", "z"], rows),
            "income": rng.lognormal(0, 1, rows),
        }
    )
    frame["y"] = X[:, 0] + 2 * effect[shop] + distance / minutes / 5 + rng.normal(0, 0.3, rows)
    (in_tmp / "data").mkdir()
    for number in range(3):
        part = pa.Table.from_pandas(frame.iloc[number * 800 : (number + 1) * 800], preserve_index=False)
        pq.write_table(part, in_tmp / f"data/{number}.parquet", row_group_size=200)
    document: dict[str, Any] = {
        "problem": {"name": "toy", "task": "regression", "target": "y", "success": [{"metric": "r2", "at_least": 0.5}]},
        "data": {"url": "data"},
        "prepare": {
            "derive": {"speed": "distance / minutes"},
            "drop_rows": ["income"],
            "columns": {
                **{name: {"impute": "regression"} for name in "abc"},
                "shop": {"encode": "target"},
                "word": {"encode": "hashing", "hash_features": 4},
                "income": {"transform": "yeo_johnson", "clip": {"method": "iqr"}, "outliers": "flag"},
                "distance": {"expand": {"method": "spline", "knots": 4}},
                "minutes": {"expand": {"method": "bins", "bins": 4}},
            },
            "interact": [{"columns": ["distance", "income"]}],
        },
        "validation": {"kind": "kfold", "folds": 2},
        "models": [{"name": "linear", "estimator": "sklearn.linear_model.SGDRegressor"}],
        "train": {"epochs": 4},
        "evaluate": {"bootstrap": 20},
    }  # fmt: skip
    result = Workflow.parse(yaml.safe_dump(document)).run(THREADS, "run")
    assert result.passed
    assert any("are not trained on" in note for note in result.run["notes"])
    model = hr.load("run/model")
    few = frame.drop(columns="y").head(50)
    ours = model.predict(few)
    few.to_json("rows.json", orient="records")
    command = [sys.executable, "-c", ALONE, "run/model/pipeline.skops", "rows.json", "alone.npy"]
    subprocess.run(command, check=True, timeout=120)
    np.testing.assert_allclose(np.load("alone.npy"), ours, rtol=1e-6)
    described = json.loads(Path("run/run.json").read_text())
    assert described["status"] == "passed"


@pytest.mark.parametrize("shared", [True])
def test_rows_are_not_left_out_of_folds_that_share_them(in_tmp, shared):
    table = pa.table({"x": [*map(float, range(99)), None], "y": list(range(100))})
    pq.write_table(table, in_tmp / "data.parquet")
    workflow = Workflow.parse(
        "problem: {name: toy, task: regression, target: y}\ndata: {url: data.parquet}\nprepare: {drop_rows: [x]}\n"
        f"validation: {{kind: kfold, folds: 2, shared_preparation: {str(shared).lower()}}}\n"
    )
    with pytest.raises(hr.errors.WorkflowError, match="rows cannot be left out of training alone"):
        workflow.run(THREADS, "run")


def write_reviews(place: Path, rows: int = 1_500) -> None:
    """Write texts of two subjects beside numbers, a few of which stand apart; the target needs both."""
    rng = np.random.default_rng(2)
    late = rng.random(rows) < 0.4
    words = np.array([f"w{number}" for number in range(60)])
    places = (rng.integers(0, 40, (rows, 9)) + 20 * late[:, None]) % 60
    size = rng.normal(size=rows) + late
    weight = size + rng.normal(0, 0.3, rows)
    weight[::50] += 20
    table = pa.table(
        {
            "note": [" ".join(row) for row in words[places]],
            "size": size,
            "weight": weight,
            "noise": rng.normal(size=rows),
            "late": np.where(late, "late", "fine"),
        }
    )
    pq.write_table(table, place, row_group_size=rows // 5)


REVIEWS: dict[str, Any] = {
    "problem": {
        "name": "reviews",
        "task": "classification",
        "target": "late",
        "success": [{"metric": "roc_auc", "at_least": 0.8}],
    },
    "data": {"url": "reviews.parquet"},
    "prepare": {
        "columns": {"note": {"encode": "tfidf", "components": 4}},
        "isolation_forest": {"contamination": 0.02, "columns": ["size", "weight"]},
        "select": {"by": "l1", "keep": 2},
    },
    "models": [{"name": "linear", "estimator": "sklearn.linear_model.SGDClassifier", "params": {"loss": "log_loss"}}],
    "train": {"epochs": 3},
    "evaluate": {"bootstrap": 20},
}  # fmt: skip


@pytest.mark.parametrize("folds", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_texts_are_reduced_and_outliers_left_out_in_a_whole_run(in_tmp, folds):
    write_reviews(in_tmp / "reviews.parquet")
    document = {**REVIEWS, "validation": {"kind": "kfold", "folds": folds}} if folds else REVIEWS
    workflow = Workflow.parse(yaml.safe_dump(document))
    plan = workflow.plan(THREADS)
    assert [each.name for each in plan.passes][:3] == ["profile", "prepare", "epoch 1"]
    (own, beside) = (note for note in plan.notes if "the preparation" in note)
    assert "a pass of its own, prepare: singular vectors (4 of 2,048 tokens of note at most)" in own
    assert "a sample of up to 10,000 training rows for the isolation forest" in beside
    calibrated = workflow.plan(THREADS, calibrate=True)
    assert all(each.seconds for each in calibrated.passes)
    result = workflow.run(THREADS, "run")
    assert result.passed, result.run["success"]
    assert result.run["data_passes"]["done"] == result.run["data_passes"]["planned"] == len(plan.passes)
    assert any("isolation forest of 1" in note and "not trained on" in note for note in result.run["notes"])
    assert "sampled ones tells most easily from all others" in Path("run/report.html").read_text()
    model = hr.load("run/model")
    words = " ".join(f"w{number}" for number in range(50, 60))
    row = {"note": words, "size": 1.0, "noise": 0.0}  # the forest reads the weight, and the model does not
    assert model.predict([row]).tolist() == ["late"]


@pytest.mark.slow
def test_columns_are_selected_by_permutation_in_each_fold(in_tmp):
    write_reviews(in_tmp / "reviews.parquet")
    prepare = {"select": {"by": "permutation", "keep": 1}, "columns": {"note": "drop"}}
    document = {**REVIEWS, "prepare": prepare, "validation": {"kind": "kfold", "folds": 2}}
    workflow = Workflow.parse(yaml.safe_dump(document))
    assert any(
        "permutation importance (a half is learnt from" in note for note in workflow.plan(THREADS).notes
    )
    workflow.run(THREADS, "run")
    described = json.loads(Path("run/model/manifest.json").read_text())
    assert [column["name"] for column in described["signature"]["inputs"]] == ["size"]
