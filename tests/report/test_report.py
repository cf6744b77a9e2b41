from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from headrace.profiling.profile import Profile, merge_profiles, profile_table
from headrace.report import render_profile, render_report


class Page(HTMLParser):
    """Tags, their attributes and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


def assert_stands_alone(text: str) -> None:
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not {"img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert not page.attributes("src")
    assert all(link.startswith(("#", "data:,")) for link in page.attributes("href"))
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"]
    assert not re.findall(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in page.attributes("content")[0]


def test_report_shows_every_document(cancer):
    text = render_report(cancer)
    words = Page(text).text
    sections = Page(text).attributes("id")
    for section in (
        "problem",
        "evaluation",
        "slices",
        "candidates",
        "work",
        "checks",
        "preparation",
        "profile",
        "provenance",
    ):
        assert section in sections
    assert "Success criteria met" in words
    assert "not needed" in words  # the epoch that early stopping saved
    assert "clinic A" in words
    assert "ab" * 32 in words
    assert "cd" * 32 in words
    assert_stands_alone(text)


def test_missed_criterion_is_said_first(cancer):
    problem = {**cancer["workflow"]["problem"], "success": [{"metric": "log_loss", "at_most": 0.0001}]}
    words = Page(render_report({**cancer, "workflow": {"problem": problem}})).text
    assert "Success criteria missed" in words
    assert "log loss at most 0.0001" in words


def test_failed_checks_leave_out_what_was_not_done(cancer):
    checks = {
        "status": "fail",
        "checks": [{"name": "range", "column": "x", "status": "fail", "figure": "9 rows"}],
    }
    page = Page(
        render_report({"workflow": cancer["workflow"], "run": {"status": "failed"}, "checks": checks})
    )
    assert "Stopped: the data failed its checks" in page.text
    assert not {"candidates", "evaluation", "slices", "work"} & set(page.attributes("id"))


@pytest.mark.parametrize(
    "left_out",
    ["run", "plan", "profile", "checks", "leaderboard", "metrics", "preparation", "manifest", "workflow"],
)
def test_any_document_can_be_missing(cancer, left_out):
    assert_stands_alone(
        render_report({key: None if key == left_out else value for key, value in cancer.items()})
    )


def test_no_documents_make_a_page():
    assert_stands_alone(render_report({}))


def test_regression_and_several_classes_draw_their_own_figures(diabetes, wine):
    regression = Page(render_report({"metrics": diabetes}))
    assert "Residual by prediction" in regression.text
    assert "Confusion matrix" not in regression.attributes("aria-label")
    classes = Page(render_report({"metrics": wine}))
    assert "Confusion matrix" in classes.attributes("aria-label")
    assert "class_2" in classes.text


def test_hostile_names_and_values_stay_text(hostile):
    text = render_profile(hostile, title="<script>title</script>", subtitle="</title><b>")
    assert_stands_alone(text)
    page = Page(text)
    for words in (
        "<script>title</script>",
        "</title><b>",
        "it's & </style></script><b>",
        "<script>alert(1)</script>",
    ):
        assert words in page.text
    assert text.count("<script>") == 1
    assert "alert(1)</script>" not in text


def test_hostile_documents_stay_text(cancer, hostile):
    evil = "<script>alert(3)</script>"
    documents = {
        **cancer,
        "profile": hostile,
        "workflow": {"problem": {"name": evil, "objective": evil, "statement": evil, "risks": [evil]}},
        "workflow_text": f"# {evil}</pre>",
        "checks": {
            "checks": [{"name": evil, "column": evil, "status": "warn", "figure": evil, "detail": evil}]
        },
        "preparation": [{"column": evil, "kind": evil, "steps": [evil], "parameters": {evil: evil}}],
    }
    text = render_report(documents)
    assert_stands_alone(text)
    assert "<script>alert(3)" not in text


def test_page_size_does_not_depend_on_rows():
    rng = np.random.default_rng(1)

    def page(rows: int) -> int:
        table = pa.table(
            {
                "x": rng.normal(size=rows),
                "c": rng.choice(list("abcdefghijklmnop"), rows),
                "y": rng.integers(0, 2, rows),
            }
        )
        chunks = [profile_table(table.slice(start, 20_000), target="y") for start in range(0, rows, 20_000)]
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole = merge_profiles(whole, chunk)
        return len(render_profile(whole["all"], title="t"))

    assert abs(page(100_000) - page(20_000)) < 2_000


def test_page_of_very_many_columns_stays_small():
    rng = np.random.default_rng(2)
    table = pa.table({f"column {i}": rng.normal(size=60) for i in range(700)} | {"y": rng.integers(0, 2, 60)})
    text = render_profile(profile_table(table, target="y")["all"], title="wide")
    assert len(text) < 3_000_000
    assert "301 further columns" in text


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_profile_of_hardly_any_rows(rows):
    table = pa.table(
        {"x": [1.5, 2.5], "s": ["a", "b"], "t": pa.array([1, 2], pa.timestamp("s")), "y": [0, 1]}
    ).slice(0, rows)
    assert_stands_alone(render_profile(profile_table(table, target="y")["all"], title="few"))


def test_profile_without_target_has_no_rates():
    profile: Profile = profile_table(pa.table({"x": np.arange(500.0), "s": ["a", "b"] * 250}))["all"]
    words = Page(render_profile(profile, title="t")).text
    assert "share of class" not in words
    assert "explains" not in words


def test_sketched_values_say_so_and_exact_ones_do_not():
    small = profile_table(pa.table({"x": np.arange(100.0)}))
    assert "≈ quantiles" not in Page(render_profile(small["all"], title="t")).text
    rng = np.random.default_rng(3)
    large = profile_table(pa.table({"x": rng.normal(size=30_000)}))
    for _ in range(7):
        large = merge_profiles(large, profile_table(pa.table({"x": rng.normal(size=30_000)})))
    assert "≈ quantiles within ±" in Page(render_profile(large["all"], title="t")).text
