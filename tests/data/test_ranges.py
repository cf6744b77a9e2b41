from __future__ import annotations

import io
import itertools

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.data import ranges, retrying
from headrace.data.ranges import GAP, LARGEST, RangesFile, coalesced, column_ranges, fetch, read_tail

SPANS = st.lists(st.tuples(st.integers(0, 1 << 26), st.integers(1, 1 << 25)), min_size=1, max_size=8)


@given(SPANS, st.integers(1, 1 << 26))
def test_every_wanted_byte_is_in_one_range(spans: list[tuple[int, int]], size: int) -> None:
    wanted = [(start, start + length) for start, length in spans if start < size]
    parts = coalesced(wanted, size)
    assert parts == sorted(parts)
    assert all(0 < end - start <= LARGEST for start, end in parts)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(parts))
    for start, end in wanted:
        held = sum(max(0, min(end, stop) - max(start, first)) for first, stop in parts)
        assert held == min(end, size) - start
    beside = sum(end - start for start, end in parts) - len(_union(wanted, size))
    assert beside <= GAP * len(wanted)


def _union(spans: list[tuple[int, int]], size: int) -> range:
    """As long as the bytes of the spans together."""
    total, upto = 0, 0
    for start, end in sorted(spans):
        total += max(0, min(end, size) - max(start, upto))
        upto = max(upto, min(end, size))
    return range(total)


@given(st.data())
def test_a_file_of_ranges_reads_as_the_whole(data: st.DataObject) -> None:
    whole = bytes(range(256)) * 4
    edges = sorted({0, len(whole), *data.draw(st.lists(st.integers(0, len(whole)), max_size=5))})
    spans = list(itertools.pairwise(edges))
    file = RangesFile(spans, [whole[a:b] for a, b in spans], len(whole))
    plain = io.BytesIO(whole)
    for offset, length in data.draw(st.lists(st.tuples(st.integers(0, 1024), st.integers(-1, 1500)))):
        assert file.seek(offset) == plain.seek(offset)
        assert bytes(file.read(length)) == plain.read(length)
        assert file.tell() == plain.tell()
    assert file.seek(-8, io.SEEK_END) == len(whole) - 8


@pytest.mark.parametrize("columns", [2, 2_000], ids=["short footer", "footer longer than its first read"])
def test_columns_are_read_from_their_ranges_alone(columns: int) -> None:
    table = pa.table({f"c{i}": pa.array([i, None, 7], pa.int64()) for i in range(columns)})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    whole = sink.getvalue()
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/ranges/a", whole)
    metadata = read_tail(filesystem, "/ranges/a", len(whole))
    assert metadata.equals(pq.read_metadata(io.BytesIO(whole)))
    spans = coalesced(column_ranges(metadata, [1], [1]), len(whole))
    file = RangesFile(spans, fetch(filesystem, "/ranges/a", spans), len(whole))
    read = pq.ParquetFile(file, metadata=metadata).read_row_groups([1], columns=["c1"])
    assert read.column("c1").to_pylist() == [7]
    filesystem.rm("/ranges", recursive=True)


class Broken:
    """A file system of one object whose reads fail a number of times, each in its own way."""

    def __init__(self, *faults: object) -> None:
        self.faults = list(faults)
        self.asked: list[int] = []

    def cat_ranges(self, paths: list[str], starts: list[int], ends: list[int], on_error: str) -> list[object]:
        assert on_error == "return"
        self.asked.append(len(paths))
        whole = b"0123456789"
        parts: list[object] = [whole[a:b] for a, b in zip(starts, ends, strict=True)]
        if self.faults:
            parts[-1] = self.faults.pop(0)
        return parts


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "SHORTEST", 0.001)


def test_only_what_failed_is_read_again() -> None:
    store = Broken(b"4", TimeoutError(), ConnectionResetError())
    assert fetch(store, "x", [(0, 2), (4, 7)]) == [b"01", b"456"]
    assert store.asked == [2, 1, 1, 1]


def test_a_server_that_gives_more_than_a_range_is_named() -> None:
    with pytest.raises(OSError, match="does not give ranges"):
        fetch(Broken(b"45678"), "x", [(4, 7)])


def test_the_object_is_looked_at_once_more_where_answers_do_not_name_it() -> None:
    looks: list[str] = []
    assert fetch(Broken(b"4"), "x", [(4, 7)], require_same=lambda: looks.append("look")) == [b"456"]
    assert looks == ["look", "look"]  # when it gave too little, and at the end
    assert fetch(Broken(), "x", [], require_same=lambda: looks.append("look")) == []
    assert len(looks) == 3


def test_what_does_not_pass_is_raised_at_once() -> None:
    store = Broken(PermissionError())
    with pytest.raises(PermissionError):
        fetch(store, "x", [(0, 2)])
    assert store.asked == [1]


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.05)
    with pytest.raises(retrying.ShortReadError, match="gave 1 bytes of 2"):
        fetch(Broken(*[b"0"] * 100_000), "x", [(0, 2)])
    assert fetch(Broken(), "x", []) == []
    assert ranges.coalesced([], 10) == []
