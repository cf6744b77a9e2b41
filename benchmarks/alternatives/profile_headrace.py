"""headrace: every statistic of a profile."""

from __future__ import annotations

from work import Clock, arguments, tell, wake

from headrace.cluster.config import ClusterFile
from headrace.data.dataset import Dataset
from headrace.profiling.measure import profile_dataset


def main():
    given, clock = arguments(), Clock()
    cluster = ClusterFile(workers=given.workers, memory=given.memory, processes=False)
    with cluster.connect() as client:
        wake(client)
        with clock.stage("profile"):
            dataset = Dataset(str(given.data), memory=cluster.process_memory)
            profile = profile_dataset(client, dataset).whole
    sketches = [column.overall.quantiles for column in profile.columns.values()]
    error = max(sketch.rank_error for sketch in sketches if sketch is not None)
    tell(profile.rows, clock, ["headrace", "dask", "pyarrow", "numpy"], rank_error=error)


if __name__ == "__main__":
    main()
