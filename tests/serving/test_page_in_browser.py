from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser import IN_BROWSER

from .conftest import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = IN_BROWSER


@pytest.fixture
def page(browser: Any, served: Running) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    complaints: list[str] = []
    asked: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"{served.url}/")
    opened.wait_for_selector("#fields label")
    yield opened
    opened.close()
    assert complaints == []
    assert all(url.startswith((served.url, "data:")) for url in asked)


def test_the_form_asks_with_the_examples_and_shows_the_answer(page: Any):
    assert page.inner_text("#model") == "late@1"
    names = page.eval_on_selector_all("#fields label", "labels => labels.map(label => label.dataset.name)")
    assert names == ["size", "count", "flag", "city", "at"]
    page.click("#ask button")
    page.wait_for_selector(".said")
    assert page.inner_text(".said") in {"yes", "no"}
    assert page.locator(".bars meter").count() == 2
    assert page.locator(".flags").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_form_shows_flags_and_errors_as_text(page: Any):
    page.fill('label[data-name="city"] input', "<img src=x onerror=alert(1)>")
    page.click("#ask button")
    page.wait_for_selector(".flags")
    assert page.inner_text(".flags") == "city: not seen in training"
    page.fill('label[data-name="size"] input', "<b>much</b>")
    page.click("#ask button")
    page.wait_for_selector("#trouble:visible")
    assert "row 0: size: '<b>much</b>' is not a finite number" in page.inner_text("#trouble")
    assert page.locator("img, b").count() == 0


def test_card_and_live_figures_are_shown(page: Any):
    page.click("#ask button")
    page.wait_for_selector("#arms tbody tr")
    assert "champion" in page.inner_text("#arms")
    assert "onnxruntime" in page.inner_text("#arms")
    assert "Model hash" in page.inner_text("#text")
    assert page.is_hidden("#drift")


def test_a_locked_server_asks_for_the_key(browser: Any, registry: str):
    digest = hashlib.sha256(b"letters").hexdigest()
    running = Running("late@1", "--registry", registry, environment={"HEADRACE_KEYS": f"me predict {digest}"})
    try:
        page = browser.new_page()
        page.goto(f"{running.url}/")
        page.wait_for_selector("#unlock:visible")
        assert page.locator("#fields label").count() == 0
        page.fill("#key", "wrong")
        page.click("#unlock button")
        # The page's policy forbids to evaluate scripts, so the browser is asked by selector.
        page.wait_for_selector("#trouble:has-text('unknown')")
        page.fill("#key", "letters")
        page.click("#unlock button")
        page.wait_for_selector("#fields label")
        assert page.is_hidden("#unlock")
        page.close()
    finally:
        running.stop()
