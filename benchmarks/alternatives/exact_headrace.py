"""headrace: `headrace run` of ridge regressions with 8 penalties in 5 folds, all from the products of one pass."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import yaml
from exact_work import ALPHAS, FOLDS, TARGET, TIME, test_from
from work import Clock, arguments, tell

MEMORY = "1536MiB"
"""Of a worker: a row group is 120 MiB once decoded, and five folds prepare it each in its own way."""


def workflow(given, rows, registry):
    return {
        "problem": {"name": "exact", "task": "regression", "target": TARGET},
        "data": {
            "url": str(given.data.resolve()),
            "time": TIME,
            "drop": [TIME],
            "split": {"kind": "time", "test_from": test_from(rows).isoformat(sep=" ")},
        },
        "prepare": {"numeric": {"clip": None}},
        "validation": {"kind": "kfold", "folds": FOLDS},
        "models": [
            {"name": "ridge", "estimator": "sklearn.linear_model.Ridge", "params": {"alpha": list(ALPHAS)}}
        ],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 0},
        "checks": {"on_fail": "warn"},
        "publish": {"registry": str(registry)},
    }


def main():
    import pyarrow.parquet as pq

    given, clock = arguments(), Clock()
    rows = sum(pq.ParquetFile(path).metadata.num_rows for path in given.files)
    place = given.data.with_name(f"{given.data.name}-exact")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    run = place / "run"
    (place / "workflow.yaml").write_text(yaml.safe_dump(workflow(given, rows, place / "registry")))
    cluster = {"kind": "laptop", "workers": given.workers, "memory": MEMORY, "processes": False}
    (place / "cluster.yaml").write_text(yaml.safe_dump(cluster))
    command = [sys.executable, "-m", "headrace", "run", place / "workflow.yaml"]
    subprocess.run(
        [*command, "--cluster", place / "cluster.yaml", "--run", run], stdout=subprocess.DEVNULL, check=True
    )
    record = json.loads((run / "run.json").read_text())
    board = json.loads((run / "leaderboard.json").read_text())
    (exact,) = (each for each in record["passes"] if each["name"] == "exact")
    clock.stages = {"exact": exact["seconds"]}
    tell(
        exact["rows"],
        clock,
        ["headrace", "dask", "pyarrow", "scikit-learn", "numpy"],
        fits=FOLDS * sum(row["candidate"].startswith("ridge") for row in board["rows"]),
        candidate=record["best"]["candidate"],
        alpha=next(row["params"]["alpha"] for row in board["rows"] if row["best"]),
        model=str(run / "model"),
        seconds_profile=record["seconds"]["profile"],
        seconds_all=round(sum(record["seconds"].values()), 4),
        peak_rss_bytes=record["peak_rss_bytes"],
        data_passes=record["data_passes"],
    )


if __name__ == "__main__":
    main()
