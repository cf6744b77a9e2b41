from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.profiling.checks import CheckReport, check_against, check_profile
from headrace.profiling.expectations import CheckOptions
from headrace.profiling.profile import Profile, merge_profiles, profile_table

if TYPE_CHECKING:
    from headrace.profiling.outcomes import Check

ROWS = 4000


def profiled(columns: dict[str, Any], target: str | None = None, chunks: int = 4) -> Profile:
    table = pa.table(columns)
    step = max(1, -(-len(table) // chunks))
    parts = [profile_table(table.slice(start, step), target=target) for start in range(0, len(table), step)]
    whole = parts[0]
    for part in parts[1:]:
        whole = merge_profiles(whole, part)
    return whole["all"]


def found(report: CheckReport, name: str, column: str = "") -> Check:
    (check,) = [check for check in report.checks if (check.name, check.column) == (name, column)]
    return check


def expecting(**expectations: Any) -> CheckOptions:
    return CheckOptions.model_validate({"expect": expectations})


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


BASE = {
    "x": rng().normal(size=ROWS),
    "city": rng().choice(["a", "b", "c"], ROWS),
    "y": rng().integers(0, 2, ROWS),
}


@pytest.mark.parametrize(
    ("column", "expectation", "name", "status"),
    [
        ("x", {"type": "double"}, "type", "pass"),
        ("x", {"type": "numeric"}, "type", "pass"),
        ("x", {"type": "int64"}, "type", "fail"),
        ("x", {"minimum": -100, "maximum": 100}, "range", "pass"),
        ("x", {"minimum": 0}, "range", "fail"),
        ("x", {"maximum": 0}, "range", "fail"),
        ("x", {"maximum": 0, "max_outside": 0.4}, "range", "fail"),
        ("x", {"maximum": 0, "max_outside": 0.6}, "range", "pass"),
        ("city", {"minimum": 0}, "range", "fail"),
        ("x", {"max_missing": 0.0}, "missing", "pass"),
        ("city", {"values": ["a", "b", "c", "d"]}, "values", "pass"),
        ("city", {"values": ["a", "b"]}, "values", "fail"),
        ("city", {"values": ["a", "b"], "max_outside": 0.5}, "values", "pass"),
        ("y", {"values": [0, 1]}, "values", "pass"),
        ("y", {"values": [0]}, "values", "fail"),
        ("city", {"unique": True}, "unique", "fail"),
        ("x", {"unique": True}, "unique", "pass"),
        ("gone", {"max_missing": 0.1}, "column", "fail"),
    ],
)
def test_a_declared_expectation_passes_or_fails(column: str, expectation: Any, name: str, status: str):
    report = check_profile(profiled(BASE), expecting(**{column: expectation}))
    assert found(report, name, column).status == status
    assert report.status == status


def test_missing_counts_nulls_and_nan_and_names_the_share():
    data = {"x": pa.array([1.0, None, float("nan"), 4.0])}
    check = found(check_profile(profiled(data), expecting(x={"max_missing": 0.4})), "missing", "x")
    assert check.status == "fail"
    assert check.figure == "50.0 % (2 rows)"
    assert check.exact


def test_booleans_are_expected_as_true_and_false():
    profile = profiled({"b": [True, False, True]})
    assert (
        found(check_profile(profile, expecting(b={"values": [True, False]})), "values", "b").status == "pass"
    )
    assert found(check_profile(profile, expecting(b={"values": [False]})), "values", "b").status == "fail"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_range_of_times_is_held_in_any_unit(unit: str):
    times = pa.array(np.array(["2013-01-01", "2013-06-01"], "datetime64[s]")).cast(pa.timestamp(unit))
    good = expecting(t={"minimum": "2013-01-01", "maximum": "2013-12-31T00:00:00"})
    late = expecting(t={"minimum": "2013-01-02"})
    assert found(check_profile(profiled({"t": times}), good), "range", "t").status == "pass"
    check = found(check_profile(profiled({"t": times}), late), "range", "t")
    assert check.status == "fail"
    assert check.figure.startswith("2013-01-01")


def test_infinities_are_outside_any_bound():
    profile = profiled({"x": [1.0, 2.0, float("inf")]})
    assert found(check_profile(profile, expecting(x={"maximum": 10})), "range", "x").status == "fail"
    assert found(check_profile(profile), "infinity", "x").figure == "1 infinite values"


def test_freshness_counts_the_age_of_the_newest_row():
    newest = datetime(2026, 1, 10, 12, tzinfo=UTC)
    profile = profiled({"t": pa.array([newest - timedelta(days=9), newest], pa.timestamp("us", "UTC"))})
    options = CheckOptions.model_validate({"freshness": "36h"})
    for age, status in (
        (timedelta(hours=35), "pass"),
        (timedelta(hours=37), "fail"),
        (timedelta(hours=-1), "warn"),
    ):
        report = check_profile(profile, options, time="t", now=newest + age)
        assert found(report, "freshness", "t").status == status


def test_one_class_only_and_a_target_with_nulls_fail_with_their_count():
    one = check_profile(profiled({"x": BASE["x"], "y": np.ones(ROWS, int)}, "y"))
    assert found(one, "balance", "y").figure == "one class only, '1'"
    holes = check_profile(profiled({"x": [1.0, 2.0, 3.0], "y": pa.array([0, 1, None])}, "y"))
    assert found(holes, "target", "y").figure == "1 rows without a target (33.3 %)"
    assert (one.status, holes.status) == ("fail", "fail")
    assert check_profile(profiled(BASE), target="z").status == "fail"


def test_a_rare_class_warns():
    y = np.zeros(ROWS, int)
    y[:30] = 1
    assert found(check_profile(profiled({"x": BASE["x"], "y": y}, "y")), "balance", "y").status == "warn"


def test_columns_that_look_wrong_warn_and_the_rest_pass():
    data = BASE | {
        "void": pa.nulls(ROWS, pa.float64()),
        "same": np.full(ROWS, 7),
        "id": np.arange(ROWS),
        "uid": [f"user-{i}" for i in range(ROWS)],
        "nan": np.where(np.arange(ROWS) % 9, BASE["x"], np.nan),
        "sparse": pa.array([None if i % 4 else float(i) for i in range(ROWS)]),
        "twin": BASE["x"],
    }
    report = check_profile(profiled(data, "y"))
    warned = {(check.name, check.column) for check in report.having("warn")}
    assert warned == {
        ("all-null", "void"),
        ("constant", "same"),
        ("identifier", "id"),
        ("identifier", "uid"),
        ("nan", "nan"),
        ("missing", "sparse"),
        ("copy", "twin"),
    }
    assert report.status == "warn"


def test_what_is_ignored_is_not_looked_at():
    report = check_profile(profiled(BASE | {"id": np.arange(ROWS)}, "y"), ignore=["id"])
    assert report.status == "pass"


@pytest.mark.parametrize(
    ("leak", "status"),
    [
        (lambda y, noise: y + noise * 0.01, "fail"),
        (lambda y, noise: -3.0 * y + noise * 0.01, "fail"),
        (lambda y, noise: y * 3.0 + noise, "warn"),
        (lambda y, noise: y * 1.0 + noise, "pass"),
        (lambda y, noise: np.where(y == 1, noise, np.nan), "fail"),
        (lambda y, noise: np.where(y == 1, "won", "lost"), "fail"),
        (lambda y, noise: np.char.add("w", ((noise > 0) * 2 + y).astype(int).astype(str)), "fail"),
        (lambda y, noise: np.char.add("r", np.abs(noise * 9999).astype(int).astype(str)), "pass"),
        (lambda y, noise: y.astype(bool), "fail"),
    ],
    ids=["number", "negative", "strong", "fair", "only-known-for-one", "word", "code", "noise-codes", "flag"],
)
def test_a_column_that_knows_the_answer_is_told(leak: Any, status: str):
    noise = np.random.default_rng(3).normal(size=ROWS)
    report = check_profile(profiled(BASE | {"leak": leak(BASE["y"], noise)}, "y"))
    leaks = [check for check in report.checks if check.name == "leakage" and check.column in {"leak", ""}]
    assert [check.status for check in leaks] == [status]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 4), st.booleans())
