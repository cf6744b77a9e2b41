# /// script
# requires-python = ">=3.11"
# dependencies = ["fg-data-profiling==4.20.0", "pyarrow>=20"]
# ///
"""ydata-profiling, today named fg-data-profiling: its report of the rows that it can hold, the first 200,000.

It needs pandas below 3, so it runs in an environment of its own, which `measure.py` makes from the lines above.
"""

from __future__ import annotations

import pyarrow.parquet as pq
from data_profiling import ProfileReport
from work import Clock, arguments, tell

ROWS = 200_000
"""Rows that it is given; of more it takes minutes, and gigabytes for interactions and correlations."""


def main():
    given, clock = arguments(), Clock()
    with clock.stage("read"):
        file = pq.ParquetFile(given.files[0])
        frame = next(file.iter_batches(batch_size=ROWS)).to_pandas()
    with clock.stage("report"):
        page = ProfileReport(frame, title="clicks", progress_bar=False).to_html()
    tell(len(frame), clock, ["fg-data-profiling", "pandas", "numpy"], page_bytes=len(page.encode()))


if __name__ == "__main__":
    main()
