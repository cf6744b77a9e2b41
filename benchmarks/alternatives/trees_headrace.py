"""headrace: boosted trees on lanes, one for each worker process, which is held to its memory."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml
from trees_work import DEPTH, ROUNDS, test_from
from work import TARGET, Clock, arguments, tell

from headrace.cluster.config import ClusterFile
from headrace.runs import Workflow

MEASURED = ("profile", "prepare", "train")


def workflow(given, registry):
    return {
        "problem": {"name": "bench", "task": "classification", "target": TARGET},
        "data": {
            "url": str(given.data.resolve()),
            "time": "time",
            "drop": ["time"],
            "split": {
                "kind": "time",
                "test_from": test_from(given.files).isoformat(sep=" "),
                "validation": 0.01,
            },
        },
        "prepare": {
            "numeric": {"impute": "none", "indicator": False, "clip": None, "scale": "none"},
            "categorical": {"encode": "ordinal", "min_frequency": 1},
        },
        "models": [
            {
                "name": "trees",
                "estimator": "xgboost.XGBClassifier",
                "params": {"n_estimators": ROUNDS, "max_depth": DEPTH, "enable_categorical": True},
            }
        ],
        "train": {"lanes": given.workers},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        "publish": {"registry": registry},
    }


def main():
    given, clock = arguments(), Clock()
    with tempfile.TemporaryDirectory() as directory:
        document = workflow(given, f"{directory}/registry")
        cluster = ClusterFile(workers=given.workers, memory=given.memory, processes=True)
        Workflow.parse(yaml.safe_dump(document)).run(cluster, f"{directory}/run")
        record = json.loads(Path(directory, "run", "run.json").read_text())
    clock.stages = {name: record["seconds"][name] for name in MEASURED}
    tell(
        record["rows"],
        clock,
        ["headrace", "xgboost", "dask", "pyarrow"],
        auc=record["best"]["metrics"]["roc_auc"]["value"],
        memory=given.memory,
        peak_rss_bytes=record["peak_rss_bytes"],
        seconds_all=round(sum(record["seconds"].values()), 4),
        data_passes=record["data_passes"],
    )


if __name__ == "__main__":
    main()
