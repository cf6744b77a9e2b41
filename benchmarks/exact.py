"""Ridge regression of 8 penalties x 5 folds: one pass of headrace over Parquet beside RidgeCV on what fits in memory.

    python benchmarks/exact.py DIRECTORY [--rows 20000000] [--memory-rows 2000000] [--json FILE]

DIRECTORY receives 60 numeric columns and a target as Parquet, unless it has them. headrace runs a workflow on two
workers; its figure is that of the pass ``exact``, after which all 40 fits are algebra. RidgeCV gets the first rows, read
before its clock starts, the same penalties and as many folds, and fits them one after the other. Equality is measured on these
rows: the largest difference of a coefficient of the 40 fits from the refit, relative to the largest coefficient.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread a worker, as there

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

COLUMNS, FOLDS, GROUP = 60, 5, 250_000
ALPHAS = [float(10.0**power) for power in range(-3, 5)]


def make(directory: Path, rows: int) -> None:
    """Write columns with correlations, means and scales of their own."""
    rng = np.random.default_rng(0)
    mixing = np.eye(COLUMNS) + 0.2 * rng.normal(size=(COLUMNS, COLUMNS))
    scale, mean, coefficients = (
        10.0 ** rng.uniform(-2, 2, COLUMNS),
        rng.normal(size=COLUMNS),
        rng.normal(size=COLUMNS),
    )
    names = [f"x{j:02}" for j in range(COLUMNS)]
    directory.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, 1_000_000)):
        path = directory / f"part-{number:04}.parquet"
        if path.exists():
            continue
        count = min(1_000_000, rows - start)
        Z = rng.normal(size=(count, COLUMNS)) @ mixing
        y = Z @ coefficients + 10 * rng.normal(size=count)
        table = pa.table(dict(zip(names, ((Z + mean) * scale).T, strict=True)) | {"y": y})
        pq.write_table(table, path, row_group_size=GROUP)


def headrace(directory: Path, place: Path) -> dict[str, float]:
    """Run the workflow and return the seconds of its pass."""
    from headrace.cluster.config import ClusterFile
    from headrace.runs import Workflow

    document = {
        "problem": {"name": "exact", "task": "regression", "target": "y"},
        "data": {"url": str(directory)},
        "prepare": {"numeric": {"clip": None}},
        "validation": {"kind": "kfold", "folds": FOLDS},
        "models": [{"name": "ridge", "estimator": "sklearn.linear_model.Ridge", "params": {"alpha": ALPHAS}}],
        "evaluate": {"bootstrap": 0},
        "checks": {"on_fail": "warn"},
        "publish": {"registry": str(place / "registry")},
    }
    Workflow.parse(yaml.safe_dump(document)).run(ClusterFile(workers=2), str(place / "run"))
    record = json.loads((place / "run" / "run.json").read_text())
    (exact,) = (each for each in record["passes"] if each["name"] == "exact")
    return {
        "rows": exact["rows"],
        "seconds": exact["seconds"],
        "peak_bytes": record["peak_rss_bytes"]["total"],
    }


def in_memory(directory: Path, rows: int) -> dict[str, float]:
    """Time RidgeCV on the first rows, and hold the coefficients from products against refits."""
    from sklearn.linear_model import Ridge, RidgeCV

    from headrace.engine.folds import RowFolds
    from headrace.training.exact import CellProducts, fit_exact
    from headrace.training.sweeps import Rows

    parts = sorted(directory.glob("*.parquet"))
    tables, held = [], 0
    for path in parts:
        if held < rows:
            tables.append(pq.read_table(path))
            held += tables[-1].num_rows
    table = pa.concat_tables(tables).slice(0, rows)
    X = np.column_stack([table[name].to_numpy() for name in table.column_names[:-1]])
    y = table["y"].to_numpy()
    del tables, table
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    started = time.perf_counter()
    RidgeCV(alphas=ALPHAS, cv=FOLDS).fit(X, y)
    seconds = time.perf_counter() - started
    cells = np.random.default_rng(1).integers(0, FOLDS, len(y))
    started = time.perf_counter()
    products = CellProducts.of(Rows(X, y, None, cells[None]), FOLDS, 0)
    ours = {
        (fold.name, alpha): fit_exact(
            Ridge(alpha=alpha), products.training(fold), path="sklearn.linear_model.Ridge"
        )
        for fold in RowFolds(FOLDS).folds
        for alpha in ALPHAS
    }
    algebra = time.perf_counter() - started
    worst = 0.0
    for fold in RowFolds(FOLDS).folds:
        learnt = ~np.isin(cells, fold.validation)
        Z, target = X[learnt], y[learnt]
        for alpha in ALPHAS:
            theirs = Ridge(alpha=alpha).fit(Z, target).coef_
            away = np.abs(ours[fold.name, alpha].coef_ - theirs).max() / np.abs(theirs).max()
            worst = max(worst, float(away))
    return {"rows": len(y), "seconds": seconds, "same_rows_in_one_pass": algebra, "largest_difference": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--memory-rows", type=int, default=2_000_000)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    data = options.directory / "data"
    make(data, options.rows)
    found = {
        "headrace": headrace(data, options.directory),
        "RidgeCV": in_memory(data, min(options.rows, options.memory_rows)),
    }
    ours, theirs = (each["rows"] / each["seconds"] for each in found.values())
    found["ratio_of_rows_a_second"] = ours / theirs
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
