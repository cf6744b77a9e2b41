from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from tests.report.conftest import HOSTILE

from headrace.profiling.comparison import compare
from headrace.profiling.profile import Profile, profile_table
from headrace.report.comparison import comparison_rows, render_comparison


def profile(seed: int, *, shift: float = 0.0, **more: pa.Array) -> Profile:
    rng = np.random.default_rng(seed)
    rows = 4000
    held = {
        "same": rng.normal(size=rows),
        "moved": rng.normal(size=rows) + shift,
        "city": rng.choice(["Bern", "Basel"], rows, p=[0.5 + shift / 3, 0.5 - shift / 3]),
        "flag": rng.random(rows) < 0.5,
        "when": pa.array(rng.integers(0, 1000, rows).astype("int32"), pa.date32()),
        "holes": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1 + shift / 4),
        HOSTILE[0]: rng.choice([*HOSTILE], rows),
        "nothing": pa.nulls(rows, pa.float64()),
    }
    return profile_table(pa.table(held | more))["all"]


@pytest.fixture(scope="module")
def both() -> tuple[Profile, Profile]:
    gone = pa.array(range(4000))
    return profile(0, gone=gone, turned=gone), profile(
        1, shift=1.0, new=gone, turned=pa.array(map(str, range(4000)))
    )


def test_columns_that_differ_most_come_first(both):
    columns = {column.name: column for column in compare(*both).columns}
    assert list(columns)[:3] == ["gone", "new", "turned"]
    assert [columns[name].state for name in ("gone", "new", "turned")] == ["only in A", "only in B", "type"]
    assert columns["moved"].drift == columns["city"].drift == "fail"
    assert columns["same"].drift == columns["flag"].drift == "pass"
    assert columns["when"].drift == columns["nothing"].drift == ""
    assert columns["holes"].missing == pytest.approx((0.1, 0.35), abs=0.02)
    assert columns["moved"].means == pytest.approx((0.0, 1.0), abs=0.05)


def test_stability_index_is_that_of_counted_bins(both):
    rng = np.random.default_rng(0), np.random.default_rng(1)
    a, b = (generator.normal(size=(2, 4000))[1] for generator in rng)
    cuts = np.quantile(a, np.arange(1, 10) / 10)
    p, q = (np.bincount(np.searchsorted(cuts, values), minlength=10) / 4000 for values in (a, b + 1.0))
    index = float(((p - q) * np.log(p / q)).sum())
    found = {column.name: column for column in compare(*both).columns}["moved"]
    assert found.stability == pytest.approx(index, rel=0.05)


def test_equal_data_do_not_differ(both):
    columns = compare(both[0], both[0]).columns
    assert all(column.state == "both" and column.drift in {"", "pass"} for column in columns)


def test_document_is_finite(both):
    document = json.loads(json.dumps(compare(*both).to_dict(), allow_nan=False))
    assert document["rows"] == [4000, 4000]
    assert len(comparison_rows(document)) == len(document["columns"]) == 11


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_draws_both_and_lets_nothing_out(both):
    read = Reader(render_comparison(*both, names=("<i>a</i>", "b")))
    assert "img" not in read.tags
    assert "i" not in read.tags
    assert read.tags.count("script") == 1
    assert "moved" in read.text
    assert read.tags.count("article") == 7  # all in both that hold values


def test_page_of_very_many_columns_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("headrace.report.comparison.MOST_ROWS", 50)
    monkeypatch.setattr("headrace.report.comparison.MOST_CARDS", 20)
    rng = np.random.default_rng(0)
    a, b = (
        profile_table(pa.table({f"c{i}": rng.normal(size=60) for i in range(60)}))["all"] for _ in range(2)
    )
    page = render_comparison(a, b, names=("a", "b"))
    assert "10 further columns" in Reader(page).text
    assert Reader(page).tags.count("article") == 20
