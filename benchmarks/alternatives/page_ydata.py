"""ydata-profiling: its report of the rows that it can hold, the first 200,000."""

from __future__ import annotations

import pyarrow.parquet as pq
from work import Clock, arguments, tell
from ydata_profiling import ProfileReport

ROWS = 200_000
"""Rows that it is given; of more it takes minutes, and gigabytes for interactions and correlations."""


def main():
    given, clock = arguments(), Clock()
    with clock.stage("read"):
        file = pq.ParquetFile(given.files[0])
        frame = next(file.iter_batches(batch_size=ROWS)).to_pandas()
    with clock.stage("report"):
        page = ProfileReport(frame, title="clicks", progress_bar=False).to_html()
    tell(len(frame), clock, ["ydata-profiling", "pandas", "numpy"], page_bytes=len(page.encode()))


if __name__ == "__main__":
    main()
