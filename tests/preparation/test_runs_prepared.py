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
