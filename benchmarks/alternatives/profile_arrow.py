"""Bare decoding by Arrow, text as dictionaries, one thread a worker: what no profile can be faster than."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
from work import TEXT, Clock, arguments, tell


def decode(job):
    path, group = job
    return pq.ParquetFile(path, read_dictionary=list(TEXT)).read_row_group(group, use_threads=False).num_rows


def main():
    given, clock = arguments(), Clock()
    pa.set_cpu_count(1)
    with clock.stage("decode"), ThreadPoolExecutor(given.workers) as pool:
        groups = (
            (path, group) for path in given.files for group in range(pq.ParquetFile(path).num_row_groups)
        )
        rows = sum(pool.map(decode, groups))
    tell(rows, clock, ["pyarrow"])


if __name__ == "__main__":
    main()
