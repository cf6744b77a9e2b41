"""Data on S3 against other ways to read the same bytes, and a fit with all on S3 against local disk.

    python benchmarks/storage.py read DATA s3://bucket/bench       # throughput of projected columns
    python benchmarks/storage.py fit DATA s3://bucket/bench        # data, run and registry on S3 or on disk

DATA is a local folder of Parquet (such as ``headrace sample clicks``); it is copied to the URL unless it is there.
The store is reached as the environment says (AWS_ENDPOINT_URL for a server on this machine). Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow.fs as arrow_fs
import pyarrow.parquet as pq
import s3fs

from headrace.data.dataset import Dataset
from headrace.data.reading import read_chunk

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 4
TIMES = 3
WORKFLOW = """
problem: {{name: clicks, task: classification, target: {target}}}
data: {{url: "{data}"}}
models: [{{name: logistic, estimator: sklearn.linear_model.SGDClassifier}}]
train: {{epochs: 1}}
evaluate: {{bootstrap: 20}}
publish: {{registry: "{registry}"}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["read", "fit"])
    parser.add_argument("data", type=Path)
    parser.add_argument("url")
    parser.add_argument("--columns", type=int, default=8, help="columns that are read")
    parser.add_argument("--target", default="click")
    given = parser.parse_args()
    store = s3fs.S3FileSystem()
    copy(store, given.data, f"{given.url}/data")
    if given.mode == "read":
        result = compare_reads(f"{given.url}/data", given.columns)
    else:
        result = compare_fits(store, given.data, given.url, given.target)
    print(json.dumps(result, indent=1))


def copy(store: s3fs.S3FileSystem, data: Path, url: str) -> None:
    for file in sorted(data.glob("*.parquet")):
        if not store.exists(f"{url}/{file.name}"):
            store.put_file(str(file), f"{url}/{file.name}")


def compare_reads(url: str, count: int) -> dict[str, Any]:
    """Read the same columns in several ways, by turns, and keep the best of each."""
    dataset = Dataset(url)
    columns = dataset.schema.names[:count]
    ranges = column_chunks(url, columns)
    total = sum(end - start for _, start, end in ranges)
    arrow = arrow_fs.S3FileSystem(**arrow_options())
    ways: dict[str, Callable[[], object]] = {
        "headrace, decoded": lambda: read_all(dataset, columns),
        "s3fs, ranges of column chunks in parallel, not decoded": lambda: read_ranges(ranges),
        "arrow's S3 file system, decoded": lambda: read_arrow(arrow, dataset, columns),
    }
    best: dict[str, dict[str, float]] = {}
    for _ in range(TIMES):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            taken = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
            best[name] = min(best.get(name, taken), taken, key=lambda each: each["seconds"])
    for each in best.values():
        each["megabytes_per_second"] = total / each["seconds"] / 1e6
    own, plain, *_ = (each["seconds"] for each in best.values())
    return {
        "rows": dataset.rows,
        "columns": columns,
        "bytes": total,
        "ways": {name: {key: round(value, 3) for key, value in each.items()} for name, each in best.items()},
        "throughput_ratio_to_s3fs": round(plain / own, 3),
    }


def arrow_options() -> dict[str, str]:
    import os

    address = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    return {"endpoint_override": address.netloc, "scheme": address.scheme} if address.netloc else {}


def column_chunks(url: str, columns: list[str]) -> list[tuple[str, int, int]]:
    store = s3fs.S3FileSystem()
    ranges = []
    for path in store.glob(f"{url}/*.parquet"):
        with store.open(path) as file:
            metadata = pq.read_metadata(file)
        for number in range(metadata.num_row_groups):
            for leaf in range(metadata.num_columns):
                column = metadata.row_group(number).column(leaf)
                if column.path_in_schema.split(".")[0] in columns:
                    start = column.dictionary_page_offset or column.data_page_offset
                    ranges.append((path, start, start + column.total_compressed_size))
    return ranges


def read_all(dataset: Dataset, columns: list[str]) -> None:
    def one(chunk: Any) -> int:
        return read_chunk(chunk, dataset.schema, columns, dictionary=True).num_rows

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(one, dataset.chunks)) == dataset.rows


def read_ranges(ranges: list[tuple[str, int, int]]) -> None:
    paths, starts, ends = (list(each) for each in zip(*ranges, strict=True))
    s3fs.S3FileSystem().cat_ranges(paths, starts, ends, on_error="raise")


def read_arrow(filesystem: arrow_fs.S3FileSystem, dataset: Dataset, columns: list[str]) -> None:
    def one(chunk: Any) -> int:
        rows = 0
        for piece in chunk.pieces:
            with pq.ParquetFile(
                piece.path.removeprefix("s3://"), filesystem=filesystem, pre_buffer=True
            ) as file:
                rows += file.read_row_groups(list(piece.row_groups), columns, use_threads=False).num_rows
        return rows

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(one, dataset.chunks)) == dataset.rows


def compare_fits(store: s3fs.S3FileSystem, data: Path, url: str, target: str) -> dict[str, Any]:
    """Run one workflow with everything on disk, and with data, run and registry on S3."""
    place = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
    seconds, models = {}, {}
    try:
        for name, source, base in (
            ("disk", str(data.resolve()), str(place)),
            ("s3", f"{url}/data", f"{url}/{place.name}"),
        ):
            file = place / f"{name}.yaml"
            file.write_text(WORKFLOW.format(target=target, data=source, registry=f"{base}/registry"))
            command = [sys.executable, "-m", "headrace", "run", str(file), "--run", f"{base}/run", "--json"]
            started = time.perf_counter()
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds[name] = round(time.perf_counter() - started, 2)
            models[name] = json.loads(done.stdout)["model_sha256"]
    finally:
        shutil.rmtree(place)
        if store.exists(f"{url}/{place.name}"):
            store.rm(f"{url}/{place.name}", recursive=True)
    return {
        "seconds": seconds,
        "ratio": round(seconds["s3"] / seconds["disk"], 3),
        "same_model": models["disk"] == models["s3"],
    }


if __name__ == "__main__":
    main()
