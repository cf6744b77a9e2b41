from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.packaging.card import headline, render_card, worst_slices
from headrace.packaging.signature import InputColumn, Signature


def render(signature: Signature, metrics: Any = None, card: Any = None) -> str:
    return render_card(
        card or {},
        signature=signature,
        metrics=metrics or {},
        provenance={"seed": 0},
        model_sha256="0" * 64,
        trusted=["numpy.dtype"],
    )


def test_the_card_says_what_a_reader_needs(package):
    text = (package / "card.md").read_text()
    for said in (
        "# late",
        "say who is late",
        "- drift",
        "roc\\_auc",
        "| 0.731 | 0.7 to 0.76 | 0.5 |",
        "hr.load",
    ):
        assert said.replace("\\_", "_") in text


def test_the_card_names_the_feature_function_that_a_reader_must_trust():
    page = render(Signature((), "clustering", features_function="own:add"), card={"name": "late"})
    assert "model = hr.load('late', features='own:add')\n" in page
    assert "model = hr.load('model')\n" in render(Signature((), "clustering"))


def test_the_worst_slice_comes_first(package):
    text = (package / "card.md").read_text()
    assert text.index("evil") < text.index("| carrier | AA |")


def test_text_of_the_data_breaks_neither_table_nor_page(package):
    text = (package / "card.md").read_text()
    assert "<script" not in text
    assert "evil\\|&lt;script&gt;alert(1)&lt;/script&gt; # x" in text


@settings(max_examples=50, deadline=None)
@given(text=st.text(min_size=1))
def test_any_text_keeps_every_table_whole(text):
    signature = Signature(
        (InputColumn(text, text, "string", categories=(text,)),), "classification", text, (text,)
    )
    metrics = {
        "metrics": {text: 0.5},
        "primary": text,
        "slices": {text: {text: {"rows": 1, "metrics": {text: 0.5}}}},
    }
    page = render(
        signature, metrics, {"name": text, "objective": text, "risks": [text], "data": {text: text}}
    )
    prose = page.split("## Inputs")[1]
    assert "<" not in prose
    widths = {2, 3, 5, 4, 6}
    for line in prose.split("\n"):
        if line.startswith("|"):
            bars = len(line.replace("\\\\", "").replace("\\|", "").split("|")) - 2
            assert bars in widths
    assert prose.count("\n## ") == 5


def test_an_empty_card_still_renders():
    page = render(Signature((), "clustering"))
    assert "No metrics were given." in page
    assert "None were stated." in page


def test_nested_provenance_is_a_row_a_leaf(package):
    text = (package / "card.md").read_text()
    assert "| versions: scikit-learn | 1 |" in text
    assert "| seed | 0 |" in text


def test_the_headline_is_the_metric_that_was_asked_for():
    metrics = {"metrics": {"accuracy": None, "roc_auc": 0.7, "f1": {"value": 0.5}}}
    assert headline(metrics) == ("roc_auc", 0.7)
    assert headline(metrics, "f1") == ("f1", 0.5)
    assert headline({**metrics, "primary": "f1"}) == ("f1", 0.5)
    assert headline({}) is None


@pytest.mark.parametrize(("metric", "first"), [("roc_auc", "low"), ("log_loss", "high")])
def test_worst_means_low_scores_and_high_losses(metric, first):
    metrics = {"slices": {"c": {"low": {"metrics": {metric: 0.1}}, "high": {"metrics": {metric: 0.9}}}}}
    assert worst_slices(metrics, metric)[0]["value"] == first


def test_the_snippet_without_headrace_runs(package):
    text = (package / "card.md").read_text()
    snippet = next(block for block in text.split("```python\n")[1:] if "skops.io" in block).split("```")[0]
    blocked = "import sys\nsys.modules['headrace'] = None\n"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", blocked + snippet],
        cwd=package,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() in {"[0]", "[1]"}


@settings(max_examples=50, deadline=None)
@given(name=st.text(min_size=1))
def test_any_column_name_stands_in_the_snippet_as_python(name):
    signature = Signature((InputColumn(name, "double", "numeric", minimum=1),), "regression")
    snippet = render(signature).split("```python\n")[2].split("\n```")[0]
    literal = snippet.split("DataFrame({\n")[1].split("})")[0]
    assert eval("{" + literal + "}") == {name: [1.0]}


def test_a_review_finds_use_treatment_exports_and_what_is_left_open():
    signature = Signature((InputColumn("age", "double", "numeric"),), "regression", "y")
    card = {
        "owner": "risk team",
        "intended_use": "rank claims",
        "out_of_scope": ["refusing claims"],
        "data": {"url": "d", "pii": {"age": "cut to bins of 5", "mail": "dropped"}},
        "success": [{"metric": "r2", "at_least": 0.5, "at_most": None}],
    }
    gates = {"onnx": {"passed": True, "largest_difference": 1e-9, "rows": 80}}
    page = render_card(
        card,
        signature=signature,
        metrics={},
        provenance={},
        model_sha256="0" * 64,
        trusted=[],
        gates=gates,
    )
    for said in (
        "| Owner | risk team |",
        "rank claims",
        "- refusing claims",
        "| age | cut to bins of 5 |",
        "| mail | dropped |",
        "- r2 at least 0.5",
        "| onnx | yes | 1e-09 | 80 |",
        "- Where it is known not to work (problem.limits)",
        "- What may go wrong in use (problem.risks)",
    ):
        assert said in page, said
    assert "problem.owner" not in page
    assert "Left open" in render(signature)
