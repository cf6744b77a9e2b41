from __future__ import annotations

import csv
import io
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import DataError
from headrace.ingesting.columns import ColumnPlan, Layout
from headrace.ingesting.delimited import Reading, read_block, whole_records
from headrace.ingesting.records import Dialect, last_end, record_ends

if TYPE_CHECKING:
    from headrace.ingesting.quarantine import BadRow

LAYOUT = Layout((
    ColumnPlan("n", pa.int64()),
    ColumnPlan("x", pa.float64()),
    ColumnPlan("t", pa.string()),
    ColumnPlan("d", pa.date32(), ("%d/%m/%Y", "%Y-%m-%d")),
))  # fmt: skip
READING = Reading(("n", "x", "t", "d"), LAYOUT, Dialect(), ("", "NA"))

values = st.sampled_from(
    ["1", "-7", "2.5", "NA", "", "abc", "31/12/2024", "2024-02-30", '"a,b"', '"a\nb"', '"say ""hi"""', '5" pipe',
     '"x"y', "é", " 3 ", "0x1F", "1e999", '""']
)  # fmt: skip
fields = st.lists(values, min_size=3, max_size=5).map(",".join)
usual = st.tuples(
    st.integers(-9, 9).map(str), st.just("1.5"), st.sampled_from(["a", '"b\nc"', "d"]), st.just("01/02/2024")
).map(",".join)
texts = st.tuples(
    st.lists(st.one_of(usual, usual, fields, st.just("")), max_size=30), st.sampled_from(["\n", "\r\n"])
).map(lambda made: made[1].join([*made[0], ""]).encode())


def split(block: bytes) -> list[bytes]:
    edges = [0, *record_ends(block, Dialect())]
    return [block[int(a) : int(b)] for a, b in pairwise(edges)]


@given(texts)
def test_block_is_read_as_its_records_one_by_one(block: bytes):
    together = read_block(block, READING, 1)
    records = split(block)
    line, tables = 1, [LAYOUT.schema.empty_table()]
    bad: list[BadRow] = []
    for record in records:
        alone = read_block(record, READING, line)
        tables.append(alone.table)
        bad += alone.bad
        line += record.count(b"\n")
    assert together.table.equals(pa.concat_tables(tables))
    assert list(together.bad) == bad
    assert together.table.num_rows + len(bad) == sum(bool(record.strip(b"\r\n")) for record in records)


@given(texts, st.integers(1, 60))
def test_blocks_are_the_same_whatever_pieces_they_come_in(block: bytes, size: int):
    pieces = [block[start : start + size] for start in range(0, len(block), size)]
    blocks = list(whole_records(iter(pieces), Dialect(), "f", block=40))
    assert b"".join(blocks) == block
    assert [record for part in blocks for record in split(part)] == split(block)


@given(
    st.lists(st.lists(st.text(st.sampled_from('a",\n\r é'), max_size=6), min_size=2, max_size=3), max_size=20)
)
def test_records_that_python_writes_are_found(rows: list[list[str]]):
    written = io.StringIO(newline="")
    ends = []
    for row in rows:
        csv.writer(written, quoting=csv.QUOTE_ALL).writerow(row)
        ends.append(len(written.getvalue().encode()))
    assert record_ends(written.getvalue().encode(), Dialect()).tolist() == ends
    assert last_end(written.getvalue().encode(), Dialect()) == (ends[-1] if ends else 0)


def test_stray_quotes_do_not_swallow_lines():
    block = b'1,2.0,5" pipe,01/02/2024\n2,3.0,12",02/02/2024\n3,4.0,"in\nside",03/02/2024\n'
    batch = read_block(block, READING, 10)
    assert batch.table["t"].to_pylist() == ['5" pipe', '12"', "in\nside"]
    assert not batch.bad


def test_bad_rows_name_line_reason_and_text():
    block = b'1,2,a,01/02/2024\nx,2,"b\nc",01/02/2024\n3,2\n4,2,d,31/02/2024\n5,2,\xff,01/02/2024\n6,2,"open,01/02/2024\n'
    batch = read_block(block, READING, 100)
    assert batch.table["n"].to_pylist() == [1]
    assert [(bad.line, bad.reason) for bad in batch.bad] == [
        (101, "n: int64: invalid value 'x'"),
        (103, "2 fields, 4 expected"),
        (104, "d: '31/02/2024' is not a date"),
        (105, "t: string: invalid UTF8 data"),
        (106, "a quote is never closed"),
    ]
    assert batch.bad[0].raw == 'x,2,"b\nc",01/02/2024'
    assert batch.bad[3].raw == "5,2,\\xff,01/02/2024"


def test_reason_names_the_column_when_the_file_has_another_order():
    layout = Layout((ColumnPlan("b", pa.int64()), ColumnPlan("a", pa.int64())))
    batch = read_block(b"1,2\n1,x\ny,2\n", Reading(("a", "b"), layout, Dialect(), ()), 1)
    assert [bad.reason for bad in batch.bad] == ["b: int64: invalid value 'x'", "a: int64: invalid value 'y'"]


def test_record_without_end_is_told_and_not_collected():
    pieces = iter([b'1,"' + b"x" * 4096] * 2000)
    with pytest.raises(DataError, match="no record ends within"):
        list(whole_records(pieces, Dialect(), "f", block=4096))


def test_ends_of_old_and_mixed_newlines():
    assert record_ends(b"a\rb\r\nc\nd", Dialect()).tolist() == [2, 5, 7]
    assert record_ends(b"a\nb\r", Dialect()).tolist() == [2]
    assert np.array_equal(record_ends(b'"a\n",b\n', Dialect(quote="")), [3, 7])
