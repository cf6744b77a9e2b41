"""Two lanes beside one: the AUC on the test rows and the time of the epochs, on `clicks`.

    python benchmarks/lanes.py DIRECTORY [--rows 2000000] [--lanes 2] [--epochs 3] [--seeds 3] [--json FILE]

DIRECTORY receives `clicks` of so many rows, unless it has them. Every seed is a run with one lane and one with several,
on two worker processes that keep no prepared blocks, so that all epochs read the data; the seed draws the split, the order
of the chunks and of the rows. The goal is a difference of 0.0005 at most.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread a worker, as there

import argparse
import json
import tempfile
from pathlib import Path

import yaml

GOAL = 0.0005


def headrace(data: Path, place: Path, *, lanes: int, epochs: int, seed: int) -> dict[str, float]:
    """Run the workflow; return its AUC and the seconds of its epochs."""
    from headrace.cluster.config import ClusterFile
    from headrace.runs import Workflow

    document = {
        "problem": {"name": "lanes", "task": "classification", "target": "click"},
        "seed": seed,
        "data": {"url": str(data), "time": "time", "split": {"kind": "random", "test": 0.1}},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": epochs, "lanes": lanes},
        "evaluate": {"bootstrap": 0},
        "checks": {"on_fail": "warn"},
        "publish": {"registry": str(place / "registry")},
    }
    result = Workflow.parse(yaml.safe_dump(document)).run(ClusterFile(workers=2, disk=0), str(place / "run"))
    epochs_done = [each["seconds"] for each in result.run["passes"] if each["name"].startswith("epoch")]
    return {
        "auc": result.run["best"]["metrics"]["roc_auc"]["value"],
        "seconds": sum(epochs_done) / len(epochs_done),
        "chunks": result.run["chunks"],
    }


def main() -> None:
    """Run both for every seed and print what they reach."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.directory.exists():
        from headrace.data.samples import write_sample

        write_sample("clicks", options.directory, rows=options.rows)
    found = []
    for seed in range(options.seeds):
        pair = {}
        for lanes in (1, options.lanes):
            with tempfile.TemporaryDirectory() as place:
                pair[lanes] = headrace(
                    options.directory, Path(place), lanes=lanes, epochs=options.epochs, seed=seed
                )
        one, several = pair[1], pair[options.lanes]
        difference = several["auc"] - one["auc"]
        found.append({"seed": seed, "one": one, "several": several, "difference": difference})
        print(
            f"seed {seed}: AUC {one['auc']:.5f} on one lane, {several['auc']:.5f} on {options.lanes}, "
            f"{difference:+.5f}; an epoch {one['seconds']:.2f} s and {several['seconds']:.2f} s"
        )
    worst = max(abs(each["difference"]) for each in found)
    print(f"largest difference {worst:.5f}, goal {GOAL}: {'met' if worst <= GOAL else 'missed'}")
    if options.json:
        options.json.write_text(json.dumps({"worst": worst, "goal": GOAL, "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
