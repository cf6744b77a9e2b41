"""Very wide tables: some of the columns at a time give the profile of all at once, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.accumulators.detail import FULL
from headrace.data.dataset import Dataset
from headrace.engine.events import PassStarted
from headrace.engine.passes import Reader
from headrace.engine.plan import ALLOCATOR_BYTES, PROCESS_BYTES
from headrace.engine.source import source_of
from headrace.engine.splits import Splitter
from headrace.profiling.duplicates import RepeatFinder
from headrace.profiling.explorers import AbsenceFinder
from headrace.profiling.measure import measure, profile_dataset
from headrace.profiling.slabs import columns_at_once, cut_slabs, deal_finders, kept_detail

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

    from headrace.profiling.survey import Finder

MIB = 1 << 20
SPLITTER = Splitter(seed=1, test=0.2, validation=0.2)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    for part in range(3):
        columns = {f"x{i}": rng.normal(size=200) for i in range(100)}
        # Long texts, so that chunks are several.
        words = [letter * 20_000 for letter in rng.choice(["a", "b", "c"], 200)]
        numbers = [f"{part} {row} {word}" for row, word in enumerate(words)]
        table = pa.table({**columns, "text": numbers, "word": words, "y": rng.integers(0, 2, 200)})
        pq.write_table(table, tmp_path / f"{part}.parquet", row_group_size=100)
    # So little memory that the columns cannot be profiled at once.
    return Dataset(str(tmp_path), memory=32 * MIB)


@pytest.mark.parametrize("chunked", [True, False])
def test_slabs_give_the_profile_of_all_columns(threads: Client, data: Dataset, *, chunked: bool) -> None:
    source = source_of(data, data.schema.names)
    slabs = cut_slabs(source, ["y"], groups=6, chunked=chunked)
    assert len(slabs) > 1
    assert [name for slab in slabs for name in slab.columns] == data.schema.names
    finders: list[Finder] = [RepeatFinder(tuple(data.schema.names)), AbsenceFinder(("x0", "word"))]
    at_once = measure(Reader(threads), source, target="y", splitter=SPLITTER, finders=finders)
    reader = Reader(threads)
    by_slab = measure(
        reader, source, target="y", splitter=SPLITTER, finders=finders, slabs=slabs, detail=FULL
    )
    passes = [*(slab.name for slab in slabs), "profile rows"]
    assert [record.name for record in reader.records] == passes
    assert all(record.rows == data.rows for record in reader.records)
    if not chunked:
        assert len(slabs[0].source.chunks) < len(source.chunks)
    assert by_slab.findings.keys() == at_once.findings.keys()
    for part, profile in at_once.profiles.items():
        mine = by_slab.profiles[part]
        assert list(mine.columns) == list(profile.columns)
        assert (mine.rows, mine.classes) == (profile.rows, profile.classes)
        if chunked:
            assert mine.to_dict() == profile.to_dict()
        for name in ("x0", "x99", "text", "word", "y"):
            assert mine.columns[name].top() == profile.columns[name].top()
            assert mine.columns[name].distinct == profile.columns[name].distinct
        assert mine.columns["x7"].quantile(0.3) == profile.columns["x7"].quantile(0.3)


def test_several_slabs_keep_less_of_each_column(threads: Client, data: Dataset) -> None:
    source = source_of(data, data.schema.names)
    slabs = cut_slabs(source, ["y"], groups=6, chunked=False)
    detail = kept_detail(len(data.schema), groups=6, memory=data.memory)
    found = measure(Reader(threads), source, target="y", splitter=SPLITTER, slabs=slabs, detail=detail)
    sketch = found.profiles["train"].columns["x0"].by_class["0"].quantiles
    assert sketch is not None
    assert sum(len(buffer.values) for buffer in sketch.buffers) <= detail.points


def test_a_dataset_is_profiled_in_slabs_too(threads: Client, data: Dataset) -> None:
    seen: list[object] = []
    found = profile_dataset(threads, data, target="y", subscribers=[seen.append])
    passes = [event.name for event in seen if isinstance(event, PassStarted)]
    assert len(passes) > 1
    assert list(found.profiles["all"].columns) == data.schema.names
    assert found.profiles["all"].columns["x9"].overall.rows == data.rows


def test_few_columns_are_one_slab(data: Dataset) -> None:
    source = source_of(data, ["x0", "y"])
    (slab,) = cut_slabs(source, ["y"], groups=6, chunked=False)
    assert slab.source is source
    assert slab.name == "profile"


def test_a_finder_goes_with_the_first_slab_that_reads_its_columns(data: Dataset) -> None:
    slabs = cut_slabs(source_of(data, data.schema.names), ["y"], groups=6, chunked=False)
    last, everywhere = AbsenceFinder((slabs[-1].columns[0],)), AbsenceFinder(("y",))
    across = AbsenceFinder((slabs[0].columns[0], slabs[-1].columns[0]))
    dealt, left = deal_finders(slabs, [last, everywhere, across])
    assert dealt[0] == (everywhere,)
    assert dealt[-1] == (last,)
    assert left == (across,)


@given(
    columns=st.integers(1, 200_000),
    rows=st.integers(1, 10**9),
    chunks=st.none() | st.integers(1, 1000),
    memory=st.sampled_from([64 * MIB, 640 * MIB, 1 << 30, 1 << 36]),
)
def test_what_is_profiled_at_once_fits(columns: int, rows: int, chunks: int | None, memory: int) -> None:
    from headrace.engine.plan import Reads, summary_memory

    width = columns_at_once(
        columns, rows=rows, decoded=8 * rows * columns, chunks=chunks, groups=6, memory=memory
    )
    assert 1 <= width <= columns
    room = max(memory // 8, memory * 3 // 4 - PROCESS_BYTES - ALLOCATOR_BYTES)
    most = summary_memory(Reads(chunks or 1, rows, 0), width, 6, workers=1, threads=1)
    assert width == 1 or most <= room
