"""headrace: `kind: hyperband` of a workflow; all brackets learn from the same read of the data."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml
from hyperband_work import ALPHA, CANDIDATES, ETA, ETA0, FIXED, JUDGED
from trees_work import test_from
from work import TARGET, TEXT, Clock, arguments, tell

from headrace.cluster.config import ClusterFile
from headrace.runs import Workflow

MEASURED = ("profile", "prepare", "train")


def workflow(given, registry):
    space = {
        name: {"low": low, "high": high, "log": True}
        for name, (low, high) in (("alpha", ALPHA), ("eta0", ETA0))
    }
    return {
        "problem": {"name": "hyperband", "task": "classification", "target": TARGET},
        "data": {
            "url": str(given.data.resolve()),
            "time": "time",
            "drop": ["time", *TEXT],
            "split": {
                "kind": "time",
                "test_from": test_from(given.files).isoformat(sep=" "),
                "validation": JUDGED,
            },
        },
        "prepare": {"numeric": {"impute": "mean", "indicator": False, "clip": None}},
        "models": [
            {
                "name": "sgd",
                "estimator": "sklearn.linear_model.SGDClassifier",
                "params": FIXED,
                "space": space,
            }
        ],
        "search": {"kind": "hyperband", "candidates": CANDIDATES, "eta": ETA},
        "train": {"epochs": 1},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        "publish": {"registry": registry},
    }


def main():
    given, clock = arguments(), Clock()
    with tempfile.TemporaryDirectory() as directory:
        document = workflow(given, f"{directory}/registry")
        cluster = ClusterFile(workers=given.workers, memory=given.memory, processes=False)
        Workflow.parse(yaml.safe_dump(document)).run(cluster, f"{directory}/run")
        record = json.loads(Path(directory, "run", "run.json").read_text())
        board = json.loads(Path(directory, "run", "leaderboard.json").read_text())
    clock.stages = {name: record["seconds"][name] for name in MEASURED}
    tried = [row for row in board["rows"] if not row["is_baseline"]]
    passes = {each["name"]: each for each in record["passes"]}
    tell(
        record["rows"],
        clock,
        ["headrace", "dask", "scikit-learn", "numpy"],
        auc=record["best"]["metrics"]["roc_auc"]["value"],
        candidates=len(tried),
        # Of those that were dropped, the rows that were read until then, of which the training rows are a part.
        rows_learnt=sum(row["dropped_after_rows"] or passes["epoch 1"]["rows_kept"] for row in tried),
        rows_read=sum(passes[name]["rows"] for name in ("profile", "epoch 1")),
        peak_rss_bytes=record["peak_rss_bytes"],
        seconds_all=round(sum(record["seconds"].values()), 4),
    )


if __name__ == "__main__":
    main()
