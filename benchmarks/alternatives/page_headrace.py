"""headrace: the page of all rows, with pairs, trends and what is missing together."""

from __future__ import annotations

from work import Clock, arguments, tell, wake

from headrace.cluster.config import ClusterFile
from headrace.data.dataset import Dataset
from headrace.profiling.exploration import Exploration, finders_for
from headrace.profiling.measure import profile_dataset
from headrace.report import render_profile


def main():
    given, clock = arguments(), Clock()
    cluster = ClusterFile(workers=given.workers, memory=given.memory, processes=False)
    with cluster.connect() as client:
        wake(client)
        with clock.stage("measure"):
            dataset = Dataset(str(given.data), memory=cluster.process_memory)
            finders = finders_for(dataset.schema, rows=dataset.rows, target="click")
            survey = profile_dataset(client, dataset, target="click", finders=finders)
    with clock.stage("draw"):
        page = render_profile(survey.whole, Exploration.of(survey.findings, finders), title="clicks")
    tell(dataset.rows, clock, ["headrace", "dask", "pyarrow", "numpy"], page_bytes=len(page.encode()))


if __name__ == "__main__":
    main()
