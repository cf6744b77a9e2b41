"""Rules, references, keys and equal rows are found in the profile's one pass, with places that are true."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.data.dataset import Dataset
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.engine.splits import Splitter
from headrace.errors import WorkflowError
from headrace.profiling import rules
from headrace.profiling.checks import CheckReport, check_profile
from headrace.profiling.expectations import CheckOptions
from headrace.profiling.findings import check_finders, columns_looked_at
from headrace.profiling.measure import measure, profile_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

    from headrace.profiling.outcomes import Check

ROWS = 3000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 100, ROWS)
    end = start + rng.integers(-1, 50, ROWS)
    airport = rng.choice(["EWR", "JFK", "XXX"], ROWS, p=[0.5, 0.49, 0.01])
    rows = pa.table(
        {
            "start": start,
            "end": pa.array(np.where(rng.random(ROWS) < 0.1, np.nan, end), from_pandas=True),
            "airport": airport,
            "key": np.arange(ROWS),
            "noise": rng.normal(size=ROWS),
        }
    )
    return pa.concat_tables([rows, rows.slice(2500, 40)])


@pytest.fixture(scope="module")
def data(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("found") / "data"
    for month in range(4):
        (directory / f"month={month}").mkdir(parents=True)
        part = table.slice(month * 760, 760)
        pq.write_table(part, directory / f"month={month}" / "part.parquet", row_group_size=200)
    pq.write_table(pa.table({"faa": ["JFK", "EWR", None, "LGA"]}), directory.parent / "airports.parquet")
    return directory


def options(data: Path, **changes: Any) -> CheckOptions:
    return CheckOptions.model_validate(
        {
            "rules": [
                {"name": "ends after it starts", "expression": "end >= start"},
                {"expression": "start < 100", "severity": "warn"},
            ],
            "references": [{"column": "airport", "in": str(data.parent / "airports.parquet"), "key": "faa"}],
            "unique": ["key", ["start", "end"]],
        }
        | changes
    )


def one(report: CheckReport, name: str, column: str = "", figure: str = "") -> Check:
    (check,) = [
        check
        for check in report.checks
        if (check.name, check.column) == (name, column) and check.figure.startswith(figure)
    ]
    return check


def checked(client: Client, data: Path, chosen: CheckOptions, where: str | None = None) -> CheckReport:
    dataset = Dataset(str(data), where=where)
    survey = profile_dataset(client, dataset, finders=check_finders(chosen, dataset.schema))
    return check_profile(survey.whole, chosen, findings=survey.findings)


def test_figures_are_those_of_the_whole_table(threads: Client, data: Path, table: pa.Table) -> None:
    report = checked(threads, data, options(data))
    frame = table.to_pandas()
    known = frame.end.notna()
    broken = known & (frame.end < frame.start)
    rule = one(report, "rule", figure="ends after it starts")
    assert (rule.status, rule.exact) == ("fail", True)
    assert (rule.facts["broken"], rule.facts["unknown"]) == (broken.sum(), (~known).sum())
    places = [
        {"file": f"month={row // 760}/part.parquet", "row": row % 760} for row in np.flatnonzero(broken)[:5]
    ]
    assert rule.facts["first"] == places
    assert one(report, "rule", figure="start < 100").status == "pass"
    away = ~frame.airport.isin(["EWR", "JFK"])
    reference = one(report, "reference", "airport")
    assert (reference.status, reference.facts["broken"]) == ("fail", away.sum())
    key = one(report, "unique", "key")
    assert (key.status, key.facts["extra"]) == ("fail", frame.duplicated("key").sum())
    pair = one(report, "unique", "start, end")
    assert pair.facts["extra"] == frame[known].duplicated(["start", "end"]).sum()
    assert pair.facts["skipped"] == (~known).sum()
    twice = one(report, "duplicates")
    assert twice.facts["extra"] == frame.assign(month=np.arange(len(frame)) // 760).duplicated().sum()
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["status"] == "fail"


def test_rows_that_a_filter_leaves_out_are_not_counted_and_places_stay_true(
    threads: Client, data: Path, table: pa.Table
) -> None:
    report = checked(threads, data, options(data), where="start > 50")
    frame = table.to_pandas()
    broken = np.flatnonzero((frame.end < frame.start) & (frame.start > 50))
    rule = one(report, "rule", figure="ends after it starts")
    assert rule.facts["broken"] == len(broken)
    assert rule.facts["first"][0] == {
        "file": f"month={broken[0] // 760}/part.parquet",
        "row": broken[0] % 760,
    }


def test_rules_are_counted_for_each_part_of_the_split(threads: Client, data: Path) -> None:
    dataset = Dataset(str(data))
    chosen = options(data)
    splitter = Splitter(seed=3, test=0.3, validation=0.2)
    source = source_of(dataset, dataset.schema.names)
    survey = measure(
        Reader(threads),
        source,
        target=None,
        splitter=splitter,
        finders=check_finders(chosen, source.schema, splitter),
    )
    rule = one(check_profile(survey.whole, chosen, findings=survey.findings), "rule", figure="ends")
    for part, counts in rule.facts["parts"].items():
        assert sum(counts.values()) == survey.profiles[part].rows
    assert sum(counts["broken"] for counts in rule.facts["parts"].values()) == rule.facts["broken"]
    assert "train " in rule.detail


def test_a_share_and_a_severity_decide_what_a_broken_rule_is(threads: Client, data: Path) -> None:
    chosen = [
        {"name": "lax", "expression": "end >= start", "at_least": 0.9},
        {"name": "told", "expression": "end >= start", "severity": "warn"},
        {"name": "nothing known", "expression": "end / 0 > 1"},
    ]
    report = checked(threads, data, options(data, rules=chosen, max_duplicates=0.5))
    assert [one(report, "rule", figure=name).status for name in ("lax", "told", "nothing known")] == [
        "pass",
        "warn",
        "warn",
    ]
    assert one(report, "duplicates").status == "pass"
    strict = checked(threads, data, options(data, max_duplicates=0.0, expect={"key": {"unique": True}}))
    assert one(strict, "duplicates").status == "fail"
    assert one(strict, "unique", "key").facts["extra"] == 40


def test_without_duplicates_nothing_is_hashed(data: Path) -> None:
    dataset = Dataset(str(data))
    assert check_finders(CheckOptions(duplicates=False), dataset.schema) == ()
    assert check_finders(CheckOptions(), dataset.schema, rows=2_000_000) == ()
    for asked in (CheckOptions(duplicates=True), CheckOptions(max_duplicates=0.1)):
        assert len(check_finders(asked, dataset.schema, rows=2_000_000)) == 1
    assert columns_looked_at(options(data), dataset.schema) == ("end", "start", "airport", "key")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rules": [{"expression": "ende > 1"}]}, "did you mean 'end'?"),
        ({"references": [{"column": "port", "in": "airports"}]}, "there is no column 'port'"),
        ({"references": [{"column": "airport", "in": "nowhere.parquet"}]}, "checks.references[0]"),
        (
            {"references": [{"column": "start", "in": "airports.parquet", "key": "faa"}]},
            "'start' is a number and 'faa' is a text",
        ),
        (
            {"references": [{"column": "airport", "in": "airports.parquet"}]},
            "the table has no column 'airport'",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_key(
    data: Path, changes: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    with pytest.raises(WorkflowError) as caught:
        check_finders(options(data, **changes), Dataset(str(data)).schema)
    assert told in str(caught.value)


def test_a_table_that_is_not_small_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_KEYS", 3)
    with pytest.raises(WorkflowError, match="the table has 4 rows; refer to one of at most 3"):
        check_finders(options(data), Dataset(str(data)).schema)


def test_approximate_figures_say_so() -> None:
    from headrace.accumulators.rowhash import RepeatedRows, hash_rows
    from headrace.profiling.duplicates import check_duplicates

    keys = np.concatenate([np.arange(4000), np.arange(1000)])
    found = RepeatedRows(512).update(*hash_rows([pa.chunked_array([pa.array(keys)])], len(keys)))
    check = check_duplicates(found, None, 1)
    assert not check.exact
    assert check.figure.startswith("about ")
    assert check.status == "warn"
    alone = RepeatedRows(512).update(*hash_rows([pa.chunked_array([pa.array(np.arange(4000))])], 4000))
    assert "with 95 % confidence fewer than" in check_duplicates(alone, None, 1).figure
    share, error = (found.result()[name] / len(keys) for name in ("extra", "error"))
    assert check_duplicates(found, share - error, 1).status == "warn"
    assert check_duplicates(found, share - 3 * error, 1).status == "fail"
