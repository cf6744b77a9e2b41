"""What was found in a chunk is found again without reading it, and only while nothing about it has changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.data.dataset import Dataset
from headrace.erasing import erase
from headrace.runs import RunResult, Workflow

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FILES, ROWS = 4, 500
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


def table(number: int) -> pa.Table:
    rng = np.random.default_rng(number)
    x = rng.normal(size=ROWS)
    return pa.table(
        {
            "who": number * ROWS + np.arange(ROWS),
            "x": x,
            "town": rng.choice(["Ulm", "Bonn"], ROWS),
            "y": 2 * x + rng.normal(size=ROWS),
        }
    )


def train(place: Path, url: str, name: str, **data: Any) -> RunResult:
    document = {
        "problem": {"name": "amount", "objective": "y", "task": "regression", "target": "y"},
        "data": {"url": url, "drop": ["who"], **data},
        "models": [{"name": "ridge", "estimator": "sklearn.linear_model.Ridge"}],
        "checks": {"on_fail": "warn"},
        "publish": {"registry": str(place / "registry")},
    }
    return Workflow.parse(yaml.safe_dump(document)).run(THREADS, str(place / name))


def profiled(result: RunResult) -> dict[str, Any]:
    return next(each for each in result.run["passes"] if each["name"] == "profile")


def test_after_an_erasure_only_what_it_touched_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SMALLEST", 1)
    monkeypatch.setattr(chunks, "SHARE", 1 << 16)  # a chunk a file
    (tmp_path / "data").mkdir()
    for number in range(FILES):
        pq.write_table(table(number), tmp_path / "data" / f"{number}.parquet")
    url, kept = str(tmp_path / "data"), tmp_path / "kept"
    first = train(tmp_path, url, "first", remembered=str(kept))
    whole = profiled(first)
    assert whole["chunks"] == FILES
    assert len(list(kept.iterdir())) == FILES
    again = train(tmp_path, url, "again", remembered=str(kept))
    assert profiled(again)["bytes"] == 0
    assert again.run["model_sha256"] == first.run["model_sha256"]
    erase(Dataset(url), "who", [str(ROWS + 7)], remembered=str(kept))
    assert len(list(kept.iterdir())) == FILES - 1
    after = train(tmp_path, url, "after", remembered=str(kept))
    scratch = train(tmp_path, url, "scratch")
    assert 0 < profiled(after)["bytes"] < whole["bytes"] / 2
    assert after.run["model_sha256"] == scratch.run["model_sha256"] != first.run["model_sha256"]
    profiles = [json.loads((tmp_path / name / "profile.json").read_text()) for name in ("after", "scratch")]
    assert profiles[0] == profiles[1]
    other = train(tmp_path, url, "other", remembered=str(kept), where="town == 'Ulm'")
    assert profiled(other)["bytes"] > 0
    for path in kept.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    damaged = train(tmp_path, url, "damaged", remembered=str(kept))
    assert damaged.run["model_sha256"] == scratch.run["model_sha256"]
