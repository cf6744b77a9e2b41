"""dask-ml: its imputer, scaler and encoders, then Incremental around the same SGDClassifier.

Every part is one that works with current Dask: text is categorised before it is encoded, the frame comes from `from_map`
(one from `read_parquet` merges row groups after projection, and Incremental then ends with lost dependencies), and the blocks
are persisted, for Incremental asks for them by key.
"""

from __future__ import annotations

import dask
import dask.array as da
import dask.dataframe as dd
import pyarrow.parquet as pq
from dask_ml.impute import SimpleImputer
from dask_ml.preprocessing import Categorizer, OneHotEncoder, StandardScaler
from dask_ml.wrappers import Incremental
from distributed import Client, LocalCluster, wait
from sklearn.linear_model import SGDClassifier
from work import ALPHA, NUMERIC, TARGET, TEXT, Clock, arguments, tell


def load(job):
    path, group = job
    return pq.ParquetFile(path).read_row_group(group, columns=[*NUMERIC, *TEXT, TARGET]).to_pandas()


def main():
    given, clock = arguments(), Clock()
    with (
        LocalCluster(
            n_workers=given.workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        numbers, texts = list(NUMERIC), list(TEXT)
        with clock.stage("prepare"):
            files = [(path, pq.ParquetFile(path).metadata) for path in given.files]
            lengths = tuple(
                file.row_group(group).num_rows for _, file in files for group in range(file.num_row_groups)
            )
            jobs = [(path, group) for path, file in files for group in range(file.num_row_groups)]
            frame = dd.from_map(load, jobs, meta=load(jobs[0]).head(0))
            filled = SimpleImputer().fit_transform(frame[numbers])
            scaled = StandardScaler().fit_transform(filled).astype("float32").to_dask_array(lengths=lengths)
            hot = OneHotEncoder(sparse_output=False).fit_transform(Categorizer().fit_transform(frame[texts]))
            x = da.concatenate([scaled, hot.to_dask_array(lengths=lengths)], axis=1).rechunk({1: -1})
            x, y = dask.persist(x, frame[TARGET].to_dask_array(lengths=lengths))
            wait([x, y])
        with clock.stage("fit"):
            model = Incremental(
                SGDClassifier(loss="log_loss", alpha=ALPHA, random_state=0), shuffle_blocks=False
            )
            model.fit(x, y, classes=[0, 1])
    tell(sum(lengths), clock, ["dask-ml", "dask", "scikit-learn", "pandas"])


if __name__ == "__main__":
    main()
