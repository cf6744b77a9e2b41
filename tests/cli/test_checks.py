from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.profiling import violations

Run = Callable[..., Any]

CHECKS = """checks:
  expect:
    x: {minimum: -100, maximum: 100}
  rules:
    - {name: small gaps, expression: "gap < 3 or gap is null", at_least: 0.9}
    - {name: above, expression: "x > gap"}
  unique: [[x, gap]]
"""


@pytest.fixture(autouse=True)
def expectations(inside: Run) -> None:
    Path("checks.yaml").write_text(CHECKS)


def test_rules_are_counted_and_their_rows_exported(inside: Run) -> None:

    code, out, err = inside(
        "check", "data", "--expectations", "checks.yaml", "--export-violations", "broken", "--json"
    )
    document = json.loads(out)
    assert (code, document["status"]) == (1, "fail")
    above = next(check for check in document["checks"] if check["figure"].startswith("above: "))
    assert above["facts"]["broken"] > 0
    assert [each["name"] for each in document["dimensions"]][-1] == "collection"
    found = pq.read_table("broken")
    assert document["violations"]["rows"] == found.num_rows
    assert document["violations"]["cut"] == {}
    assert sum("above" in names for names in found["_broken"].to_pylist()) == above["facts"]["broken"]
    assert "violations: " in err


def test_a_person_reads_tables_and_scores(inside: Run) -> None:
    code, out, _ = inside("check", "data", "--expectations", "checks.yaml", "--export-violations", "broken")
    assert code == 1
    assert "completeness" in out
    assert "above: " in out
    assert "rows in broken" in out


def test_an_export_that_a_cap_cuts_says_so(inside: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(violations, "MOST_REPEATED", 3)
    pq.write_table(pa.table({"key": [number // 2 for number in range(20)]}), "twice.parquet")
    Path("unique.yaml").write_text("checks: {unique: [key]}")
    asked = ("check", "twice.parquet", "--expectations", "unique.yaml", "--export-violations", "broken")
    code, out, _ = inside(*asked)
    assert code == 1
    assert "violations of 'unique key' are cut: 3 of 10 repeated values were looked for" in out
    assert pq.read_table("broken").filter(pa.array(
        ["unique key" in names for names in pq.read_table("broken")["_broken"].to_pylist()]
    )).num_rows == 6  # fmt: skip


def test_what_is_suggested_holds_for_the_same_data(inside: Run) -> None:
    assert inside("check", "data", "--write-expectations", "suggested.yaml")[0] == 0
    assert inside("check", "data", "--expectations", "suggested.yaml")[0] == 0
    code, _, err = inside("check", "data", "--write-expectations", "suggested.yaml")
    assert (code, "exists already" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('checks: {rules: [{expression: "x >"}]}', "a column or a value was expected"),
        ('checks: {rules: [{expression: "y > 1"}]}', "there is no column 'y'"),
        ("checks: {rule: []}", "did you mean"),
        ("{}", "checks"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(inside: Run, text: str, told: str) -> None:
    Path("wrong.yaml").write_text(text)
    code, _, err = inside("check", "data", "--expectations", "wrong.yaml")
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_one_reference_is_given(inside: Run) -> None:
    code, _, err = inside("check", "data", "--expectations", "checks.yaml", "--against", "profile.json")
    assert (code, "--against and --expectations were both given" in err) == (2, True)
    pq.write_table(pa.table({"x": [1]}), "broken.parquet")
    code, _, err = inside("check", "data", "--export-violations", ".")
    assert (code, "is not empty" in err) == (2, True)
