"""Ridge regression of 8 penalties x 5 folds: one pass of headrace over Parquet beside RidgeCV on what fits in memory.

    python benchmarks/exact.py [--rows 20000000] [--memory-rows 2000000] [--limit 3600] [--json FILE]

60 numeric columns and a target are written as Parquet to `data/`, unless they are there. `headrace run` works on all of
them with two workers, and again on as many as RidgeCV gets; its figure is that of the pass ``exact``, after which all
40 fits are algebra. RidgeCV fits two at a time, to rows that are in memory and scaled before its clock starts. Each
program runs alone in its own process; the memory is that of its whole tree.

Equality is measured on the rows that RidgeCV gets, as the largest difference of a coefficient relative to the largest
one: of the model that `headrace run` publishes from scikit-learn's pipeline of the same steps fitted to the same rows,
and of all 40 fits from products from a refit each.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread a worker, as there

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from measure import ALTERNATIVES, measure
from run import ROOT, machine

sys.path.insert(0, str(ALTERNATIVES))
from exact_ridgecv import read
from exact_work import ALPHAS, BYTES_A_ROW, COLUMNS, FOLDS, make


def data_of(rows: int) -> Path:
    """Return the generated data of that size, made when they are not there."""
    data = ROOT / "data" / f"exact-{rows}"
    held = sum(path.stat().st_size for path in data.glob("*.parquet"))
    needed, free = rows * BYTES_A_ROW - held, shutil.disk_usage(ROOT / "data").free
    if needed > 0.9 * free:
        sys.exit(f"{rows:,} rows need {needed / 2**30:.1f} GiB more, and {free / 2**30:.1f} GiB are free")
    make(data, rows)
    return data


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of a coefficient relative to the largest coefficient."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def published_difference(data: Path, model: str, alpha: float) -> float:
    """Compare the published model with a pipeline that scikit-learn fits to the same rows."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import headrace as hr

    X, y = read(sorted(data.glob("*.parquet")))
    learnt = len(y) - len(y) // 100  # as `test_from`
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(X[:learnt], y[:learnt])[-1].coef_
    return largest_difference(hr.load(model).pipeline[-1].coef_, theirs)


def fits_difference(data: Path) -> float:
    """Compare all fits from products of rows, by penalty and fold, with refits to the rows."""
    from sklearn.linear_model import Ridge

    from headrace.engine.folds import RowFolds
    from headrace.training.exact import CellProducts, fit_exact
    from headrace.training.sweeps import Rows

    X, y = read(sorted(data.glob("*.parquet")))
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    cells = np.random.default_rng(1).integers(0, FOLDS, len(y))
    products = CellProducts.of(Rows(X, y, None, cells[None]), FOLDS, 0)
    worst = 0.0
    for fold in RowFolds(FOLDS).folds:
        learnt = ~np.isin(cells, fold.validation)
        Z, target = X[learnt], y[learnt]
        for alpha in ALPHAS:
            ours = fit_exact(Ridge(alpha=alpha), products.training(fold), path="sklearn.linear_model.Ridge")
            worst = max(worst, largest_difference(ours.coef_, Ridge(alpha=alpha).fit(Z, target).coef_))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--memory-rows", type=int, default=2_000_000)
    parser.add_argument("--limit", type=float, default=3600, help="seconds that one program may take")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args()
    few = data_of(min(given.rows, given.memory_rows))
    found = {}
    for label, name, data in (
        ("headrace", "exact_headrace", data_of(given.rows)),
        ("headrace, rows of RidgeCV", "exact_headrace", few),
        ("RidgeCV", "exact_ridgecv", few),
    ):
        found[label] = measure(name, data, workers=2, limit=given.limit)
        each = found[label]
        print(
            f"{label:26} {each.status:8} {each.rows:11,} rows {each.seconds:8.1f} s {each.peak / 2**20:8,.0f} MiB  {each.error}",
            flush=True,
        )
    most, same, theirs = found.values()
    figures: dict[str, object] = {"rows": given.rows, "columns": len(COLUMNS), "machine": machine()}
    if all(each.document for each in found.values()):
        figures |= {
            "ratio_of_rows_a_second": round(most.rate / theirs.rate, 2),
            "ratio_of_rows_a_second_same_rows": round(same.rate / theirs.rate, 2),
            "memory_ratio_same_rows": round(same.peak / theirs.peak, 3),
            "largest_difference_of_the_published_model": published_difference(
                few, same.document["model"], same.document["alpha"]
            ),
            "largest_difference_of_40_fits": fits_difference(few),
        }
        print(json.dumps(figures, indent=1))
    if given.json:
        results = {label: asdict(each) for label, each in found.items()}
        given.json.write_text(json.dumps({**figures, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
