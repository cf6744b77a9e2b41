"""xgboost.dask: the same trees on a LocalCluster whose workers are held to the same memory."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import xgboost.dask
from distributed import Client, LocalCluster
from sklearn.metrics import roc_auc_score
from trees_work import DEPTH, ROUNDS, test_from
from work import NUMERIC, TARGET, TEXT, Clock, arguments, tell


def main():
    given, clock = arguments(), Clock()
    dask.config.set({"distributed.comm.retry.count": 0, "distributed.scheduler.allowed-failures": 1})
    with (
        LocalCluster(
            n_workers=given.workers, threads_per_worker=1, memory_limit=given.memory, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        with clock.stage("train"):
            frame = dd.read_parquet(given.files, columns=[*NUMERIC, *TEXT, "time", TARGET])
            # `categorize` fails on a frame read from Parquet (dask 2026.8): the words are looked up column by column.
            words = dask.compute(*(frame[name].unique() for name in TEXT))
            kinds = {
                name: pd.CategoricalDtype(sorted(found)) for name, found in zip(TEXT, words, strict=True)
            }
            frame = frame.astype(kinds)
            frame[list(NUMERIC)] = frame[list(NUMERIC)].astype(np.float32)
            late = frame["time"] >= pd.Timestamp(test_from(given.files))
            # Else features and target are read in different partitions, which XGBoost refuses.
            learnt = frame[~late].persist()
            features = [*NUMERIC, *TEXT]
            train = xgboost.dask.DaskQuantileDMatrix(
                client, learnt[features], learnt[TARGET], enable_categorical=True
            )
            params = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1}
            grown = xgboost.dask.train(client, params, train, num_boost_round=ROUNDS)
        test = frame[late]
        said = xgboost.dask.inplace_predict(client, grown["booster"], test[features]).compute()
        auc = float(roc_auc_score(test[TARGET].compute(), said))
        rows = len(frame)
    tell(rows, clock, ["xgboost", "dask", "pandas"], auc=auc, memory=given.memory)


if __name__ == "__main__":
    main()
