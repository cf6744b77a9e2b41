"""Does LightGBM grow trees from more rows than memory holds? Its peak by rows, beside XGBoost's external memory.

    pip install lightgbm
    python benchmarks/boosters.py [--columns 40] [--rows 500000 1000000 2000000]

Both read float32 rows from a file, some thousand at a time, and never see it whole: LightGBM by `lightgbm.Sequence`, XGBoost by the
iterator of `ExtMemQuantileDMatrix`. Each runs alone in its own process; what counts is its anonymous memory, for pages of files
can be dropped. `docs/decisions/0046-no-lightgbm.md` has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

BATCH = 8192
ROUNDS = 5


class Watch(threading.Thread):
    """Looks every few milliseconds how much anonymous memory this process holds."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0

    def run(self):
        while True:
            words = Path("/proc/self/status").read_text().split()
            self.peak = max(self.peak, int(words[words.index("RssAnon:") + 1]))
            time.sleep(0.02)


def write(path, rows, columns):
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, BATCH):
            rng.normal(size=(min(BATCH, rows - start), columns)).astype(np.float32).tofile(file)


def read(file, columns, start, stop):
    held = os.pread(file.fileno(), 4 * columns * (stop - start), 4 * columns * start)
    return np.frombuffer(held, np.float32).reshape(stop - start, columns)


def labels(rows):
    return (np.random.default_rng(1).random(rows) > 0.5).astype(np.float32)


def by_lightgbm(path, rows, columns):
    import lightgbm

    with path.open("rb") as file:

        class Rows(lightgbm.Sequence):
            batch_size = BATCH

            def __getitem__(self, index):
                if isinstance(index, slice):
                    return read(file, columns, index.start, index.stop).astype(np.float64)
                return read(file, columns, index, index + 1)[0].astype(np.float64)

            def __len__(self):
                return rows

        params = {"objective": "binary", "num_leaves": 63, "max_bin": 255, "verbose": -1, "num_threads": 2}
        data = lightgbm.Dataset(
            Rows(), labels(rows), params={**params, "bin_construct_sample_cnt": 20_000}, free_raw_data=True
        )
        lightgbm.train(params, data, ROUNDS)


def by_xgboost(path, rows, columns):
    import xgboost

    y = labels(rows)
    with path.open("rb") as file, tempfile.TemporaryDirectory() as place:

        class Batches(xgboost.DataIter):
            def __init__(self):
                self.start = 0
                super().__init__(cache_prefix=f"{place}/cache", release_data=True)

            def reset(self):
                self.start = 0

            def next(self, input_data):
                if self.start >= rows:
                    return False
                stop = min(self.start + 16 * BATCH, rows)
                input_data(data=read(file, columns, self.start, stop), label=y[self.start : stop])
                self.start = stop
                return True

        data = xgboost.ExtMemQuantileDMatrix(Batches(), max_bin=256, nthread=2)
        params = {"objective": "binary:logistic", "max_depth": 6, "tree_method": "hist", "nthread": 2}
        xgboost.train(params, data, ROUNDS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 1_000_000, 2_000_000])
    parser.add_argument("--one", nargs=2, help="a library and a file: what each process is asked for")
    given = parser.parse_args()
    if given.one:
        library, path = given.one
        watch = Watch()
        watch.start()
        started = time.perf_counter()
        {"lightgbm": by_lightgbm, "xgboost": by_xgboost}[library](Path(path), given.rows[0], given.columns)
        seconds = time.perf_counter() - started
        time.sleep(0.05)
        print(json.dumps({"mib": round(watch.peak / 1024), "seconds": round(seconds, 1)}))
        return
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "rows"
            write(path, rows, given.columns)
            for library in ("lightgbm", "xgboost"):
                arguments = [
                    "--columns",
                    str(given.columns),
                    "--rows",
                    str(rows),
                    "--one",
                    library,
                    str(path),
                ]
                done = subprocess.run(
                    [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True
                )
                said = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{rows:10,} rows  {library:9} {said['mib']:6,} MiB  {said['seconds']:6.1f} s", flush=True
                )


if __name__ == "__main__":
    main()
