"""The six dimensions stand on the page of a profile and on the report of a run, with their reasons."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from tests.report.test_report import Page, assert_stands_alone

from headrace.profiling.checks import check_profile
from headrace.profiling.expectations import CheckOptions
from headrace.profiling.profile import profile_table
from headrace.report import render_profile, render_report
from headrace.report.quality import TITLES, sides

TABLE = pa.table({"a": [1.0, 2.0, None, 4.0] * 50, "b": list(range(200))})


def test_a_profile_is_judged_by_itself_and_by_its_provenance():
    profile = profile_table(TABLE)["all"]
    text = render_profile(profile, title="few")
    page = Page(text)
    assert_stands_alone(text)
    assert [name for name in page.attributes("aria-label") if name in {title for title, _ in TITLES.values()}] == [
        title for title, _ in TITLES.values()
    ]  # fmt: skip
    assert "a: 25.0 % missing" in page.text
    assert "not judged" in page.text
    assert "no provenance.json" in page.text
    told = Page(
        render_profile(profile, title="few", provenance={"source": "a form </li>", "licence": "CC0"})
    ).text
    assert "source is told: a form </li>" in told
    assert "no provenance.json" not in told


def test_a_run_shows_what_its_checks_found(cancer: dict[str, Any]):
    options = CheckOptions.model_validate({"expect": {"b": {"maximum": 99}}})
    checks = check_profile(profile_table(TABLE)["all"], options).to_dict()
    page = Page(render_report({**cancer, "checks": checks}))
    accuracy = next(side for side in sides(checks["dimensions"]) if side.title == "Accuracy")
    assert accuracy.score is not None
    assert accuracy.score < 100
    assert accuracy.reasons[0] in page.text
    assert "#quality" in page.attributes("href")
    assert "#quality" not in Page(render_report({"checks": {"checks": checks["checks"]}})).attributes("href")
