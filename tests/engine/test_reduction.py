"""A reduce pass that ends after any commit goes on from it, to the same state, with every row counted once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.accumulators import merge_tree
from headrace.data.dataset import Dataset
from headrace.engine.commits import Form
from headrace.engine.events import ChunkDone, Event
from headrace.engine.ledger import Ledger
from headrace.engine.passes import Reader
from headrace.engine.source import source_of

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

    from headrace.data.dataset import Chunk

CHUNKS = 11
ROWS = 1_000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    directory = tmp_path_factory.mktemp("reduction")
    for index in range(CHUNKS):
        wide = {f"fill{i}": np.zeros(ROWS) for i in range(600)}
        pq.write_table(pa.table({"x": np.arange(ROWS), **wide}), directory / f"part-{index:03}.parquet")
    made = Dataset(str(directory), memory=64 << 20)
    assert len(made.chunks) == CHUNKS
    return made


def trace(_table: pa.Table, chunk: Chunk) -> str:
    return str(chunk.index)


def pair(left: str, right: str) -> str:
    return f"({left}{right})"


def dump(state: str) -> list[bytes]:
    return [state.encode()]


def load(pieces: list[bytes]) -> str:
    return b"".join(pieces).decode()


class StoppedError(Exception):
    """What ends a pass before its time."""


@pytest.mark.parametrize("last", [1, 4, 6, 10])
def test_a_reduction_stopped_after_some_chunks_goes_on_to_the_same_tree(
    threads: Client, dataset: Dataset, tmp_path: Path, last: int
) -> None:
    seen: list[ChunkDone] = []

    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone):
            seen.append(event)
            if len(seen) == last:
                raise StoppedError

    url, form = str(tmp_path / "ledger"), Form(dump, load)
    source = source_of(dataset, ["x"])
    with pytest.raises(StoppedError):
        Reader(threads, [stop], Ledger(url, interval=0.0)).reduce(
            source, trace, pair, name="profile", form=form
        )
    ledger = Ledger(url, interval=0.0)
    known = ledger.state.passes.get("profile")
    assert known is None or known.body["record"]["rows"] == known.body["position"] * ROWS
    reader = Reader(threads, ledger=ledger)
    merged = reader.reduce(source, trace, pair, name="profile", form=form)
    assert merged == merge_tree([str(i) for i in range(CHUNKS)], pair)
    (record,) = reader.records
    assert (record.rows, record.chunks) == (CHUNKS * ROWS, CHUNKS)
    again = Reader(threads, ledger=Ledger(url))
    assert again.reduce(source, trace, pair, name="profile", form=form) == merged
