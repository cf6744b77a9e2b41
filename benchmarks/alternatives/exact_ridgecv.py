"""scikit-learn: RidgeCV of the same penalties and as many folds on rows in memory, which are scaled before its clock starts."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
from exact_work import ALPHAS, COLUMNS, FOLDS, TARGET
from joblib import parallel_config
from sklearn.linear_model import RidgeCV
from work import Clock, arguments, tell


def read(files):
    """Read all rows into one array, file by file."""
    rows = sum(pq.ParquetFile(path).metadata.num_rows for path in files)
    X, y, start = np.empty((rows, len(COLUMNS))), np.empty(rows), 0
    for path in files:
        table = pq.read_table(path, columns=[*COLUMNS, TARGET])
        end = start + len(table)
        for place, name in enumerate(COLUMNS):
            X[start:end, place] = table[name].to_numpy()
        y[start:end], start = table[TARGET].to_numpy(), end
    return X, y


def main():
    given, clock = arguments(), Clock()
    X, y = read(given.files)
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    # RidgeCV has no n_jobs of its own; threads share the rows, and two of BLAS would be slower than two fits at a time.
    with clock.stage("fit"), parallel_config("threading", n_jobs=given.workers):
        model = RidgeCV(alphas=ALPHAS, cv=FOLDS).fit(X, y)
    tell(len(y), clock, ["scikit-learn", "pyarrow", "numpy"], fits=len(ALPHAS) * FOLDS, alpha=model.alpha_)


if __name__ == "__main__":
    main()
