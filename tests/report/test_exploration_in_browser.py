"""The pages of exploration and comparison in a real browser: quick, alone, on a phone, by keyboard, on paper."""

from __future__ import annotations

from typing import Any

import pytest
from tests.browser import IN_BROWSER
from tests.report.test_comparison import profile
from tests.report.test_exploration import explored, people
from tests.report.test_page_in_browser import Open

from headrace.report import render_profile
from headrace.report.comparison import render_comparison
from headrace.report.shown import ShownProfile

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    known = explored(people(20_000), tmp_path_factory.mktemp("people"), "late")
    shown = ShownProfile.of(known[0], known[1], "people")
    texts = {
        "explored": render_profile(*known, title="people"),
        "compared": render_comparison(profile(0), profile(1, shift=1.0), names=("a", "b")),
        "notebook": f"<!doctype html><link rel=icon href=data:,><body>{shown._repr_html_()}",
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


@pytest.mark.parametrize("name", ["explored", "compared"])
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_page_fits_and_complains_of_nothing(
    browser: Any, pages: dict[str, str], name: str, width: int, scheme: str
):
    opened = Open(browser, pages[name], viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert opened.complaints == []
    assert [address for address in opened.requests if not address.startswith("data:")] == [pages[name]]
    assert opened.value("document.documentElement.scrollWidth") <= width
    opened.page.close()


def test_wide_matrices_scroll_within_themselves_and_by_keyboard(browser: Any, pages: dict[str, str]):
    page = Open(browser, pages["explored"], viewport={"width": 400, "height": 900}).page
    matrix = "document.querySelector('[aria-label=\"Strength of all pairs\"]')"
    assert page.evaluate(f"{matrix}.tabIndex") == 0
    assert page.evaluate(f"{matrix}.getBoundingClientRect().right") <= 400
    page.close()


def test_a_cell_tells_its_pair(browser: Any, pages: dict[str, str]):
    page = Open(browser, pages["explored"]).page
    page.locator("#pairs .heat").first.scroll_into_view_if_needed()
    page.hover("#pairs .heat >> nth=0")
    assert " and " in page.inner_text("#tip")
    page.close()


def test_differences_are_filtered_by_keyboard(browser: Any, pages: dict[str, str]):
    page = Open(browser, pages["compared"]).page
    page.keyboard.press("/")
    page.keyboard.type("numeric same")
    shown = "[...document.querySelectorAll('#cards .card')].filter(c => !c.hidden).map(c => c.dataset.name)"
    assert page.evaluate(shown) == ["same"]
    page.close()


def test_paper_shows_everything_but_tools(browser: Any, pages: dict[str, str]):
    page = Open(browser, pages["explored"]).page
    page.emulate_media(media="print")
    assert not page.is_visible("nav.sections")
    assert not page.is_visible("#filter")
    assert page.is_visible("#pairs svg")
    page.close()


def test_notebook_frame_runs_its_page(browser: Any, pages: dict[str, str]):
    opened = Open(browser, pages["notebook"])
    frame = opened.page.frame_locator("iframe")
    frame.locator("#filter").fill("height")
    assert frame.locator("#shown").inner_text() == "1 of 6 columns"
    assert opened.complaints == []
    opened.page.close()
