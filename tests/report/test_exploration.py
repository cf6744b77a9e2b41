from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.report.conftest import HOSTILE

from headrace.accumulators.trends import Trend
from headrace.data.dataset import Dataset
from headrace.profiling.exploration import Exploration, finders_for
from headrace.profiling.profile import Profile, profile_table
from headrace.report import render_profile, render_report
from headrace.report.cards import view
from headrace.report.shown import ShownProfile
from headrace.report.trends import movements, periods

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 3_000_000


def people(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, 400, rows))
    age = rng.normal(40, 10, rows)
    gone = rng.random(rows) < 0.2
    return pa.table(
        {
            "day": pa.array((day + 19_000).astype("int32"), pa.date32()),
            "age": pa.array(age, mask=gone),
            "months": pa.array(np.round(age * 12), mask=gone),
            "height": rng.normal(size=rows) + age / 20,
            "city": rng.choice(["Bern", "Basel", "Genf"], rows),
            "late": (rng.random(rows) < 0.1 + 0.5 * (day > 200)).astype("int8"),
        }
    )


def explored(table: pa.Table, folder: Path, target: str | None = None) -> tuple[Profile, Exploration]:
    pq.write_table(table, folder / "data.parquet", row_group_size=1 << 20)
    dataset = Dataset(str(folder))
    finders = finders_for(dataset.schema, rows=dataset.rows, target=target)
    findings = {finder.name: finder.find(table, dataset.chunks[0]) for finder in finders}
    profile = profile_table(table, target=target)["all"]
    return profile, Exploration.of(findings, finders)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Exploration]:
    return explored(people(20_000), tmp_path_factory.mktemp("people"), "late")


class Reader(HTMLParser):
    """The text and the identifiers of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.ids: set[str] = set()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids.update(value for name, value in attrs if name == "id" and value)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_page_shows_time_pairs_and_missing_values(known):
    page = render_profile(*known, title="people")
    read = Reader(page)
    assert {"overview", "findings", "time", "pairs", "missing", "columns"} <= read.ids
    text = " ".join(read.text)
    assert "Rows per week" in text
    assert "Share of class 1 per week" in text
    assert "A uniform sample of 10,000 rows" in text
    assert "1.00 ± 0.00" in text  # age and months
    assert "Pearson 1.000, exact" in text
    assert "of the rows lack nothing" in text
    assert len(page) < LIMIT


def test_findings_come_from_pairs_time_and_missing_values(known):
    alerts = {(alert.rule, alert.column) for alert in view(*known).loud}
    assert ("same again", "months") in alerts
    assert ("target moves", "late") in alerts
    assert ("missing together", "age") in alerts


def test_a_profile_alone_has_no_empty_sections(known):
    ids = Reader(render_profile(known[0], title="people")).ids
    assert not ids & {"time", "pairs", "missing"}


def test_a_run_shows_them_too(known, cancer):
    ids = Reader(render_report({**cancer, "profile": known[0], "exploration": known[1]})).ids
    assert {"time", "pairs", "missing", "columns", "profile", "evaluation"} <= ids


def test_size_of_the_page_does_not_depend_on_rows(tmp_path: Path, known):
    (tmp_path / "more").mkdir()
    few = len(render_profile(*known, title="people"))
    many = len(render_profile(*explored(people(60_000), tmp_path / "more", "late"), title="people"))
    assert abs(many - few) < 0.1 * few


@pytest.mark.parametrize("columns", [450, pytest.param(10_000, marks=pytest.mark.slow)])
def test_very_many_columns_make_a_small_page_that_says_what_it_left_out(columns, tmp_path: Path):
    rng = np.random.default_rng(0)
    table = pa.table({f"c{i}": rng.normal(size=120) for i in range(columns)} | {"y": rng.integers(0, 2, 120)})
    page = render_profile(*explored(table, tmp_path, "y"), title="wide")
    text = " ".join(Reader(page).text)
    assert len(page) < LIMIT
    assert f"{columns - 399:,} further columns" in text
    assert "368 further columns" in text  # of the 400 in the sample, 32 are in the matrix


def test_hostile_names_and_values_stay_text(tmp_path: Path):
    rng = np.random.default_rng(0)
    rows = 400
    table = pa.table(
        {
            HOSTILE[0]: rng.choice([*HOSTILE, ""], rows),
            HOSTILE[1]: pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.3),
            HOSTILE[2]: pa.array(rng.integers(0, 10**6, rows), pa.timestamp("s")),
            "": pa.array(rng.choice(["<b>", "x"], rows), mask=rng.random(rows) < 0.3),
            "infinite": np.where(rng.random(rows) < 0.1, np.inf, rng.normal(size=rows)),
            "huge": np.exp(rng.normal(0, 150, rows)),
            "label": rng.choice([HOSTILE[2], "plain"], rows),
        }
    )
    read = Reader(render_profile(*explored(table, tmp_path, "label"), title="hostile"))
    assert "img" not in read.tags
    assert read.tags.count("script") == 1


@pytest.mark.parametrize("rows", [1, 2, 60])
def test_hardly_any_rows_make_a_page(rows, tmp_path: Path):
    assert "</html>" in render_profile(*explored(people(rows), tmp_path, "late"), title="few")


def test_regression_follows_the_mean_of_its_target(tmp_path: Path):
    profile, exploration = explored(people(5000), tmp_path, "height")
    text = " ".join(Reader(render_profile(profile, exploration, title="height")).text)
    assert "Mean of height" in text
    assert "with height" in text


def day_trend(days: int, jump: float = 0.0) -> Trend:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(days), 50)
    x = rng.normal(size=len(day)) + jump * (day > days // 2)
    gone = rng.random(len(day)) < np.where(day > days // 2, 0.1 + jump / 3, 0.1)
    return Trend.of(day * 24, ("x", "w"), {"x": x}, {"w": gone})


@pytest.mark.parametrize(
    ("days", "word", "count"),
    [
        (100, "day", 100),
        (400, "week", 58),
        (1400, "month", 46),
        (20_000, "month", 190),
        (60_000, "year", 165),
    ],
)
def test_periods_are_few_enough_to_be_drawn(days, word, count):
    found = periods(day_trend(days))
    assert found is not None
    assert found.trend.rows.sum() == 50 * days
    assert (found.word, len(found.trend.periods)) == (word, count) or days == 20_000
    assert len(found.trend.periods) <= 190
    assert (np.diff(found.seconds) > 0).all()
    if word == "week":  # all but the first begin on Mondays
        assert set((found.trend.periods[1:] + 3) % 7) == {0}


def test_what_moves_is_told_and_chance_is_not():
    still = movements(day_trend(60), {"x": 1.0})
    assert still == {}
    moved = movements(day_trend(60, jump=2.0), {"x": 1.4})
    assert moved["x"].kind == "mean"
    assert moved["x"].size == pytest.approx(0.5, abs=0.1)
    assert moved["w"].kind == "missing"
    assert periods(Trend.empty(("x",))) is None


def test_notebook_shows_the_page_in_a_frame_of_its_own(known):
    shown = ShownProfile.of(known[0], known[1], "people <b>")
    html = shown._repr_html_()
    assert html.startswith('<iframe title="Profile of people &lt;b&gt;" srcdoc="&lt;!doctype html&gt;')
    assert html.count("<") == 2
    assert shown.pairs is not None
    assert shown.pairs.strongest
    merged: Any = shown.merge(shown)
    assert type(merged) is Profile
    assert merged.rows == 40_000
    assert type(shown.collapsed()) is Profile
    assert Profile.from_json(shown.to_json()).rows == 20_000
