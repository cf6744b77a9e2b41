"""XGBoost in memory: all rows at once as a QuantileDMatrix, words as codes; no limit of memory."""

from __future__ import annotations

import os
import sys

# Read when OpenMP is loaded; `nthread` alone does not raise it.
os.environ["OMP_NUM_THREADS"] = sys.argv[sys.argv.index("--workers") + 1]

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost
from sklearn.metrics import roc_auc_score
from trees_work import DEPTH, ROUNDS, test_from
from work import NUMERIC, TARGET, TEXT, Clock, arguments, tell

TYPES = ["q"] * len(NUMERIC) + ["c"] * len(TEXT)


def matrix(table, words):
    columns = [table[name].to_numpy().astype(np.float32) for name in NUMERIC]
    for name in TEXT:
        codes = pc.index_in(table[name].cast("string"), words[name])
        columns.append(codes.to_numpy().astype(np.float32))
    return np.column_stack(columns)


def main():
    given, clock = arguments(), Clock()
    columns = [*NUMERIC, *TEXT, "time", TARGET]
    with clock.stage("read"):
        table = pq.read_table(given.files, columns=columns, read_dictionary=list(TEXT))
        rows = len(table)
        words = {name: pc.unique(table[name].cast("string")) for name in TEXT}
        late = pc.greater_equal(table["time"], test_from(given.files)).to_numpy()
        X, y = matrix(table, words), table[TARGET].to_numpy()
        del table
    with clock.stage("train"):
        train = xgboost.QuantileDMatrix(
            X[~late], y[~late], feature_types=TYPES, enable_categorical=True, nthread=given.workers
        )
        params = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": given.workers}
        booster = xgboost.train(params, train, ROUNDS)
    test = xgboost.DMatrix(X[late], feature_types=TYPES, enable_categorical=True, nthread=given.workers)
    auc = float(roc_auc_score(y[late], booster.predict(test)))
    tell(rows, clock, ["xgboost", "pyarrow", "scikit-learn"], auc=auc)


if __name__ == "__main__":
    main()
