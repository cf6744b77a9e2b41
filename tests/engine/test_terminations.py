"""Workers that Dask pauses for their memory are told, whether a run waits for them or has begun on them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import dask
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from headrace.data.dataset import Dataset
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.engine.terminations import paused
from headrace.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.data.dataset import Chunk

AT_ONCE = {
    "distributed.worker.memory.pause": 0.001,
    "distributed.worker.memory.monitor-interval": "10ms",
    "distributed.scheduler.no-workers-timeout": "1s",
}


@pytest.fixture
def held() -> Iterator[Client]:
    """A worker that is paused for what its process holds."""
    with (
        dask.config.set(AT_ONCE),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, memory_limit="1GiB",
            dashboard_address=":0", silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        while not paused(client):
            pass
        yield client


def rows(table: pa.Table, _chunk: Chunk) -> int:
    return len(table)


def test_a_pass_that_paused_workers_do_not_take_on_ends_in_one_line(tmp_path: Path, held: Client) -> None:
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "a.parquet")
    source = source_of(Dataset(str(tmp_path)), ["x"])
    with pytest.raises(RunError, match=r"profile: no worker takes tasks: 1 are paused.*MEMORY__PAUSE=False"):
        Reader(held).reduce(source, rows, max, name="profile")
