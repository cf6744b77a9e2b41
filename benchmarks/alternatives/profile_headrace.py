"""headrace: every statistic of a profile."""

from __future__ import annotations

from work import Clock, arguments, tell

from headrace.cluster.config import ClusterFile
from headrace.data.dataset import Dataset
from headrace.profiling.measure import profile_dataset


def main():
    given, clock = arguments(), Clock()
    cluster = ClusterFile(workers=given.workers, memory=given.memory, processes=False)
    with cluster.connect() as client:
        for address in client.scheduler_info(n_workers=-1)["workers"]:
            client.submit(_loaded, workers=[address], pure=False).result()
        with clock.stage("profile"):
            dataset = Dataset(str(given.data), memory=cluster.process_memory)
            profile = profile_dataset(client, dataset).whole
    sketches = [column.overall.quantiles for column in profile.columns.values()]
    error = max(sketch.rank_error for sketch in sketches if sketch is not None)
    tell(profile.rows, clock, ["headrace", "dask", "pyarrow", "numpy"], rank_error=error)


def _loaded():
    """Come after what a worker loads when it starts; the alternatives' imports are not counted either."""
    return True


if __name__ == "__main__":
    main()
