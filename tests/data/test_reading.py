from __future__ import annotations

import gc
import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data import reading
from headrace.data.dataset import Dataset
from headrace.data.parquetfiles import CODED
from headrace.data.reading import last_read, read_chunk
from headrace.errors import DataError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.data.conftest import Write


def _read(data: Dataset, *columns: str, dictionary: bool = True) -> list[pa.Table]:
    names = columns or data.schema.names
    return [read_chunk(chunk, data.schema, names, dictionary=dictionary) for chunk in data.chunks]


def test_each_column_is_one_array_with_one_dictionary(write: Write) -> None:
    write("a.parquet", {"s": ["a", "b", "c", "a"], "x": [1, 2, 3, 4]}, row_group_size=2)
    root = write("b.parquet", {"s": ["d", None, "a"], "x": [5, 6, 7]}, row_group_size=1).parent
    (table,) = _read(Dataset(str(root)))
    assert [column.num_chunks for column in table.columns] == [1, 1]
    assert table.schema.field("s").type == CODED
    values = table["s"].chunk(0).dictionary.to_pylist()
    assert sorted(values) == ["a", "b", "c", "d"]
    assert table["s"].to_pylist() == ["a", "b", "c", "a", "d", None, "a"]


@given(
    st.lists(
        st.lists(st.tuples(st.none() | st.integers(0, 99), st.none() | st.text(max_size=3)), max_size=8),
        min_size=1,
        max_size=4,
    ).filter(any),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([1, 1 << 30]),
    st.sampled_from([1, reading.AT_ONCE]),
)
@settings(max_examples=60, deadline=None)
def test_any_files_come_back_as_pyarrow_reads_them(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[tuple[Any, Any]]],
    row_group_size: int,
    dictionary: bool,
    memory: int,
    at_once: int,
) -> None:
    root = tmp_path_factory.mktemp("any")
    schema = pa.schema({"i": pa.int16(), "s": pa.string()})
    for number, rows in enumerate(files):
        table = pa.table({"i": [row[0] for row in rows], "s": [row[1] for row in rows]}, schema)
        pq.write_table(table, root / f"{number}.parquet", row_group_size=row_group_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "AT_ONCE", at_once)
        tables = _read(Dataset(str(root), memory=memory), "s", "i", dictionary=dictionary)
    assert len(tables) == 1 or memory == 1
    assert all(column.num_chunks == 1 for table in tables for column in table.columns)
    assert [row for table in tables for row in zip(*table.to_pydict().values(), strict=True)] == [
        (text, number) for rows in files for number, text in rows
    ]


def test_the_count_is_of_the_last_read_of_this_thread(write: Write) -> None:
    columns = {"a": list(range(1000)), "b": ["x", "y"] * 500, "l": [[1, 2]] * 1000}
    data = Dataset(str(write("a.parquet", columns, row_group_size=300).parent))
    _read(data, "b")
    other = threading.Thread(target=_read, args=(data,))
    other.start()
    other.join()
    count = last_read()
    assert (count.chunks, count.rows, count.bytes) == (1, 1000, data.columns["b"].bytes)
    _read(data)
    assert last_read().bytes == data.bytes


def test_no_columns_still_count_rows(write: Write) -> None:
    data = Dataset(str(write("a.parquet", {"a": [1, 2, 3]}).parent))
    table = read_chunk(data.chunks[0], data.schema, [], dictionary=False)
    count = last_read()
    assert table.num_rows == 3
    assert (count.rows, count.bytes) == (3, 0)


@pytest.mark.parametrize("checksum", [False, True])
def test_a_damaged_row_group_is_named(write: Write, checksum: bool) -> None:
    values = np.random.default_rng(0).random(4000)
    path = write("a.parquet", {"x": values}, row_group_size=1000, write_page_checksum=checksum)
    place = pq.read_metadata(path).row_group(2).column(0)
    content = bytearray(path.read_bytes())
    begin = place.dictionary_page_offset or place.data_page_offset
    damage = begin + 2000 if checksum else begin + 3  # a value, or a page header
    content[damage : damage + 20] = bytes(byte ^ 0xFF for byte in content[damage : damage + 20])
    path.write_bytes(content)
    data = Dataset(str(path))
    with pytest.raises(DataError, match=r"file .*a\.parquet: row group 2 is damaged") as caught:
        _read(data)
    assert caught.value.exit_code == 2
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_pages_are_checked_until_they_were(write: Write) -> None:
    path = write("a.parquet", {"x": np.random.default_rng(0).random(1000)}, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(0).column(0)
    content[(place.dictionary_page_offset or place.data_page_offset) + 2000] ^= 0xFF
    path.write_bytes(content)
    data = Dataset(str(path))
    (chunk,) = data.chunks
    with pytest.raises(DataError, match="row group 0 is damaged"):
        read_chunk(chunk, data.schema, ["x"], dictionary=True)
    assert read_chunk(chunk, data.schema, ["x"], dictionary=True, checked=True).num_rows == 1000


def test_a_file_that_vanished_is_named(write: Write) -> None:
    path = write("a.parquet", {"x": [1]})
    data = Dataset(str(path))
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.parquet: does not exist"):
        _read(data)


def test_a_file_that_changed_is_named(write: Write) -> None:
    path = write("a.parquet", {"x": [1]})
    data = Dataset(str(path))
    write("a.parquet", {"x": [1, 2]})
    with pytest.raises(DataError, match=r"a\.parquet: has changed since its footer was read"):
        _read(data)


@pytest.mark.parametrize("dictionary", [False, True])
def test_texts_of_every_encoding_become_one_type(write: Write, dictionary: bool) -> None:
    texts = pa.array(["a", "b", "a", None])
    columns = {
        "plain": texts,
        "large": texts.cast(pa.large_string()),
        "view": texts.cast(pa.string_view()),
        "coded": texts.dictionary_encode(),
        "numbers": pa.array([7, 8, 7, None]).dictionary_encode(),
    }
    data = Dataset(str(write("a.parquet", columns).parent))
    (table,) = _read(data, dictionary=dictionary)
    names = ["plain", "large", "view", "coded"]
    assert [table[name].to_pylist() for name in names] == [["a", "b", "a", None]] * 4
    assert table["numbers"].to_pylist() == [7, 8, 7, None]
    text_types = {table.schema.field(name).type for name in names}
    assert text_types == ({CODED} if dictionary else {pa.string(), pa.large_string(), pa.string_view()})


def test_pandas_indexes_are_plain_columns(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", "b"], name="key"))
    frame.to_parquet(tmp_path / "a.parquet")
    data = Dataset(str(tmp_path))
    assert data.head().to_dict("list") == {"x": [1, 2], "key": ["a", "b"]}


def test_the_footer_of_a_file_that_was_read_does_not_wait_for_garbage_collection(write: Write) -> None:
    data = Dataset(str(write("a.parquet", {"s": ["a", "b"], "x": [1, 2]}).parent))
    gc.collect()
    gc.disable()
    try:
        before = _footers()
        _read(data)
        assert _footers() == before
    finally:
        gc.enable()


def _footers() -> int:
    return sum(isinstance(each, pq.FileMetaData) for each in gc.get_objects())
