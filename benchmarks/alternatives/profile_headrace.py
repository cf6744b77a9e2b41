"""headrace: every statistic of a profile."""

from __future__ import annotations

from work import Clock, arguments, tell

from headrace.cluster.config import ClusterFile
from headrace.data.dataset import Dataset
from headrace.profiling.measure import profile_dataset


def main():
    given, clock = arguments(), Clock()
    cluster = ClusterFile(workers=given.workers, memory=given.memory)
    with cluster.connect() as client:
        client.run(_import)
        with clock.stage("profile"):
            dataset = Dataset(str(given.data), memory=cluster.process_memory)
            profile = profile_dataset(client, dataset)
    sketches = [column.overall.quantiles for column in profile.columns.values()]
    error = max(sketch.rank_error for sketch in sketches if sketch is not None)
    tell(profile.rows, clock, ["headrace", "dask", "pyarrow", "numpy"], rank_error=error)


def _import():
    """Load on a worker what its first task would load; the alternatives' imports are not counted either."""
    import headrace.data.reading
    import headrace.profiling.profile  # noqa: F401 loaded for its effect


if __name__ == "__main__":
    main()
