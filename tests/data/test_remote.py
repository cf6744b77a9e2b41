"""The same data from every kind of store, read by ranges."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.faulty import Faults, before

from headrace.cli import run
from headrace.data import parquetfiles, prefetching
from headrace.data.dataset import Dataset
from headrace.data.reading import read_chunk
from headrace.data.storage import join, write_bytes
from headrace.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Store

ROWS = 4_000
WHOLE, SLICES = 1 << 30, 1 << 16
"""Budgets under which row groups are read at once, and in parts."""


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {f"x{i}": range(i, ROWS + i) for i in range(6)}
        | {"word": [f"w{i % 7}" for i in range(ROWS)], "list": [[i] for i in range(ROWS)]}
    )


def put(url: str, table: pa.Table, here: Path) -> None:
    for number in range(2):
        part = here / f"part-{number}.parquet"
        pq.write_table(table.slice(number * ROWS // 2, ROWS // 2), part, row_group_size=500)
        write_bytes(join(url, part.name), part.read_bytes())


def read(url: str, columns: list[str], memory: int) -> list[pa.Table]:
    dataset = Dataset(url, memory=memory)
    return [read_chunk(chunk, dataset.schema, columns, dictionary=True) for chunk in dataset.chunks]


@pytest.mark.parametrize(
    ("store", "memory"),
    [("memory", WHOLE), ("memory", SLICES), ("s3", WHOLE), ("s3", SLICES), ("gcs", WHOLE), ("azure", WHOLE)],
)
def test_columns_of_every_store(
    store: str,
    memory: int,
    table: pa.Table,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headrace.data.chunks.SMALLEST", 1 << 12)
    url = "memory://remote" if store == "memory" else request.getfixturevalue(store)
    put(url, table, tmp_path)
    for columns in (["x1", "word", "list", "x5"], []):
        found = read(url, columns, memory)
        assert sum(part.num_rows for part in found) == ROWS
        for name in columns:
            values = [value for part in found for value in part.column(name).to_pylist()]
            assert values == table.column(name).to_pylist()


def test_data_of_a_web_server(
    table: pa.Table, web: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    url, folder = web
    put(str(folder / "data"), table, folder)
    for place in (f"{url}/data/", f"{url}/data/part-0.parquet"):
        assert read(place, ["x1"], 1 << 30)[0].column("x1")[0].as_py() == 1
    dataset = Dataset(f"{url}/data/part-1.parquet")
    assert dataset.rows == ROWS // 2
    pq.write_table(table.slice(7, ROWS // 2), folder / "data" / "part-1.parquet", row_group_size=500)
    with pytest.raises(DataError, match=r"part-1\.parquet: has changed since its footer was read"):
        read_chunk(dataset.chunks[0], dataset.schema, ["x1"], dictionary=True)
    assert run(["doctor", f"{url}/data/part-0.parquet"]) == 0
    assert "ok      read         ranges of a file\n" in capsys.readouterr().out


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("store", ["memory", "s3"])
def test_a_file_of_a_chunk_that_changed_is_named_and_nothing_stays_behind(
    store: str,
    small: bool,
    table: pa.Table,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not small:
        monkeypatch.setattr(parquetfiles, "GAP", 0)
    url = "memory://remote" if store == "memory" else request.getfixturevalue(store)
    put(url, table, tmp_path)
    dataset = Dataset(url, memory=WHOLE)
    (chunk,) = dataset.chunks
    assert len(chunk.pieces) == 2
    part = tmp_path / "part-1.parquet"
    pq.write_table(table.slice(7, ROWS // 2), part, row_group_size=500)
    write_bytes(join(url, part.name), part.read_bytes())
    with pytest.raises(DataError, match=r"part-1\.parquet: has changed since its footer was read"):
        read_chunk(chunk, dataset.schema, ["x1"], dictionary=True)
    assert not any(thread.name.startswith(prefetching.NAME) for thread in threading.enumerate())


@pytest.mark.parametrize("small", [True, False])
def test_footers_are_read_once_and_columns_by_few_requests(
    small: bool,
    s3_server: Store,
    s3: str,
    table: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(s3, table, tmp_path)
    if not small:
        monkeypatch.setattr(parquetfiles, "GAP", 0)
    port = int(s3_server.environment["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with before(port, Faults(), seed=0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        dataset = Dataset(s3)
        ranged = Counter({request: times for request, times in proxy.seen.items() if "bytes=" in request})
        assert ranged.total() == 2  # footers of two files
        proxy.seen.clear()
        for _ in range(2):
            for chunk in dataset.chunks:
                read_chunk(chunk, dataset.schema, ["x0", "x1", "word"], dictionary=True)
    # A small file comes whole. Of others, the first read remembers the footer, and each read of a chunk joins the ranges
    # of a file to one. The etag in the answer tells that the file is the same.
    pieces = sum(len(chunk.pieces) for chunk in dataset.chunks)
    assert {request.split()[0] for request in proxy.seen} == {"GET"}
    assert proxy.seen.total() == 2 * pieces + (0 if small else 2)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise ImportError("Install adlfs to access Azure Datalake Gen2 and Azure Blob Storage")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(MissingExtraError, match=r"Install adlfs.*; pip install 'headrace\[azure\]'"):
        Dataset("abfs://container/data")
