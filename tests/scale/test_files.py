"""Data in ten thousand small files, and in one file of five gigabytes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.data.dataset import Dataset

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1800)]

FILES, FILE_ROWS = 10_000, 12
MIB = 1 << 20


def headrace(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "headrace", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return dict(json.loads(done.stdout))


def write_workflow(place: Path, url: str) -> None:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": url},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 5},
    }
    (place / "w.yaml").write_text(yaml.safe_dump(document))
    (place / "two.yaml").write_text("workers: 2\nmemory: 1GiB\n")


def table(number: int, rows: int, columns: int = 3) -> pa.Table:
    rng = np.random.default_rng(number)
    x = rng.random((columns, rows))
    return pa.table({f"x{i}": x[i] for i in range(columns)} | {"y": (x[0] > rng.random(rows)).astype(int)})


@pytest.mark.parametrize("store", ["local", "s3"])
def test_ten_thousand_small_files(store: str, in_tmp: Path, request: pytest.FixtureRequest) -> None:
    (in_tmp / "data").mkdir()
    for number in range(FILES):
        pq.write_table(table(number, FILE_ROWS), in_tmp / "data" / f"part-{number:05}.parquet")
    url = "data"
    if store == "s3":
        url = f"{request.getfixturevalue('s3')}/data"
        fsspec.filesystem("s3").put("data", url, recursive=True)
    write_workflow(in_tmp, url)
    plan = headrace("plan", "w.yaml", "--cluster", "two.yaml")
    assert plan["rows"] == FILES * FILE_ROWS
    assert plan["chunks"] <= 4  # files share chunks
    run = headrace("run", "w.yaml", "--run", "run", "--cluster", "two.yaml")
    assert run["rows"] == FILES * FILE_ROWS
    assert run["status"] == "passed"
    assert max(run["peak_rss_bytes"]["workers"].values()) < 1024 * MIB


def test_one_file_of_five_gigabytes(in_tmp: Path) -> None:
    (in_tmp / "data").mkdir()
    path = in_tmp / "data" / "a.parquet"
    part = table(0, 500_000, columns=40)
    with pq.ParquetWriter(path, part.schema, compression="none", use_dictionary=False) as writer:
        while path.stat().st_size < 5_000 * MIB:
            writer.write_table(part, row_group_size=len(part))
    write_workflow(in_tmp, "data")
    rows = Dataset("data").rows
    assert headrace("plan", "w.yaml", "--cluster", "two.yaml")["rows"] == rows
    run = headrace("run", "w.yaml", "--run", "run", "--cluster", "two.yaml")
    assert run["rows"] == rows
    assert max(run["peak_rss_bytes"]["workers"].values()) < 1024 * MIB
