"""headrace: `headrace run` of a random search of 32 settings in 3 folds, all in one read of the data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import yaml
from search_work import CANDIDATES, FOLD, FOLDS, SPACE, run_of, test_from
from work import TARGET, Clock, arguments, tell

MEASURED = ("profile", "prepare", "train")
"""Stages that scikit-learn does as well; the last fit to all rows, test pass, package, report stand in `seconds_all`."""


def workflow(given, registry):
    return {
        "problem": {"name": "search", "task": "classification", "target": TARGET},
        "data": {
            "url": str(given.data.resolve()),
            "time": "time",
            "drop": ["time"],
            "split": {"kind": "time", "test_from": test_from(given.files).isoformat(sep=" ")},
        },
        "validation": {"kind": "column", "key": FOLD, "values": list(range(FOLDS))},
        "prepare": {"numeric": {"impute": "mean", "indicator": False, "clip": None}},
        "models": [
            {
                "name": "sgd",
                "estimator": "sklearn.linear_model.SGDClassifier",
                "params": {"loss": "log_loss"},
                "space": SPACE,
            }
        ],
        "search": {"kind": "random", "candidates": CANDIDATES},
        "train": {"epochs": 1},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        "publish": {"registry": str(registry)},
    }


def main():
    given, clock = arguments(), Clock()
    run = run_of(given.data)
    place = run.parent
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "workflow.yaml").write_text(yaml.safe_dump(workflow(given, place / "registry")))
    cluster = {"kind": "laptop", "workers": given.workers, "memory": given.memory, "processes": False}
    (place / "cluster.yaml").write_text(yaml.safe_dump(cluster))
    command = [sys.executable, "-m", "headrace", "run", place / "workflow.yaml"]
    subprocess.run(
        [*command, "--cluster", place / "cluster.yaml", "--run", run], stdout=subprocess.DEVNULL, check=True
    )
    record = json.loads((run / "run.json").read_text())
    clock.stages = {name: record["seconds"][name] for name in MEASURED}
    tell(
        record["rows"],
        clock,
        ["headrace", "dask", "pyarrow", "scikit-learn", "numpy"],
        fits=CANDIDATES * FOLDS,
        seconds_all=round(sum(record["seconds"].values()), 4),
        peak_rss_bytes=record["peak_rss_bytes"],
        data_passes=record["data_passes"],
    )


if __name__ == "__main__":
    main()
