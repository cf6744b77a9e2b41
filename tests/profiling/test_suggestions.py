"""Suggested expectations hold for further data of the same kind, and not for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.optionfile import parse_options
from headrace.profiling.checks import check_against, check_profile
from headrace.profiling.expectations import ExpectationFile
from headrace.profiling.profile import profile_table
from headrace.profiling.suggestions import expectations_text, suggest_expectations

if TYPE_CHECKING:
    from headrace.profiling.outcomes import Check
    from headrace.profiling.profile import Profile


def drawn(seed: int, rows: int = 5000, **changes: Any) -> Profile:
    rng = np.random.default_rng(seed)
    columns = {
        "length": rng.normal(100, 10, rows),
        "share": rng.random(rows),
        "month": rng.integers(1, 13, rows),
        "price": rng.integers(0, 5000, rows),
        "gap": pa.array(np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)), from_pandas=True),
        "state": rng.choice(["on", "off", "NO"], rows),
        "city": np.char.add("c", rng.geometric(0.02, rows).astype(str)),
        "at": np.datetime64("2026-01-01") + rng.integers(0, 300, rows).astype("timedelta64[D]"),
        "key": np.char.add(f"k{seed}-", np.arange(rows).astype(str)),
        "empty": pa.nulls(rows, pa.float64()),
        "odd: [name]": rng.random(rows) < 0.5,
    }
    return profile_table(pa.table(columns | {key: make(rng, rows) for key, make in changes.items()}))["all"]


@pytest.mark.parametrize("seed", range(1, 6))
def test_they_hold_for_other_rows_of_the_same_kind(seed: int) -> None:
    file = parse_options(expectations_text(drawn(0), source="a\nb"), ExpectationFile, name="e.yaml")
    report = check_profile(drawn(seed), file.checks)
    assert [check for check in report.checks if check.status == "fail"] == []


def test_they_say_what_a_person_would_expect() -> None:
    known = suggest_expectations(drawn(0))
    assert (known["month"]["minimum"], known["month"]["maximum"]) == (1, 12)
    assert known["share"]["minimum"] == 0.0
    assert known["price"]["minimum"] == 0
    assert 5000 <= known["price"]["maximum"] <= 6000
    assert known["state"]["values"] == ["NO", "off", "on"]
    assert "values" not in known["city"]
    assert known["key"]["unique"] is True
    assert 0.2 < known["gap"]["max_missing"] < 0.3
    assert known["length"]["max_missing"] < 0.01
    assert str(known["at"]["minimum"]) == "2026-01-01"
    assert "maximum" not in known["at"]
    assert known["empty"] == {"type": "numeric", "max_missing": 1.0}


@pytest.mark.parametrize(
    ("column", "make", "name"),
    [
        ("length", lambda rng, rows: rng.normal(200, 10, rows), "range"),
        ("state", lambda rng, rows: rng.choice(["on", "broken"], rows), "values"),
        ("gap", lambda _rng, rows: pa.nulls(rows, pa.float64()), "missing"),
        ("month", lambda rng, rows: rng.choice(["1", "2"], rows), "type"),
    ],
)
def test_they_fail_for_data_of_another_kind(column: str, make: Any, name: str) -> None:
    file = parse_options(expectations_text(drawn(0), source="d"), ExpectationFile, name="e.yaml")
    report = check_profile(drawn(1, **{column: make}), file.checks)
    assert (name, column) in {(check.name, check.column) for check in report.having("fail")}


def told(old: Profile, new: Profile, name: str, column: str) -> Check | None:
    checks = check_against(new, old).checks
    return next((check for check in checks if (check.name, check.column) == (name, column)), None)


@pytest.mark.parametrize("rows", [60, 400, 5000])
def test_rows_of_the_same_kind_have_not_moved_however_few(rows: int) -> None:
    for seed in range(1, 6):
        report = check_against(drawn(seed, rows), drawn(0))
        assert [
            check
            for check in report.checks
            if check.name in {"drift", "new values"} and check.status != "pass"
        ] == []


def test_tails_that_grow_are_told_by_their_stability_index() -> None:
    def heavier(rng: np.random.Generator, rows: int) -> Any:
        return np.where(
            rng.random(rows) < 0.7, rng.normal(100, 10, rows), 100 + 40 * rng.choice([-1, 1], rows)
        )

    check = told(drawn(0), drawn(1, length=heavier), "drift", "length")
    assert check is not None
    assert check.facts["psi"] - check.facts["psi_noise"] > 0.1
    assert "PSI" in check.figure


def test_frequent_values_that_were_not_seen_before_are_told() -> None:
    def newer(rng: np.random.Generator, rows: int) -> Any:
        return np.where(
            rng.random(rows) < 0.05, "new town", np.char.add("c", rng.geometric(0.02, rows).astype(str))
        )

    check = told(drawn(0), drawn(1, city=newer), "new values", "city")
    assert check is not None
    assert check.status == "warn"
    assert "'new town'" in check.figure
