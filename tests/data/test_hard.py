"""Inputs that are hard on memory: one giant row group, many columns, huge texts, a million values."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.chunks import MOST_SLICES, target_memory
from headrace.data.dataset import Dataset
from headrace.data.reading import last_read, read_chunk
from headrace.engine.order import row_keys

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MIB = 1 << 20
SMALLEST = 1
"""A memory under which chunks aim at 4 MiB."""


def giant(path: Path, rows: int = 2_000_000) -> pa.Table:
    rng = np.random.default_rng(0)
    words = pa.array([f"word-{number}" for number in range(50)])
    codes = pa.array(rng.integers(0, 50, rows, dtype=np.int32), mask=rng.random(rows) < 0.1)
    table = pa.table(
        {
            "x": rng.random(rows),
            "i": np.arange(rows),
            "word": pa.DictionaryArray.from_arrays(codes, words).cast(pa.string()),
        }
    )
    pq.write_table(table, path, row_group_size=rows)
    return table


def test_a_giant_row_group_is_read_in_slices_that_hold_every_row_once(tmp_path: Path) -> None:
    table = giant(tmp_path / "a.parquet", 600_000)
    data = Dataset(str(tmp_path), memory=SMALLEST)
    assert len(data.chunks) == 4
    assert max(chunk.memory for chunk in data.chunks) <= target_memory(SMALLEST)
    assert "row group 0 takes 12 MiB and is read in 4 slices" in data.notes[0]
    parts = []
    for chunk in data.chunks:
        parts.append(read_chunk(chunk, data.schema, ["i", "word"], dictionary=False))
        assert last_read().rows == chunk.rows
        assert last_read().bytes == data.column_bytes(["i", "word"], [chunk])
    assert pa.concat_tables(parts).equals(table.select(["i", "word"]))
    whole = row_keys(Dataset(str(tmp_path)).chunks[0])
    np.testing.assert_array_equal(np.concatenate([row_keys(chunk) for chunk in data.chunks]), whole)
    assert len(data.to_dask()) == 600_000
    kept = data.where("i >= 599990").to_dask(["x"]).compute()
    assert kept["x"].tolist() == table["x"][-10:].to_pylist()


@given(st.integers(1, 40), st.data())
@settings(max_examples=30, deadline=None)
def test_slices_of_any_kind_of_column_are_what_pyarrow_reads(
    tmp_path_factory: pytest.TempPathFactory, rows: int, draw: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("slices") / "a.parquet"
    texts = draw.draw(st.lists(st.none() | st.text(max_size=3), min_size=rows, max_size=rows))
    table = pa.table(
        {
            "n": pa.array(range(rows), pa.int32()),
            "s": pa.array(texts, pa.string()),
            "l": pa.array([[each] if each else None for each in texts], pa.list_(pa.string())),
        }
    )
    pq.write_table(table, path, use_dictionary=draw.draw(st.booleans()))
    data = Dataset(str(path))
    (chunk,) = data.chunks
    start = draw.draw(st.integers(0, rows - 1))
    end = draw.draw(st.integers(start + 1, rows))
    piece = replace(chunk.pieces[0], within=(start, end), rows=end - start, first_row=start)
    part = replace(chunk, pieces=(piece,), rows=end - start)
    assert read_chunk(part, data.schema, data.schema.names, dictionary=False).equals(
        table.slice(start, end - start)
    )
    assert read_chunk(part, data.schema, [], dictionary=False).num_rows == end - start


PEAK = """
import sys
import pyarrow as pa
from headrace.data.dataset import Dataset
from headrace.data.reading import read_chunk
data = Dataset(sys.argv[1], memory=int(sys.argv[2]))
for chunk in data.chunks:
    read_chunk(chunk, data.schema, data.schema.names, dictionary=True)
print(len(data.chunks), pa.default_memory_pool().max_memory() >> 20)
"""


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    giant(path, 6_000_000)  # some 120 MiB decoded

    def grown(memory: int) -> tuple[int, int]:
        command = [sys.executable, "-c", PEAK, str(path), str(memory)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return int(out[0]), int(out[1])

    slices, sliced = grown(16 * 8 * MIB)
    whole, at_once = grown(16 * 256 * MIB)
    assert (slices > 10, whole) == (True, 1)
    assert sliced < at_once / 2


def test_memory_does_not_grow_with_the_columns_of_a_row_group(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), 10_000
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({f"x{number}": rng.random(rows) for number in range(400)}), path)  # 30 MiB
    command = [sys.executable, "-c", PEAK, str(path), str(SMALLEST)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    slices, peak = int(out[0]), int(out[1])
    assert slices == 8
    # What a plan takes for granted of a chunk, and buffers of 4 KiB for each column; all columns at once took 80 MiB.
    assert peak <= 4 * 30 / slices + 2


def test_the_price_of_slices_is_bounded(tmp_path: Path) -> None:
    giant(tmp_path / "a.parquet", 8_000_000)
    data = Dataset(str(tmp_path), memory=SMALLEST)
    assert len(data.chunks) == MOST_SLICES
    once = Dataset(str(tmp_path), memory=1 << 40).bytes
    assert data.bytes <= (MOST_SLICES + 1) / 2 * once


def test_ten_thousand_columns_are_known_and_read_by_name(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(10_000)]
    table = pa.table({name: pa.array([1.0, 2.0]) for name in names})
    pq.write_table(table, tmp_path / "a.parquet")
    data = Dataset(str(tmp_path), where="c7 > 1")
    read = read_chunk(data.chunks[0], data.schema, ["c9999"], dictionary=True)
    assert read["c9999"].to_pylist() == [2.0]
    assert last_read().bytes == data.column_bytes(["c9999"]) < data.bytes / 1000


def test_texts_of_a_mebibyte_make_small_chunks(tmp_path: Path) -> None:
    texts = [f"{number:08d}" * (MIB // 8) for number in range(24)]
    pq.write_table(pa.table({"t": texts}), tmp_path / "a.parquet", row_group_size=24, compression="none")
    data = Dataset(str(tmp_path), memory=SMALLEST)
    assert len(data.chunks) >= 6
    read = [read_chunk(chunk, data.schema, ["t"], dictionary=True) for chunk in data.chunks]
    assert max(part.nbytes for part in read) < 8 * MIB
    assert [each for part in read for each in part["t"].to_pylist()] == texts


def test_a_million_values_are_read_as_codes(tmp_path: Path) -> None:
    values = [f"user-{number}" for number in range(1_000_000)]
    pq.write_table(pa.table({"u": values}), tmp_path / "a.parquet", row_group_size=250_000)
    data = Dataset(str(tmp_path), memory=SMALLEST)
    read = [read_chunk(chunk, data.schema, ["u"], dictionary=True) for chunk in data.chunks]
    assert sum(part.num_rows for part in read) == 1_000_000
    assert max(part.nbytes / chunk.memory for part, chunk in zip(read, data.chunks, strict=True)) < 1.5
