"""What came before each chunk is gathered in one pass; data out of order and too many keys are refused by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.engine.test_lookback import EVERY, HOUR, table_of

from headrace.data import chunks
from headrace.data.dataset import Dataset
from headrace.data.history import History, Lags
from headrace.engine import past
from headrace.engine.ledger import Ledger
from headrace.engine.lookback import extend
from headrace.engine.passes import Reader
from headrace.engine.past import NAME, TailFinder, gather_past, require_order, without_past
from headrace.engine.source import source_of
from headrace.errors import DataError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

LAG = History("when", (Lags(kind="lags", column="x", by=("plane",)),))


def write(directory: Path, table: pa.Table, *, files: int, row_group: int) -> str:
    directory.mkdir()
    step = -(-table.num_rows // files)
    for number in range(files):
        part = table.slice(number * step, step)
        pq.write_table(part, directory / f"part-{number}.parquet", row_group_size=row_group)
    return str(directory)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "SMALLEST", 1)


@pytest.mark.parametrize(
    ("cluster", "where"), [("threads", None), ("threads", "n != 1"), ("processes", None)]
)
@pytest.mark.usefixtures("small_chunks")
def test_columns_do_not_depend_on_chunks_and_workers(
    cluster: str, where: str | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(cluster)
    table = table_of(300, 3)
    url = write(tmp_path / "data", table, files=3, row_group=40)
    kept = table if where is None else table.filter(pa.compute.not_equal(table["n"], 1))
    whole = extend(EVERY, kept, None).select(["x", *EVERY.names])
    counts = []
    for memory in (48 << 10, 128 << 10, 1 << 30):
        dataset = Dataset(url, memory=memory, where=where)
        source = source_of(dataset, ["x", *EVERY.names], history=EVERY)
        assert set(source.columns) == {"x", *EVERY.inputs}
        assert source.schema.names == ["x", *EVERY.names]
        gathered = gather_past(Reader(client), source_of(dataset, EVERY.inputs), EVERY)
        source = replace(source, past=gathered)
        got = pa.concat_tables(part.read() for part in source.parts)
        assert str(got.to_pydict()) == str(whole.to_pydict())
        assert got.schema.equals(source.schema)
        last = replace(source, chunks=dataset.chunks[-1:]).parts[-1].read()
        assert str(last.to_pydict()) == str(whole.slice(whole.num_rows - last.num_rows).to_pydict())
        counts.append(len(dataset.chunks))
    assert counts[0] > counts[1] > counts[2] == 1


def test_what_chunks_leave_is_written_to_the_ledger_without_loss() -> None:
    table = table_of(50, 5)
    chunk = chunks.Chunk(0, (chunks.Piece("p", "p", (0,), 50, 0, ()),), 50, 0, 0)
    one, two = (TailFinder(EVERY)(part, chunk) for part in (table.slice(0, 20), table.slice(20)))
    empty = TailFinder(EVERY)(table.slice(0, 0), chunk)
    whole = one.merge(empty).merge(two)
    form = past.FORM
    back = form.load(form.dump(whole))
    assert (back.time, back.first, back.last, back.start) == (
        whole.time,
        whole.first,
        whole.last,
        whole.start,
    )
    assert back.rows == whole.rows
    for mine, theirs in zip(whole.chunks, back.chunks, strict=True):
        assert [str(part.to_pydict()) for part in mine] == [str(part.to_pydict()) for part in theirs]


def test_footers_tell_of_row_groups_out_of_order(tmp_path: Path) -> None:
    table = table_of(100, 1)
    url = write(tmp_path / "data", table, files=2, row_group=25)
    require_order(Dataset(url), "when")
    pq.write_table(table.slice(50).take(list(range(25, 50)) + list(range(25))), tmp_path / "data/part-1.parquet",
                   row_group_size=25)  # fmt: skip
    with pytest.raises(DataError, match=r"part-1.parquet: row group 1 is not in the order of 'when'"):
        require_order(Dataset(url), "when")


@pytest.mark.parametrize(
    ("rows", "what"), [([0, 2, 1, 3], "row 62 is earlier"), ([0, 1, None, 3], "row 62 has no time")]
)
def test_a_row_out_of_order_is_named(
    rows: list[int | None], what: str, tmp_path: Path, threads: Client
) -> None:
    hours: list[int | None] = list(range(60))
    hours[-4:] = [None if row is None else 56 + row for row in rows]
    # Row groups whose footers do not tell.
    table = pa.table({
        "when": pa.array([None if h is None else (h + 4) * HOUR for h in [*range(-4, 0), *hours]], pa.timestamp("ms")),
        "plane": ["a"] * 64,
        "x": [1.0] * 64,
    })  # fmt: skip
    directory = tmp_path / "data"
    directory.mkdir()
    pq.write_table(table, directory / "a.parquet", row_group_size=50, write_statistics=False)
    dataset = Dataset(str(directory))
    require_order(dataset, "when")
    with pytest.raises(DataError, match=what) as caught:
        gather_past(Reader(threads), source_of(dataset, LAG.inputs), LAG)
    assert "a.parquet: row group 1" in str(caught.value)


@pytest.mark.usefixtures("small_chunks")
def test_a_file_that_begins_before_the_one_before_it_ends_is_named(tmp_path: Path, threads: Client) -> None:
    table = table_of(100, 1)
    directory = tmp_path / "data"
    directory.mkdir()
    for number, part in enumerate([table.slice(0, 50), table.slice(20, 50)]):
        pq.write_table(part, directory / f"{number}.parquet", write_statistics=False)
    dataset = Dataset(str(directory), memory=16 << 10)
    with pytest.raises(DataError, match=r"1.parquet: row group 0 .* row 0 is earlier"):
        gather_past(Reader(threads), source_of(dataset, LAG.inputs), LAG)


@pytest.mark.usefixtures("small_chunks")
def test_more_keys_than_are_held_are_refused(
    tmp_path: Path, threads: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset(write(tmp_path / "data", table_of(200, 1), files=4, row_group=50), memory=16 << 10)
    monkeypatch.setattr(past, "MOST_ROWS", 8)
    with pytest.raises(InputError, match=r"with 3 keys leave \d+ rows .* and 8 is the most"):
        gather_past(Reader(threads), source_of(dataset, LAG.inputs), LAG)


def test_a_pass_is_counted_and_reads_only_what_it_looks_at(tmp_path: Path, threads: Client) -> None:
    dataset = Dataset(write(tmp_path / "data", table_of(200, 1), files=2, row_group=50))
    reader = Reader(threads)
    source = source_of(dataset, LAG.inputs)
    gather_past(reader, source, LAG)
    (record,) = reader.records
    assert (record.name, record.rows, record.bytes) == (
        NAME,
        200,
        dataset.column_bytes(["when", "plane", "x"]),
    )
    assert len(without_past(LAG, dataset)) == len(dataset.chunks)


@pytest.mark.usefixtures("small_chunks")
def test_a_run_that_is_resumed_reads_the_past_from_its_ledger(tmp_path: Path, threads: Client) -> None:
    url = write(tmp_path / "data", table_of(100, 1), files=2, row_group=25)
    dataset = Dataset(url, memory=48 << 10)
    source = source_of(dataset, EVERY.inputs)
    first = gather_past(Reader(threads, ledger=Ledger(str(tmp_path / "ledger"))), source, EVERY)
    pq.write_table(table_of(50, 2), tmp_path / "data/part-1.parquet")  # would be seen if it were read
    again = gather_past(Reader(threads, ledger=Ledger(str(tmp_path / "ledger"))), source, EVERY)
    assert len(first) == len(dataset.chunks) > 1
    for mine, theirs in zip(first, again, strict=True):
        assert [str(each.to_pydict()) for each in mine] == [str(each.to_pydict()) for each in theirs]


def test_the_target_is_not_looked_at_before_it_is_known() -> None:
    table = pa.table({
        "when": pa.array([0, HOUR, 2 * HOUR, 5 * HOUR], pa.timestamp("ms")), "plane": ["a"] * 4, "x": [1.0, 2.0, 3.0, 4.0],
    })  # fmt: skip
    late = History("when", (Lags(kind="lags", column="x", by=("plane",), gap=timedelta(hours=3)),))
    assert extend(late, table, None)["x_lag_1_by_plane"].to_pylist() == [None, None, None, 3.0]