def test_the_auc_of_one_column_is_that_of_its_ranks(seed: int, shift: float, ties: bool):
    from sklearn.metrics import roc_auc_score

    from headrace.profiling.leakage import separation

    random = np.random.default_rng(seed)
    y = random.integers(0, 2, 3000)
    x = random.normal(size=3000) + shift * y
    x = np.round(x) if ties else x
    profile = profiled({"x": x, "y": y}, "y")
    auc = separation(profile.columns["x"], profile.classes)
    truth = roc_auc_score(y, x)
    assert auc is not None
    # as a category a column of few values may tell a little more than as a score
    assert max(truth, 1 - truth) - 0.01 <= auc <= max(truth, 1 - truth) + (0.03 if ties else 0.01)


def test_one_class_well_apart_from_the_others_is_no_leak():
    y = np.arange(3000) % 3
    x = np.where(y == 0, 100.0, y) + rng().normal(size=3000)
    report = check_profile(profiled({"x": x, "y": y}, "y"))
    assert not [check for check in report.checks if check.name == "leakage" and check.status == "fail"]


def test_a_regression_target_of_few_values_has_no_classes_to_leak():
    report = check_profile(profiled({"x": BASE["y"] * 2.0, "y": BASE["y"]}, "y"), task="regression")
    assert not [check for check in report.checks if check.name == "leakage"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(200, 3000), st.integers(200, 3000))
