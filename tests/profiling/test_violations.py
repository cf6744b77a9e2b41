"""Rows that break something are written with where they stand, and without what tells about persons."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.accumulators.rowhash import RepeatedRows
from headrace.data.dataset import Dataset
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.errors import InputError
from headrace.profiling import violations as module
from headrace.profiling.duplicates import RepeatFinder
from headrace.profiling.expectations import CheckOptions
from headrace.profiling.findings import check_finders
from headrace.profiling.measure import profile_dataset
from headrace.profiling.privacy import masked, personal_columns
from headrace.profiling.profile import profile_table
from headrace.profiling.violations import export_violations, violations_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from distributed import Client

ROWS = 2000
OPTIONS = CheckOptions.model_validate(
    {
        "rules": [{"name": "in order", "expression": "start <= end"}],
        "expect": {
            "start": {"minimum": 2, "maximum": 95},
            "city": {"values": ["Ulm", "Bonn"]},
            "day": {"minimum": "2026-01-05"},
            "end": {"max_missing": 0.0},
            "flag": {"values": [True]},
            "part": {"minimum": 1, "values": [1, 2]},
        },
        "unique": ["key"],
        "pii": ["key"],
    }
)
UNIQUE = CheckOptions.model_validate({"unique": ["key"]})

BROKEN: dict[str, Callable[[dict[str, Any]], bool]] = {
    "in order": lambda row: row["end"] is not None and row["start"] > row["end"],
    "start: range": lambda row: not 2 <= row["start"] <= 95,
    "city: values": lambda row: row["city"] == "Rome",
    "day: range": lambda row: str(row["day"]) < "2026-01-05",
    "end: missing": lambda row: row["end"] is None,
    "flag: values": lambda row: not row["flag"],
    "part: values": lambda row: row["part"] == 3,
    "unique key": lambda row: row["key"] == 3,
}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(1)
    start = rng.integers(0, 100, ROWS)
    key = np.arange(ROWS)
    key[[5, 1500]] = 3
    return pa.table(
        {
            "start": start,
            "end": pa.array(
                np.where(rng.random(ROWS) < 0.02, np.nan, start + rng.integers(-2, 30, ROWS)),
                from_pandas=True,
            ),
            "city": rng.choice(["Ulm", "Bonn", "Rome"], ROWS, p=[0.5, 0.48, 0.02]),
            "day": (np.datetime64("2026-01-01") + rng.integers(0, 200, ROWS)).astype("datetime64[D]"),
            "flag": rng.random(ROWS) < 0.99,
            "part": rng.choice([1, 2, 3], ROWS, p=[0.5, 0.49, 0.01]),
            "key": key,
            "note": [f"write to u{row}@example.org" if row % 2 else "quiet" for row in range(ROWS)],
        }
    )


@pytest.fixture(scope="module")
def data(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    directory = tmp_path_factory.mktemp("violations")
    pq.write_table(table.slice(0, 1200), directory / "a.parquet", row_group_size=500)
    pq.write_table(table.slice(1200), directory / "b.parquet")
    return Dataset(str(directory))


def export(client: Client, data: Dataset, url: str, personal: Any = ()) -> pa.Table:
    finders = check_finders(OPTIONS, data.schema)
    survey = profile_dataset(client, data, finders=finders)
    violations = violations_of(OPTIONS, data.schema, survey.findings, {("missing", "end")})
    reader = Reader(client)
    exported = export_violations(
        reader, source_of(data, data.schema.names), violations, url, personal=personal
    )
    assert [record.rows for record in reader.records] == [data.rows]
    found = pq.read_table(url)
    assert found.num_rows == exported.rows
    return found


def test_the_rows_and_their_reasons_are_those_of_the_whole_table(
    threads: Client, data: Dataset, table: pa.Table, tmp_path: Path
) -> None:
    found = export(threads, data, str(tmp_path / "out"), None).to_pylist()
    expected = []
    for number, row in enumerate(table.to_pylist()):
        broken = [name for name, is_broken in BROKEN.items() if is_broken(row)]
        place = ("a.parquet", number) if number < 1200 else ("b.parquet", number - 1200)
        if broken:
            expected.append(row | {"_broken": broken, "_file": place[0], "_row": place[1]})
    assert found == expected
    assert {"in order", "unique key", "end: missing"} <= {name for row in found for name in row["_broken"]}


@pytest.mark.parametrize(
    ("most", "limit", "told"),
    [
        (1 << 17, 1 << 17, ""),
        (10, 1 << 17, "10 of 500 repeated values were looked for"),
        (1 << 17, 64, r"\d+ of about \d+ repeated values were looked for"),
    ],
)
def test_an_export_that_leaves_repeated_rows_out_says_so(
    monkeypatch: pytest.MonkeyPatch, most: int, limit: int, told: str
) -> None:
    monkeypatch.setattr(module, "MOST_REPEATED", most)
    twice = pa.table({"key": np.arange(1000) // 2})
    finders = check_finders(UNIQUE, twice.schema)
    finder = next(each for each in finders if isinstance(each, RepeatFinder) and each.name == "unique key")
    high, low, _ = finder.hashes(twice)
    findings = {finder.name: RepeatedRows(limit=limit).update(high, low)}
    cut = dict(violations_of(UNIQUE, twice.schema, findings, set()).cut)
    assert re.fullmatch(told, cut.get(finder.name, ""))


def test_what_tells_about_persons_is_masked(threads: Client, data: Dataset, tmp_path: Path) -> None:
    survey = profile_dataset(threads, data)
    personal = personal_columns(survey.whole, OPTIONS.pii)
    assert personal["key"] == "declared"
    found = export(threads, data, str(tmp_path / "out"), personal)
    assert found["key"].null_count == found.num_rows
    assert b"example.org" not in b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    with pytest.raises(InputError, match="is not empty"):
        export(threads, data, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ("ask ann.b@example.co.uk today", True),
        ("+49 731 1234567", True),
        ("(212) 555-0187", True),
        ("0731 123456", True),
        ("from 192.168.10.7", True),
        ("2001:db8:85a3:0:0:8a2e:370:7334", True),
        ("paid with 4111 1111 1111 1111", True),
        ("paid with 4111 1111 1111 1112", False),
        ("2026-01-31", False),
        ("10.5", False),
        ("room 12, 3rd floor", False),
        ("N14228", False),
        ("", False),
    ],
)
def test_values_that_look_like_a_person_are_hidden(value: str, *, hidden: bool) -> None:
    table = pa.table({"text": pa.array([value, None]).dictionary_encode(), "n": [1, 2]})
    assert masked(table, ()).to_pylist() == [
        {"text": "***" if hidden else value, "n": 1},
        {"text": None, "n": 2},
    ]


@pytest.mark.parametrize("name", ["e_mail", "homePhone", "Last Name", "name", "client_ip", "cardNumber"])
def test_columns_about_persons_are_known_by_their_names(name: str) -> None:
    assert name in personal_columns(profile_table(pa.table({name: [1, 2]}))["all"])


@pytest.mark.parametrize("name", ["filename", "zip", "column_name", "wildcard", "recipe"])
def test_other_columns_are_not_taken_for_them(name: str) -> None:
    assert name not in personal_columns(profile_table(pa.table({name: [1, 2]}))["all"])
