"""A CSV ingested in a process held to 1 GiB, beside plain pyarrow.csv streaming to Parquet: python benchmarks/ingest.py.

Both run alone in their own process, in turn, three times each, on the same generated file; the ratio is of the medians, of wall
time and of user CPU time. The limit is RLIMIT_DATA, which the kernel holds a process's own memory to.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.csv

LIMIT = 1 << 30
REPEATS = 3
PLAIN = """
import sys, pyarrow.csv as csv, pyarrow.parquet as pq
with csv.open_csv(sys.argv[1]) as reader, pq.ParquetWriter(sys.argv[2], reader.schema) as writer:
    for batch in reader:
        writer.write_batch(batch)
"""
OURS = "import sys; from headrace.cli import main; main(['ingest', sys.argv[1], '--json'])"


def generate(path, rows, bad):
    """Write rows of twelve columns; every `bad`-th row holds a value that is not of its type."""
    rng = np.random.default_rng(0)
    words = np.array([f"name-{number}" for number in range(1000)])
    first = True
    with path.open("wb") as file:
        for start in range(0, rows, 100_000):
            n = min(100_000, rows - start)
            columns = {f"x{k}": rng.normal(size=n).round(4) for k in range(6)}
            columns |= {"id": np.arange(start, start + n), "count": rng.integers(0, 1000, n)}
            columns |= {"when": np.datetime64("2026-01-01", "s") + rng.integers(0, 10**7, n)}
            columns |= {"name": rng.choice(words, n), "kind": rng.choice(["a", "b", "c"], n)}
            counts = columns["count"].astype(str).astype(object)
            if bad:
                counts[(np.arange(start, start + n) % bad) == bad - 1] = "many"
            columns["count"] = counts
            options = pa.csv.WriteOptions(include_header=first, quoting_style="needed")
            pa.csv.write_csv(pa.table(columns), file, options)
            first = False


def timed(command):
    """Run a command held to the limit; return wall seconds, user CPU seconds and peak bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),  # noqa: PLW1509 this program has one thread
    )
    errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(errors)
    return time.perf_counter() - started, usage.ru_utime, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--bad", type=int, default=0, help="every how many rows one is bad; 0 for none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "in.csv", given.rows, given.bad)
        (folder / "ingest.yaml").write_text(
            f"to: {folder}/ours\nsource: {{kind: files, url: {folder}/in.csv}}\n"
        )
        figures = {"plain": [], "ours": []}
        for _ in range(REPEATS):
            if not given.bad:
                (folder / "plain.parquet").unlink(missing_ok=True)
                figures["plain"].append(timed([PLAIN, str(folder / "in.csv"), str(folder / "plain.parquet")]))
            shutil.rmtree(folder / "ours", ignore_errors=True)
            figures["ours"].append(timed([OURS, str(folder / "ingest.yaml")]))
        document = {
            "rows": given.rows,
            "bytes": (folder / "in.csv").stat().st_size,
            **{
                name: dict(zip(("wall", "user", "peak"), map(median, zip(*runs, strict=True)), strict=True))
                for name, runs in figures.items()
                if runs
            },
        }
    if not given.bad:
        plain, ours = document["plain"], document["ours"]
        document["speed"] = {kind: round(plain[kind] / ours[kind], 3) for kind in ("wall", "user")}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