def test_more_rows_of_the_same_source_never_fail_against_it(seed: int, n: int, m: int):
    random = np.random.default_rng(seed)

    def draw(rows: int) -> Profile:
        return profiled(
            {
                "x": np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows)),
                "k": random.poisson(3, rows),
                "c": random.choice(list("abcdefgh"), rows),
                "b": random.random(rows) < 0.3,
            }
        )

    assert not list(check_against(draw(m), draw(n)).having("fail"))


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("drift", "x", BASE["x"] + 1.0),
        ("missing", "x", np.where(np.arange(ROWS) % 5, BASE["x"], np.nan)),
        ("range", "x", np.where(np.arange(ROWS) % 20, BASE["x"], 50.0)),
        ("values", "city", np.where(np.arange(ROWS) % 10, BASE["city"], "new")),
        ("drift", "city", np.where(np.arange(ROWS) % 2, BASE["city"], "a")),
        ("type", "city", np.arange(ROWS) % 7),
    ],
)
def test_what_has_changed_against_a_profile_fails(name: str, column: str, values: Any):
    report = check_against(profiled(BASE | {column: values}), profiled(BASE))
    assert found(report, name, column).status == "fail"


def test_a_column_that_is_gone_fails_and_a_new_one_warns():
    report = check_against(
        profiled({"x": BASE["x"], "new": BASE["x"] * 2}), profiled({"x": BASE["x"], "y": BASE["y"]})
    )
    assert found(report, "column", "y").status == "fail"
    assert found(report, "column", "new").status == "warn"


def test_new_data_may_lack_the_target():
    new = {name: values for name, values in BASE.items() if name != "y"}
    assert check_against(profiled(new), profiled(BASE, "y")).status == "pass"


def test_a_stored_profile_checks_as_the_measured_one():
    stored = Profile.from_json(profiled(BASE, "y").to_json())
    assert check_profile(stored) == check_profile(profiled(BASE, "y"))


def test_a_report_is_json_and_comes_back_and_shows_itself_escaped():
    report = check_profile(profiled(BASE | {"<b>": np.full(ROWS, 1)}, "y"), expecting(x={"minimum": 0}))
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["status"] == "fail"
    assert set(document["checks"][0]) == {"name", "column", "status", "figure", "exact", "detail", "facts"}
    assert CheckReport.from_dict(document) == report
    assert "&lt;b&gt;" in report._repr_html_()
    assert report.summary().startswith("1 failed, 1 warned")


def test_no_rows_and_no_columns_bring_no_error():
    empty = pa.table({"x": pa.array([], pa.float64()), "s": pa.array([], pa.string())})
    assert check_profile(profile_table(empty)["all"]).status in {"pass", "warn"}
    assert (
        check_against(profile_table(empty)["all"], profiled({"x": BASE["x"], "s": BASE["city"]})) is not None
    )


@pytest.mark.parametrize("text", ["7d", "36h", "90m", "1.5d", "2w", "10 s"])
def test_ages_are_read_with_their_unit(text: str):
    assert CheckOptions.model_validate({"freshness": text}).freshness


@pytest.mark.parametrize("value", ["soon", 7, "7", "-1d"])
def test_an_age_without_unit_is_refused(value: Any):
    with pytest.raises(ValueError, match="write it as 36h or 7d"):
        CheckOptions.model_validate({"freshness": value})
