"""Data on a real S3 server on this machine: reading against other ways, and whole runs against local disk.

    PYTHONPATH=. python benchmarks/storage.py read data/bench-2000000     # ranges of columns, several ways
    PYTHONPATH=. python benchmarks/storage.py run data/bench-2000000      # profile to monitor, all on S3 or all on disk
    PYTHONPATH=. python benchmarks/storage.py run data/flights --workflow examples/flights/workflow.yaml

The server (SeaweedFS, as the tests start it) is started for the command and its data are thrown away. What is compared
takes turns; medians count. The server has the same cores as what asks it, so seconds of processor are told as well, those of
the client and, of runs, those of the server. Figures go to ``docs/benchmarks/storage.json`` after each turn, one entry a mode
and data.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import fsspec
import psutil
import pyarrow.fs as arrow_fs
import pyarrow.parquet as pq
import yaml
from tests.servers import s3_running

from headrace.data.dataset import Dataset
from headrace.data.footers import leaf_spans
from headrace.data.parquetfiles import require_same
from headrace.data.ranges import RangesFile, coalesced, column_ranges, fetch
from headrace.data.reading import read_chunk
from headrace.data.storage import join, open_filesystem
from run import ROOT, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from headrace.data.chunks import Chunk, Piece

    Taken = dict[str, dict[str, float]]

OUT = ROOT / "docs" / "benchmarks" / "storage.json"
THREADS = 4
COLUMNS = 8
"""Columns of the narrow read; the other takes all."""
CLICKS = """
problem: {name: bench, task: classification, target: click}
data: {drop: [time], split: {kind: random, test: 0.01, validation: 0.01}}
models: [{name: logistic, estimator: sklearn.linear_model.SGDClassifier}]
train: {epochs: 1}
evaluate: {bootstrap: 20}
publish: {}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["read", "run"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--times", type=int, default=3, help="repeats of each way")
    parser.add_argument("--workflow", type=Path, help="of a run; default: one logistic regression of clicks")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        place = Path(name)
        (place / "s3").mkdir()
        with s3_running(place / "s3") as store:
            os.environ.update(store.environment)
            url = f"{store.url}/data"
            fsspec.filesystem("s3").put(f"{given.data.resolve()}/", url, recursive=True)
            if given.mode == "read":
                record(given, compare_reads(url, given.times), given.times)
            else:
                text = given.workflow.read_text() if given.workflow else CLICKS
                results = compare_runs(given.data, store.url, place, yaml.safe_load(text), given.times)
                for turn, result in enumerate(results, 1):
                    record(given, result, turn)


def record(given: argparse.Namespace, result: dict[str, Any], times: int) -> None:
    """Print what was measured and write it down, in the place of what was known of this mode and data."""
    known = json.loads(OUT.read_text()) if OUT.exists() else {}
    known[f"{given.mode} {given.data.name}"] = {"machine": machine(), "times": times, **result}
    OUT.write_text(json.dumps(known, indent=1) + "\n")
    print(json.dumps(result, indent=1), flush=True)


def compare_reads(url: str, times: int) -> dict[str, Any]:
    """Read the same bytes of the same chunks with the same threads in several ways, some columns and all."""
    dataset = Dataset(url)
    filesystem, _ = open_filesystem(url)
    address = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    arrow = arrow_fs.S3FileSystem(endpoint_override=address.netloc, scheme=address.scheme)
    results = {}
    for columns in (dataset.schema.names[:COLUMNS], dataset.schema.names):
        spans = {piece: spans_of(piece, columns) for chunk in dataset.chunks for piece in chunk.pieces}
        ways: dict[str, Callable[[Chunk], int]] = {
            "s3fs": partial(by_s3fs, filesystem, spans),
            "headrace": partial(by_headrace, filesystem, spans),
            "arrow": partial(by_arrow, arrow, spans),
            "s3fs, decoded": partial(decoded_by_s3fs, filesystem, spans, columns),
            "headrace, decoded": partial(decoded, dataset, columns),
            "arrow, decoded": partial(decoded_by_arrow, arrow, columns),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(times):
            for name, way in ways.items():
                wall, cpu = time.perf_counter(), time.process_time()
                with ThreadPoolExecutor(THREADS) as pool:
                    sizes = list(pool.map(way, dataset.chunks))
                taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
                expected = dataset.rows if "decoded" in name else total(spans)
                assert sum(sizes) == expected, f"{name} read {sum(sizes)} of {expected}"
        results[f"{len(columns)} columns"] = {
            "megabytes": round(total(spans) / 1e6, 1),
            **rates(taken, total(spans)),
        }
    return {"rows": dataset.rows, "chunks": len(dataset.chunks), "threads": THREADS, **results}


def rates(taken: dict[str, list[tuple[float, float]]], size: int) -> dict[str, Any]:
    """Medians of each way, and of the ratios within one turn."""
    ways = {
        name: {
            "megabytes_per_second": round(size / 1e6 / statistics.median(wall for wall, _ in turns), 1),
            "processor_ms_per_megabyte": round(statistics.median(cpu for _, cpu in turns) * 1e9 / size, 3),
        }
        for name, turns in taken.items()
    }

    def against_s3fs(name: str) -> float:
        plain = "s3fs, decoded" if "decoded" in name else "s3fs"
        pairs = zip(taken[plain], taken[name], strict=True)
        return round(statistics.median(base / own for (base, _), (own, _) in pairs), 3)

    return {"ways": ways, "throughput_against_s3fs": {name: against_s3fs(name) for name in ways}}


@lru_cache
def footer_of(url: str) -> pq.FileMetaData:
    filesystem, path = open_filesystem(url)
    with filesystem.open(path) as file:
        return pq.read_metadata(file)


def spans_of(piece: Piece, columns: Sequence[str]) -> list[tuple[int, int]]:
    """Say which ranges of a file hold some columns of a piece, joined where they are near."""
    metadata = footer_of(piece.path)
    held = leaf_spans(metadata.schema.to_arrow_schema())
    leaves = [leaf for name in columns for leaf in range(*held[name].indices(metadata.num_columns))]
    return coalesced(column_ranges(metadata, piece.row_groups, leaves), piece.size)


def total(spans: dict[Piece, list[tuple[int, int]]]) -> int:
    return sum(end - start for each in spans.values() for start, end in each)


def parts_by_s3fs(filesystem: Any, piece: Piece, spans: list[tuple[int, int]]) -> list[bytes]:
    starts, ends = zip(*spans, strict=True)
    paths = [piece.path.removeprefix("s3://")] * len(spans)
    parts: list[bytes] = filesystem.cat_ranges(paths, list(starts), list(ends), on_error="raise")
    return parts


def by_s3fs(filesystem: Any, spans: dict[Piece, list[tuple[int, int]]], chunk: Chunk) -> int:
    pieces = chunk.pieces
    return sum(len(part) for each in pieces for part in parts_by_s3fs(filesystem, each, spans[each]))


def by_headrace(filesystem: Any, spans: dict[Piece, list[tuple[int, int]]], chunk: Chunk) -> int:
    size = 0
    for piece in chunk.pieces:
        path, same = piece.path.removeprefix("s3://"), partial(require_same, piece)
        size += sum(map(len, fetch(filesystem, path, spans[piece], stamp=piece.stamp, require_same=same)))
    return size


def by_arrow(filesystem: Any, spans: dict[Piece, list[tuple[int, int]]], chunk: Chunk) -> int:
    size = 0
    for piece in chunk.pieces:
        with (
            filesystem.open_input_file(piece.path.removeprefix("s3://")) as file,
            ThreadPoolExecutor(len(spans[piece])) as pool,
        ):
            parts = pool.map(
                lambda span, file=file: len(file.read_at(span[1] - span[0], span[0])), spans[piece]
            )
            size += sum(parts)
    return size


def decoded_by_s3fs(
    filesystem: Any, spans: dict[Piece, list[tuple[int, int]]], columns: Sequence[str], chunk: Chunk
) -> int:
    rows = 0
    for piece in chunk.pieces:
        file = RangesFile(spans[piece], parts_by_s3fs(filesystem, piece, spans[piece]), piece.size)
        parquet = pq.ParquetFile(file, metadata=footer_of(piece.path))
        rows += parquet.read_row_groups(list(piece.row_groups), list(columns), use_threads=False).num_rows
    return rows


def decoded(dataset: Dataset, columns: Sequence[str], chunk: Chunk) -> int:
    return read_chunk(chunk, dataset.schema, columns, dictionary=True).num_rows


def decoded_by_arrow(filesystem: Any, columns: Sequence[str], chunk: Chunk) -> int:
    rows = 0
    for piece in chunk.pieces:
        path = piece.path.removeprefix("s3://")
        with pq.ParquetFile(path, filesystem=filesystem, pre_buffer=True) as file:
            rows += file.read_row_groups(list(piece.row_groups), list(columns), use_threads=False).num_rows
    return rows


def compare_runs(
    data: Path, store: str, place: Path, workflow: dict[str, Any], times: int
) -> Iterator[dict[str, Any]]:
    """From profile to monitor with data, run, registry, scores and monitor store on disk, and all of them on S3.

    Gives what is known after each turn.
    """
    turns: dict[str, list[Taken]] = {"disk": [], "s3": []}
    models = set()
    rows = Dataset(str(data)).rows
    for turn in range(times):
        for name, source, base in (
            ("disk", str(data.resolve()), f"{place}/{turn}"),
            ("s3", f"{store}/data", f"{store}/{turn}"),
        ):
            workflow["data"]["url"], workflow["publish"]["registry"] = source, join(base, "registry")
            file = place / f"{name}.yaml"
            file.write_text(yaml.safe_dump(workflow))
            taken, sha256 = one_run(str(file), workflow["problem"]["name"], source, base)
            turns[name].append(taken)
            print(name, json.dumps(taken), file=sys.stderr, flush=True)
            models.add(sha256)
        ratios = [against(s3, disk) for s3, disk in zip(turns["s3"], turns["disk"], strict=True)]
        medians = {name: median_of(every, 2) for name, every in turns.items()}
        yield {
            "rows": rows,
            **medians,
            "s3_against_disk": median_of(ratios, 3),
            "same_model": len(models) == 1,
        }


def against(s3: Taken, disk: Taken) -> Taken:
    """Divide what one turn took there by what it took here."""
    keys = ("seconds", "processor_seconds")
    return {step: {key: s3[step][key] / disk[step][key] for key in keys} for step in disk}


def median_of(turns: list[Taken], digits: int) -> Taken:
    """Medians over all turns, of each step and quantity."""
    return {
        step: {key: round(statistics.median(turn[step][key] for turn in turns), digits) for key in taken}
        for step, taken in turns[0].items()
    }


def one_run(workflow: str, name: str, data: str, base: str) -> tuple[Taken, str]:
    """Run, promote, score and watch; what each took, and the hash of the model."""
    registry, monitor, scores = join(base, "registry"), join(base, "monitor"), join(base, "scores")
    model = [f"{name}@watched", "--registry", registry]
    steps = {
        "run": ["run", workflow, "--run", join(base, "run"), "--json"],
        "promote": ["models", "promote", f"{name}@1", "--alias", "watched", "--registry", registry],
        "score": ["score", model[0], data, scores, *model[1:]],
        "monitor": [
            "monitor",
            "ingest",
            model[0],
            join(scores, "_profile.json"),
            "--store",
            monitor,
            *model[1:],
        ],
        "report": ["monitor", "report", model[0], "--store", monitor, *model[1:], "--json"],
    }
    taken, said = {}, {}
    for step, command in steps.items():
        wall, cpu, server = time.perf_counter(), of_children(), of_server()
        done = subprocess.run(
            [sys.executable, "-m", "headrace", *command], check=True, stdout=subprocess.PIPE, text=True
        )
        taken[step] = {
            "seconds": time.perf_counter() - wall,
            "processor_seconds": of_children() - cpu,
            "server_processor_seconds": of_server() - server,
        }
        said[step] = done.stdout
    assert json.loads(said["report"]), "the report has what was scored"
    return taken, json.loads(said["run"])["model_sha256"]


def of_children() -> float:
    """Seconds of processor of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def of_server() -> float:
    """Seconds of processor of the server: between two commands, this process has no other child."""
    times = [child.cpu_times() for child in psutil.Process().children()]
    return float(sum(each.user + each.system for each in times))


if __name__ == "__main__":
    main()
