"""A column of a million distinct values, by each encoding: the run keeps within its memory, and the model can be written."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

DISTINCT = 1_000_000
ROWS_AT_ONCE = 100_000
GIB = 1 << 30


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each value twice, in random order; what is odd has the higher rate."""
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.permutation(DISTINCT), rng.permutation(DISTINCT)])
    folder = tmp_path_factory.mktemp("million") / "data"
    folder.mkdir()
    schema = pa.schema([("name", pa.string()), ("x", pa.float64()), ("y", pa.int64())])
    with pq.ParquetWriter(folder / "a.parquet", schema) as writer:
        for start in range(0, len(numbers), ROWS_AT_ONCE):
            some = numbers[start : start + ROWS_AT_ONCE]
            x = rng.normal(size=len(some))
            y = (x + some % 2 + rng.normal(size=len(some)) > 0.5).astype(np.int64)
            names = [f"customer-{number:09}" for number in some]
            writer.write_table(pa.table({"name": names, "x": x, "y": y}, schema=schema))
    return folder


def resident(process: psutil.Popen) -> tuple[int, int]:
    """Bytes of the process that leads, and of the largest of those that it started."""
    try:
        children = [child.memory_info().rss for child in process.children(recursive=True)]
        return process.memory_info().rss, max(children, default=0)
    except psutil.NoSuchProcess:
        return 0, 0


@pytest.mark.scale
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    "encode",
    [
        {"encode": "target", "max_values": DISTINCT},
        {"encode": "frequency", "max_values": DISTINCT},
        {"encode": "ordinal"},
        {"encode": "hashing", "hash_features": 1024},
    ],
    ids=lambda encode: str(encode["encode"]),
)
def test_a_million_distinct_values_fit(data: Path, tmp_path: Path, encode: dict[str, Any]) -> None:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": str(data)},
        "prepare": {"columns": {"name": encode}},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 1},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 5},
    }
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "c.yaml").write_text("workers: 1\nmemory: 4GiB\n")
    command = [sys.executable, "-m", "headrace", "run", "w.yaml", "--run", "run", "--cluster", "c.yaml"]
    with (tmp_path / "log").open("wb") as log:
        process = psutil.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
        highest = (0, 0)
        while process.poll() is None:
            lead, worker = resident(process)
            highest = max(highest[0], lead), max(highest[1], worker)
            time.sleep(0.05)
    assert process.returncode == 0, (tmp_path / "log").read_text()[-2_000:]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "passed"
    assert max(highest) < 4 * GIB, [f"{size >> 20} MiB" for size in highest]
