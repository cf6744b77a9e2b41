# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "dask-ml==2024.4.4", "dask==2024.4.1", "distributed==2024.4.1", "scikit-learn==1.4.2", "numpy==1.26.4",
#   "pandas==2.2.3", "scipy==1.13.1", "pyarrow==16.1.0",
# ]
# ///
"""dask-ml: HyperbandSearchCV around SGDClassifier, on the stack of spring 2024 that the lines above pin.

On today's stack (dask-ml 2025.1.0, dask and distributed 2026.8.0) `fit` ends before it has read a row: its coroutine calls
`dask.persist`, and Dask refuses: "Attempting to use an asynchronous Client in a synchronous context". So it runs in an
environment of its own, which `measure.py` makes.
"""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pyarrow.parquet as pq
from dask_ml.model_selection import HyperbandSearchCV
from distributed import Client, LocalCluster
from hyperband_work import ALPHA, CALLS, CANDIDATES, ETA, ETA0, FIXED, JUDGED
from scipy.stats import loguniform
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score
from trees_work import test_from
from work import NUMERIC, TARGET, Clock, arguments, tell


def load(path, group):
    table = pq.ParquetFile(path).read_row_group(group, columns=[*NUMERIC, "time", TARGET])
    X = np.column_stack([table[name].to_numpy() for name in NUMERIC]).astype(np.float32)
    return X, table[TARGET].to_numpy(), table["time"].to_numpy()


def main():
    given, clock = arguments(), Clock()
    begin = np.datetime64(test_from(given.files))
    with (
        LocalCluster(
            n_workers=given.workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        with clock.stage("prepare"):
            groups = [
                (path, group) for path in given.files for group in range(pq.ParquetFile(path).num_row_groups)
            ]
            parts = [dask.delayed(load, nout=3)(*each) for each in groups]
            counts = [pq.ParquetFile(path).metadata.row_group(group).num_rows for path, group in groups]
            X = da.concatenate(
                [
                    da.from_delayed(part[0], (count, len(NUMERIC)), np.float32)
                    for part, count in zip(parts, counts, strict=True)
                ]
            )
            y, times = (
                da.concatenate(
                    [
                        da.from_delayed(part[place], (count,), kind)
                        for part, count in zip(parts, counts, strict=True)
                    ]
                )
                for place, kind in ((1, np.int8), (2, "datetime64[ms]"))
            )
            early = int((times < begin).sum().compute())  # rows come in the order of time
            mean, std = dask.compute(da.nanmean(X[:early], axis=0), da.nanstd(X[:early], axis=0))
            X = da.nan_to_num((X - mean) / std).astype(np.float32)
            block = -(-early * (1 - JUDGED) // CALLS)
            learnt, truth = X[:early].rechunk((int(block), -1)), y[:early].rechunk(int(block))
        with clock.stage("search"):
            search = HyperbandSearchCV(
                SGDClassifier(**FIXED),
                {"alpha": loguniform(*ALPHA), "eta0": loguniform(*ETA0)},
                max_iter=CALLS,
                aggressiveness=ETA,
                test_size=JUDGED,
                scoring="roc_auc",
                random_state=0,
            ).fit(learnt, truth, classes=[0, 1])
        auc = roc_auc_score(
            y[early:].compute(), search.best_estimator_.predict_proba(X[early:].compute())[:, 1]
        )
    assert search.metadata_["n_models"] == CANDIDATES
    tell(
        sum(counts),
        clock,
        ["dask-ml", "dask", "scikit-learn", "numpy"],
        auc=float(auc),
        candidates=search.metadata_["n_models"],
        rows_learnt=int(search.metadata_["partial_fit_calls"] * block),
        rows_read=2 * sum(counts),
    )


if __name__ == "__main__":
    main()
