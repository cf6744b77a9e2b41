"""headrace: 8 candidates x 5 folds by a workflow, each fold with its own preparation, one read of the data an epoch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import yaml
from fit_headrace import workflow
from folds_sklearn import ALPHAS, FOLDS
from work import Clock, arguments, tell

from headrace.cluster.config import ClusterFile
from headrace.runs import Workflow

MEASURED = ("profile", "prepare", "train")
"""Stages that the fits by hand do as well; the last fit to all rows, test pass, package, report stand in `seconds_all`."""


def main():
    given, clock = arguments(), Clock()
    with tempfile.TemporaryDirectory() as directory:
        document = workflow(given.data.resolve())
        document["models"] = [
            {
                "name": f"alpha {alpha:g}",
                "estimator": "sklearn.linear_model.SGDClassifier",
                "params": {"alpha": alpha},
            }
            for alpha in ALPHAS
        ]
        document["validation"] = {
            "kind": "kfold",
            "folds": FOLDS,
            "shared_preparation": os.environ.get("SHARED_PREPARATION") == "1",
        }
        document["publish"] = {"registry": str(Path(directory) / "registry")}
        cluster = ClusterFile(workers=given.workers, memory=given.memory, processes=False)
        job = Workflow.parse(yaml.safe_dump(document))
        record = job.run(cluster=cluster, run_dir=str(Path(directory) / "run")).run
    stages = record["seconds"]
    clock.stages = {name: stages[name] for name in MEASURED}
    tell(
        record["rows"],
        clock,
        ["headrace", "dask", "pyarrow", "scikit-learn", "numpy"],
        fits=len(ALPHAS) * FOLDS,
        seconds_all=round(sum(stages.values()), 4),
        peak_rss_bytes=record["peak_rss_bytes"],
        best=record["best"],
    )


if __name__ == "__main__":
    main()
