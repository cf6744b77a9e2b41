"""The fast-path law: a path that skips work whose result is known gives what the plain path gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.dataset import Dataset
from headrace.data.history import ForwardFill, History, Lags
from headrace.engine.past import without_past
from headrace.engine.source import source_of
from headrace.errors import InputError
from headrace.packaging.signature import InputColumn
from headrace.serving.feeds import feeds_of_columns

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = st.one_of(
    st.floats(allow_nan=False),
    st.integers(),
    st.sampled_from([2**53 + 1, 2**63, 10**308, 10**309, -(10**400)]),
    st.none(),
)
MOMENT = np.datetime64("2026-01-01", "ms")


def table_of(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.2)
    return pa.table(
        {
            "x": x,
            "n": rng.integers(-5, 5, rows).astype(np.int16),
            "word": pa.array(rng.choice(["a", "b", "日本", ""], rows), mask=rng.random(rows) < 0.1),
            "flag": rng.random(rows) < 0.5,
            "when": MOMENT + rng.integers(0, 10**9, rows).astype("timedelta64[ms]"),
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fast")


@given(
    rows=st.lists(st.integers(1, 60), min_size=1, max_size=4), seed=st.integers(0, 10**6), where=st.booleans()
)
@settings(max_examples=15, deadline=None)
def test_a_chunk_read_directly_is_its_partition_of_the_dask_dataframe(
    rows: list[int], seed: int, where: bool, place: Path
) -> None:
    directory = place / f"{seed}-{len(list(place.iterdir()))}"
    directory.mkdir()
    for number, count in enumerate(rows):
        pq.write_table(table_of(count, seed + number), directory / f"{number}.parquet", row_group_size=17)
    dataset = Dataset(str(directory), where="x > 0 and n < 4" if where else None)
    source = source_of(dataset, ["word", "x", "when", "flag", "n"])
    for direct, frame in zip(source.parts, source.frame_parts(), strict=True):
        expected = frame.read()
        got = direct.read()
        assert got.schema.equals(expected.schema)
        assert got.equals(expected)


def test_what_is_made_from_the_rows_before_is_the_same_in_a_dask_dataframe(place: Path) -> None:
    directory = place / "ordered"
    directory.mkdir()
    pq.write_table(table_of(50, 1).sort_by("when"), directory / "0.parquet")
    dataset = Dataset(str(directory))
    steps = (Lags(kind="lags", column="x", by=("word",)), ForwardFill(kind="fill", column="word"))
    history = History("when", steps)
    source = source_of(dataset, ["word", "n", *history.names], history=history)
    source = replace(source, past=without_past(history, dataset))
    for direct, frame in zip(source.parts, source.frame_parts(), strict=True):
        got, expected = direct.read(), frame.read()
        assert got.schema.equals(expected.schema)
        assert got.equals(expected)


class Whole(int):
    """An integer that is not plain, so that the server reads each value of its request by itself."""


@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_plain_numbers_of_a_request_are_read_at_once_as_each_by_itself(values: list[float | None]) -> None:
    inputs = [InputColumn("x", "double", "numeric"), InputColumn("y", "double", "numeric")]

    def read(first: int) -> tuple[bytes, ...] | str:
        try:
            tensors = feeds_of_columns({"x": [first, *values], "y": [*values, 1]}, inputs)
        except InputError as error:
            return str(error)
        return tuple(tensors[column.name].tobytes() for column in inputs)

    assert read(0) == read(Whole(0))
