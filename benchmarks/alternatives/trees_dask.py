"""xgboost.dask: the same trees on a LocalCluster whose workers are held to the same memory.

All rows stand on the workers before XGBoost begins, so of many rows their memory may not do. Dask then ends a worker or
pauses it for good, and XGBoost waits for it without end; hence the watch, which ends the program with the reason.
"""

from __future__ import annotations

import _thread
import sys
import threading
import time
from contextlib import contextmanager

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import xgboost.dask
from distributed import Client, LocalCluster, Status
from sklearn.metrics import roc_auc_score
from trees_work import DEPTH, ROUNDS, test_from
from work import NUMERIC, TARGET, TEXT, Clock, arguments, tell

PAUSED = 60.0
"""Seconds after which a worker that takes no work, because its memory is full, is taken to be stuck."""


@contextmanager
def watch(cluster, memory):
    """End the program when a worker is lost or stays paused."""
    known, ended, reasons = set(cluster.scheduler.workers), threading.Event(), []

    def look():
        since = time.monotonic()
        while not ended.wait(1.0):
            now = dict(cluster.scheduler.workers)
            if not any(worker.status is Status.paused for worker in now.values()):
                since = time.monotonic()
            if known - set(now):
                reasons.append(f"a worker went over its memory of {memory} and was ended by Dask")
            elif time.monotonic() - since > PAUSED:
                reasons.append(f"a worker's memory of {memory} is full, and Dask gives it no more work")
            if reasons:
                _thread.interrupt_main()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        if not reasons:
            raise
    finally:
        ended.set()
        thread.join()
    if reasons:
        sys.exit(f"{reasons[0]}: xgboost.dask needs all rows there at once")


def grow(given, client, clock):
    with clock.stage("train"):
        frame = dd.read_parquet(given.files, columns=[*NUMERIC, *TEXT, "time", TARGET])
        # `categorize` fails on a frame read from Parquet (dask 2026.8): the words are looked up column by column.
        words = dask.compute(*(frame[name].unique(split_out=1) for name in TEXT))
        kinds = {name: pd.CategoricalDtype(sorted(found)) for name, found in zip(TEXT, words, strict=True)}
        frame = frame.astype(kinds)
        frame[list(NUMERIC)] = frame[list(NUMERIC)].astype(np.float32)
        late = frame["time"] >= pd.Timestamp(test_from(given.files))
        # Else features and target are read in different partitions, which XGBoost refuses.
        features = [*NUMERIC, *TEXT]
        learnt = frame.loc[~late, [*features, TARGET]].persist()
        train = xgboost.dask.DaskQuantileDMatrix(
            client, learnt[features], learnt[TARGET], enable_categorical=True
        )
        params = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1}
        grown = xgboost.dask.train(client, params, train, num_boost_round=ROUNDS)
    del train, learnt
    test = frame[late]
    said = xgboost.dask.inplace_predict(client, grown["booster"], test[features]).compute()
    return len(frame), float(roc_auc_score(test[TARGET].compute(), said))


def main():
    given, clock = arguments(), Clock()
    dask.config.set({"distributed.comm.retry.count": 0, "distributed.scheduler.allowed-failures": 1})
    with (
        LocalCluster(
            n_workers=given.workers, threads_per_worker=1, memory_limit=given.memory, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
        watch(cluster, given.memory),
    ):
        rows, auc = grow(given, client, clock)
    tell(rows, clock, ["xgboost", "dask", "pandas"], auc=auc, memory=given.memory)


if __name__ == "__main__":
    main()
