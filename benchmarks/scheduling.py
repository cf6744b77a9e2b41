"""What scheduling costs for each chunk: very many chunks without work on fifty workers of one thread.

    python benchmarks/scheduling.py [--chunks 100000] [--workers 50] [--json FILE]

A reduce pass, as that of the profile, over chunks of which nothing is read and nothing is made; then a stream over a tenth of
them, as that of an epoch with one candidate, whose cost a chunk does not depend on how many there are. All their time is that of
the client, the scheduler and the workers, which are threads of this process and share its lock: with workers elsewhere a part of it
is theirs. The goal: below 1 ms a chunk of a reduce pass.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from operator import add
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.cluster.config import ClusterFile
from headrace.data.dataset import Dataset
from headrace.engine.events import ChunkDone
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from run import machine

GOAL = 1.0
"""Milliseconds."""

STREAMED = 10
"""One of so many chunks is streamed."""


@dataclass(frozen=True)
class Rows:
    """Knows the rows of a chunk without reading it."""

    def recall(self, chunk):
        return chunk.rows

    def __call__(self, _table, _chunk):
        raise AssertionError("a chunk was read")


def learn(state, block):
    return state + block


def source(directory, count):
    """Return a source of one small chunk, so many times."""
    pq.write_table(pa.table({"x": [1.0]}), Path(directory) / "one.parquet")
    once = source_of(Dataset(directory), ["x"])
    return replace(once, chunks=tuple(replace(once.chunks[0], index=number) for number in range(count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args()
    cluster = ClusterFile(workers=given.workers, processes=False, memory=1 << 28)
    streamed = max(1, given.chunks // STREAMED)
    figures = {
        "chunks": given.chunks,
        "chunks_streamed": streamed,
        "workers": given.workers,
        "goal_milliseconds": GOAL,
    }
    heard = []
    with tempfile.TemporaryDirectory() as directory, cluster.connect() as client:
        reader, chunks = Reader(client, [heard.append]), source(directory, given.chunks)
        began, used = time.perf_counter(), time.process_time()
        rows = reader.reduce(chunks, Rows(), add, name="reduce")
        figures |= _told("reduce", given.chunks, began, used)
        figures["reduce_spans"] = sum(isinstance(event, ChunkDone) for event in heard)
        few = replace(chunks, chunks=chunks.chunks[:streamed])
        began, used = time.perf_counter(), time.process_time()
        (state,), _ = reader.stream(
            few, range(streamed), Rows(), learn, [client.submit(int, 0, pure=False)], name="stream"
        )
        figures |= _told("stream", streamed, began, used)
        assert (rows, state.result()) == (given.chunks, streamed)
    print(json.dumps(figures))
    if given.json:
        given.json.write_text(json.dumps({**figures, "machine": machine()}, indent=1) + "\n")


def _told(name: str, chunks: int, began: float, used: float) -> dict[str, float]:
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    return {
        f"{name}_milliseconds_a_chunk": round(1000 * wall / chunks, 3),
        f"{name}_cpu_milliseconds_a_chunk": round(1000 * cpu / chunks, 3),
    }


if __name__ == "__main__":
    main()
