"""headrace: profile, impute, scale, one-hot and one epoch of logistic SGD by a workflow, with report and package."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from work import ALPHA, TARGET, Clock, arguments, tell

from headrace.cluster.config import ClusterFile
from headrace.runs import Workflow

MEASURED = ("profile", "prepare", "train")
"""Stages that the alternatives do as well; the others (test pass, package, report) stand in `seconds_all`."""


def workflow(data):
    return {
        "problem": {"name": "bench", "task": "classification", "target": TARGET},
        "data": {
            "url": str(data),
            "drop": ["time"],
            "split": {"kind": "random", "test": 0.01, "validation": 0.01},
        },
        "models": [
            {
                "name": "logistic",
                "estimator": "sklearn.linear_model.SGDClassifier",
                "params": {"alpha": ALPHA},
            }
        ],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 20},
    }


def main(*, processes=False):
    given, clock = arguments(), Clock()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "workflow.yaml"
        document = workflow(given.data.resolve())
        document["publish"] = {"registry": str(Path(directory) / "registry")}
        path.write_text(yaml.safe_dump(document))
        run_dir = Path(directory) / "run"
        cluster = ClusterFile(workers=given.workers, memory=given.memory, processes=processes)
        record = Workflow.load(str(path)).run(cluster=cluster, run_dir=str(run_dir)).run
    stages = record["seconds"]
    clock.stages = {name: stages[name] for name in MEASURED if name in stages}
    tell(
        record["rows"],
        clock,
        ["headrace", "dask", "pyarrow", "scikit-learn", "numpy"],
        seconds_all=round(sum(stages.values()), 4),
        peak_rss_bytes=record["peak_rss_bytes"],
        best=record["best"],
    )


if __name__ == "__main__":
    main()
