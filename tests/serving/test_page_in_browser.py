from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from tests.browser import IN_BROWSER

from headrace.packaging.package import write_package

from .conftest import Running, trained, training_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def test_names_categories_and_classes_stay_text(browser: Any, tmp_path: Path):
    """A model whose training data held what would run, had it been HTML."""
    evil = '</script></style>"><img src=x onerror=ran><script>ran</script>'
    data = training_rows().rename_columns(["size", "count", "flag", evil, "at"])
    data = data.set_column(3, evil, pa.array([evil, "b"] * (len(data) // 2)))
    pipeline, signature, profile = trained(data, no=evil)
    write_package(
        tmp_path / "late",
        pipeline=pipeline,
        signature=replace(signature, target=evil),
        profile=profile.to_dict(),
        metrics={"rows": 1, "metrics": {}, "slices": {evil: {evil: {"rows": 1, "metrics": {}}}}},
        provenance={},
        card={"name": evil, "objective": evil},
    )
    running = Running(str(tmp_path / "late"))
    try:
        opened = browser.new_page()
        complaints: list[str] = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto(f"{running.url}/")
        opened.wait_for_selector("#fields label")
        opened.click("#ask button")
        opened.wait_for_selector(".said")
        assert opened.inner_text(".bars div:first-child span:first-child") == evil
        assert evil in opened.inner_text("#text")
        assert opened.locator("img").count() == 0
        assert opened.locator("script").count() == 1
        assert complaints == []
        opened.close()
    finally:
        running.stop()


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
