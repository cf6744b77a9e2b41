"""Every chunk is read once, states merge in a fixed tree, streams keep their order, lost rows are noticed."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.accumulators import merge_tree
from headrace.data.dataset import Dataset
from headrace.engine.events import ChunkDone, Event, PassEnded, PassStarted
from headrace.engine.passes import Reader
from headrace.engine.source import Source, source_of
from headrace.errors import DataError, RowsLostError

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

    from headrace.data.dataset import Chunk

ROW_GROUP = 1_000


def write(directory: Path, *, chunks: int) -> Dataset:
    """Files of one row group each, too large to share a chunk."""
    directory.mkdir()
    for index in range(chunks):
        start = index * ROW_GROUP
        values = np.arange(start, start + ROW_GROUP)
        wide = {f"fill{i}": values.astype(float) for i in range(600)}
        table = pa.table({"x": values, "name": [f"n{v % 3}" for v in values], **wide})
        pq.write_table(table, directory / f"part-{index:03}.parquet")
    return Dataset(str(directory), memory=64 << 20)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = write(tmp_path_factory.mktemp("passes") / "data", chunks=7)
    assert len(made.chunks) == 7
    return made


def trace(table: pa.Table, chunk: Chunk) -> str:
    assert table.column("x")[0].as_py() == chunk.index * ROW_GROUP
    return str(chunk.index)


def pair(left: str, right: str) -> str:
    return f"({left}{right})"


def total(table: pa.Table, _chunk: Chunk) -> int:
    return int(np.asarray(table.column("x")).sum())


def add(left: int, right: int) -> int:
    return left + right


@pytest.mark.parametrize("cluster", ["threads", "processes"])
def test_reduce_merges_in_the_tree_that_the_chunk_order_fixes(
    cluster: str, dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(cluster)
    reader = Reader(client)
    merged = reader.reduce(source_of(dataset, ["x"]), trace, pair, name="profile")
    assert merged == merge_tree([str(i) for i in range(7)], pair) == "(((01)(23))((45)6))"


def test_a_pass_counts_rows_chunks_and_only_the_bytes_of_the_columns_it_reads(
    threads: Client, dataset: Dataset
) -> None:
    reader = Reader(threads)
    assert reader.reduce(source_of(dataset, ["x"]), total, add, name="sum") == sum(range(7 * ROW_GROUP))
    (record,) = reader.records
    assert (record.chunks, record.rows, record.bytes) == (7, 7 * ROW_GROUP, dataset.columns["x"].bytes)
    assert all(peak > 50 << 20 for peak in record.memory_peak.values())


def test_subscribers_hear_of_the_pass_and_of_each_chunk(threads: Client, dataset: Dataset) -> None:
    heard: list[Event] = []
    Reader(threads, [heard.append]).reduce(source_of(dataset, ["x"]), total, add, name="sum")
    assert isinstance(heard[0], PassStarted)
    assert isinstance(heard[-1], PassEnded)
    chunks = [event for event in heard if isinstance(event, ChunkDone)]
    assert (len(chunks), sum(event.rows for event in chunks)) == (7, heard[-1].rows)


def test_a_pass_that_lost_a_row_fails(threads: Client, dataset: Dataset) -> None:
    source = source_of(dataset, ["x"])
    lying = replace(source, chunks=(*source.chunks[:-1], replace(source.chunks[-1], rows=ROW_GROUP + 1)))
    with pytest.raises(RowsLostError, match="read 7000 rows of 7001"):
        Reader(threads).reduce(lying, total, add, name="sum")


def first_value(table: pa.Table, _chunk: Chunk) -> int:
    return int(table.column("x")[0].as_py())


def append(state: tuple[int, ...], value: int) -> tuple[int, ...]:
    return (*state, value)


@pytest.mark.parametrize("cluster", ["threads", "processes"])
def test_each_state_of_a_stream_takes_the_blocks_in_order(
    cluster: str, dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(cluster)
    reader = Reader(client)
    order = [3, 0, 6, 1, 5, 2, 4]
    chains = [client.submit(tuple, [-1], pure=False), client.submit(tuple, [], pure=False)]
    ends, kept = reader.stream(
        source_of(dataset, ["x"]), order, first_value, append, chains, name="epoch 1", keep=abs
    )
    values = tuple(i * ROW_GROUP for i in order)
    assert client.gather(ends) == [(-1, *values), values]
    assert tuple(client.gather(kept)) == values
    assert reader.records[0].rows == 7 * ROW_GROUP


def failing(table: pa.Table, chunk: Chunk, *, at: int) -> int:
    if chunk.index == at:
        raise DataError("is wrong", where="column x")
    return total(table, chunk)


def test_an_error_in_a_task_reaches_the_user_as_it_was_raised(threads: Client, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="column x: is wrong"):
        Reader(threads).reduce(source_of(dataset, ["x"]), partial(failing, at=4), add, name="sum")


def test_a_damaged_row_group_is_named_by_file_and_number(threads: Client, tmp_path: Path) -> None:
    dataset = write(tmp_path / "data", chunks=3)
    victim = tmp_path / "data" / "part-001.parquet"
    content = bytearray(victim.read_bytes())
    offset = pq.read_metadata(victim).row_group(0).column(0).data_page_offset
    content[offset : offset + 400] = b"\xff" * 400
    written = victim.stat().st_mtime_ns
    victim.write_bytes(content)
    os.utime(victim, ns=(written, written))  # a disk that decays changes no times
    with pytest.raises(DataError, match=r"part-001\.parquet: row group 0 is damaged"):
        Reader(threads).reduce(source_of(dataset, ["x"]), total, add, name="sum")


def test_feature_functions_apply_to_each_partition_before_the_pass(
    threads: Client, dataset: Dataset, in_tmp: Path
) -> None:
    (in_tmp / "own_features.py").write_text("def double(frame):\n    return frame.assign(x=frame['x'] * 2)\n")
    source: Source = source_of(dataset, ["x"], features="own_features:double")
    assert source.schema.names == ["x"]
    assert Reader(threads).reduce(source, total, add, name="sum") == 2 * sum(range(7 * ROW_GROUP))


def test_a_feature_function_that_drops_rows_is_refused(
    threads: Client, dataset: Dataset, in_tmp: Path
) -> None:
    (in_tmp / "dropping.py").write_text("def half(frame):\n    return frame.iloc[::2]\n")
    with pytest.raises(DataError, match=r"dropping:half: .* rows it was given; make it row-wise"):
        Reader(threads).reduce(source_of(dataset, ["x"], features="dropping:half"), total, add, name="sum")
