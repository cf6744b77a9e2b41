"""Six scores follow from what was looked at, and say why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.storage import write_json
from headrace.profiling.checks import CheckReport, check_profile
from headrace.profiling.expectations import CheckOptions
from headrace.profiling.profile import profile_table
from headrace.profiling.provenance import read_provenance

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.profiling.dimensions import Dimension

NAMES = ["accuracy", "completeness", "consistency", "relevance", "timeliness", "collection"]
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def scored(
    columns: dict[str, Any], checks: dict[str, Any] | None = None, **more: Any
) -> dict[str, Dimension]:
    profile = profile_table(pa.table(columns))["all"]
    report = check_profile(profile, CheckOptions.model_validate(checks or {}), now=NOW, **more)
    assert [each.name for each in report.dimensions] == NAMES
    assert CheckReport.from_dict(report.to_dict()).dimensions == report.dimensions
    return {each.name: each for each in report.dimensions}


def test_what_is_missing_lowers_completeness_by_its_share() -> None:
    found = scored({"a": [1, None, 3, 4], "b": [1, 2, 3, 4]})["completeness"]
    assert found.score == 87
    assert found.reasons == ("a: 25.0 % missing",)


def test_what_is_outside_lowers_accuracy_and_is_told() -> None:
    columns = {"a": list(range(100)), "s": ["x"] * 90 + ["y"] * 10}
    found = scored(columns, {"expect": {"a": {"maximum": 49}, "s": {"values": ["x"]}}})["accuracy"]
    assert found.score == 80  # of a: all finite, half in range; of s: 90 of 100
    assert any("a: 0 .. 99" in reason for reason in found.reasons)
    undeclared = scored(columns)["accuracy"]
    assert undeclared.score == 100
    assert "no range or values are declared" in undeclared.reasons[-1]


def test_a_column_that_tells_nothing_lowers_relevance() -> None:
    found = scored({"a": [1, 2, 3, 4], "b": [7, 7, 7, 7]}, ignore=["c"])["relevance"]
    assert found.score == 50
    assert found.reasons == ("b: constant, always '7'",)


def test_age_is_judged_only_where_it_is_declared() -> None:
    columns = {"at": pa.array([datetime(2026, 1, 9, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)])}
    assert scored(columns)["timeliness"].score is None
    assert scored(columns, {"freshness": "2d"}, time="at")["timeliness"].score == 100
    old = scored(columns, {"freshness": "2h"}, time="at")["timeliness"]
    assert old.score == 50
    assert "newest row 2026-01-09" in old.reasons[0]


def test_collection_is_scored_by_what_the_provenance_tells(tmp_path: Path) -> None:
    assert read_provenance(str(tmp_path)) is None
    assert scored({"a": [1, 2]})["collection"].score == 0
    write_json(
        str(tmp_path / "provenance.json"),
        {"source": "survey", "notes": {"licence": "CC0", "consent": "given"}},
    )
    for url in (str(tmp_path), str(tmp_path / "part.parquet"), f"{tmp_path}/*.parquet"):
        provenance = read_provenance(url)
        assert provenance is not None
    found = scored({"a": [1, 2]}, provenance=provenance)["collection"]
    assert found.score == int(100 * 3 / 7)
    assert "the provenance does not tell: time of collection" in found.reasons
    (tmp_path / "provenance.json").unlink()
    ingested = {
        "source": {"kind": "sql", "url": "postgresql://db/x"},
        "notes": {"licence": None, "consent": None},
        "rows": 10,
        "ingests": [{"time": "2026-01-01T00:00:00+00:00"}],
        "units": [{"files": [{"sha256": "ab"}]}],
    }
    write_json(str(tmp_path / "_ingest" / "provenance.json"), ingested)
    found = scored({"a": [1, 2]}, provenance=read_provenance(str(tmp_path)))["collection"]
    assert found.score == int(100 * 5 / 7)
    assert "time of collection is told: 2026-01-01T00:00:00+00:00" in found.reasons
    (tmp_path / "provenance.json").write_text("{")
    assert read_provenance(str(tmp_path)) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_scores_lie_within_bounds_whatever_the_data(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(0, 200))
    numbers = np.where(rng.random(rows) < share, np.inf, rng.normal(size=rows))
    texts = [None if rng.random() < share else str(rng.integers(0, 5)) for _ in range(rows)]
    columns = {"x": numbers, "s": pa.array(texts, pa.string())}
    for each in scored(columns, {"expect": {"x": {"minimum": 0.0}}}).values():
        assert each.score is None or 0 <= each.score <= 100
        assert each.reasons
        if each.name == "accuracy" and rows and np.isinf(numbers).any():
            assert each.score != 100


@pytest.mark.parametrize("rows", [0, 1])
def test_nearly_nothing_can_be_scored(rows: int) -> None:
    found = scored({"x": pa.array([1.0] * rows, pa.float64())})
    assert found["completeness"].score == (100 if rows else None)
