from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.browser import IN_BROWSER

from headrace.profiling.profile import profile_table
from headrace.report import render_profile, render_report

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, cancer: dict[str, Any], hostile: Any) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    wide = pa.table(
        {f"column {i}": rng.normal(size=300) for i in range(140)} | {"y": rng.integers(0, 2, 300)}
    )
    pages = {
        "report": render_report(cancer),
        "hostile": render_profile(hostile, title="hostile"),
        "wide": render_profile(profile_table(wide, target="y")["all"], title="wide"),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


class Open:
    """A page with all that it complained about, and what it asked for."""

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.page = browser.new_page(**settings)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address, wait_until="load")

    def value(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.mark.parametrize("name", ["report", "hostile", "wide"])
def test_page_opens_at_once_alone_and_without_complaint(browser, files, name):
    opened = Open(browser, files[name])
    asked = opened.page.context.new_cdp_session(opened.page)
    asked.send(
        "Performance.enable", {"timeDomain": "threadTicks"}
    )  # processor time: the machine has other work too
    opened.page.reload(wait_until="load")
    told = {each["name"]: each["value"] for each in asked.send("Performance.getMetrics")["metrics"]}
    assert 0.0 < told["TaskDuration"] < 1.0
    assert opened.complaints == []
    assert {address for address in opened.requests if not address.startswith("data:")} == {files[name]}


def test_columns_are_filtered_and_sorted_by_keyboard(browser, files):
    page = Open(browser, files["report"]).page
    shown = "[...document.querySelectorAll('#cards .card')].filter(c => !c.hidden).map(c => c.dataset.name)"
    every = page.evaluate(shown)
    assert every[0] == "target"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.type("AREA mean")
    assert page.evaluate(shown) == ["mean area"]
    assert page.inner_text("#shown") == f"1 of {len(every)} columns"
    page.keyboard.type(" nothing")
    assert page.is_visible("#none")
    page.keyboard.press("Escape")
    assert page.evaluate(shown) == every
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "sort"
    page.select_option("#sort", "importance")
    ranks = page.evaluate(
        "[...document.querySelectorAll('#cards .card')].map(c => Number(c.dataset.importance))"
    )
    assert ranks == sorted(ranks, reverse=True)
    page.close()


def test_dark_follows_the_system_and_the_button(browser, files):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = Open(browser, files["report"], color_scheme="light").page
    dark = Open(browser, files["report"], color_scheme="dark").page
    paper, night = light.evaluate(ground), dark.evaluate(ground)
    assert paper != night
    light.focus("#theme")
    light.keyboard.press("Enter")
    assert light.evaluate(ground) == night
    dark.click("#theme")
    assert dark.evaluate(ground) == paper
    light.close()
    dark.close()


@pytest.mark.parametrize("name", ["report", "hostile", "wide"])
def test_phone_needs_no_sideways_scrolling(browser, files, name):
    page = Open(browser, files[name], viewport={"width": 390, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_mark_tells_its_figure_under_the_pointer(browser, files):
    page = Open(browser, files["report"]).page
    bar = page.locator("#cards svg.drawing rect.bar").first
    bar.scroll_into_view_if_needed()
    bar.hover()
    assert "rows" in page.inner_text("#tip")
    page.close()


def test_nothing_hostile_runs(browser, files):
    opened = Open(browser, files["hostile"])
    assert opened.value("document.scripts.length") == 1
    assert opened.value("document.images.length") == 0
    opened.page.close()
