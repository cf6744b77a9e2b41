"""How a model answers, as the report draws it: every mark inside its drawing, nothing of the data unescaped, reasons in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.report import numbers, render_report
from headrace.report.influence import along, lost_bars, swarm
from headrace.report.marks import Dot, Drawing, Path, Rect, Word
from headrace.report.understanding import understood

HOSTILE = "<script>alert(1)</script>"


def curve(column: str, kind: str, grid: list[Any], outputs: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    mean = rng.random((outputs, len(grid))).tolist()
    lines = rng.random((50, len(grid))).tolist() if outputs == 1 else []
    names = [f"class {index}" for index in range(outputs)]
    return {"column": column, "kind": kind, "grid": grid, "outputs": names, "mean": mean, "lines": lines, "rows": 1000}  # fmt: skip


CURVES = [
    curve("x", "numeric", [1.0, 2.0, 5.0]),
    curve(HOSTILE, "category", [HOSTILE, "b", None]),
    curve("when", "datetime", ["2026-01-01T00:00:00", "2026-03-01T00:00:00.5"]),
    curve("y", "numeric", [1.0, 1e9], 8),
    curve("z", "category", ["a", "b"], 3),
]


def document(**more: Any) -> dict[str, Any]:
    columns = [
        {"column": name, "mean": mean, "low": mean - 0.01, "high": mean + 0.01, "repeats": [mean] * 5}
        for name, mean in (("x", 0.2), (HOSTILE, 0.1), ("worse", -0.02))
    ]
    slices = [
        {"column": "city", "value": HOSTILE, "rows": 50, "loss": 0.9, "harm": 12.0, "low": 8.0, "high": 16.0, "share": 0.05}
    ]  # fmt: skip
    importance = {"metric": "roc_auc", "value": 0.8, "rows": 10_000, "columns": columns, "left_out": 7}
    return {
        "rows": 10_000, "importance": importance, "dependence": CURVES, "coefficients": None,
        "contributions": None, "slices": slices, "sliced": ["city"], **more,
    }  # fmt: skip


def contributions(points: bool) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    drawn = [[float(a), None if i % 7 == 0 else float(s)] for i, (a, s) in enumerate(rng.random((300, 2)))]
    columns = [
        {"column": name, "size": size, "by_output": [size], "points": drawn if points else []}
        for name, size in (("x", 0.5), (HOSTILE, 0.1))
    ]
    outputs = ["1"] if points else ["a", "b", "c"]
    return {"rows": 2000, "base": [-1.2] * len(outputs), "outputs": outputs, "columns": columns}


def assert_inside(drawing: Drawing) -> None:
    for mark in drawing.marks:
        if isinstance(mark, Rect):
            assert mark.width >= 0
            assert 0 <= mark.x <= mark.x + mark.width <= drawing.width + 0.1
        elif isinstance(mark, (Dot, Word)):
            assert 0 <= mark.x <= drawing.width
            assert 0 <= mark.y <= drawing.height
        else:
            assert "nan" not in mark.d
            assert "inf" not in mark.d


@pytest.mark.parametrize("held", CURVES, ids=lambda held: f"{held['kind']}-{len(held['outputs'])}")
def test_every_mark_along_a_column_is_inside(held):
    drawing = along(held, "probability")
    assert_inside(drawing)
    strong = [mark for mark in drawing.marks if isinstance(mark, Path) and "strong" in mark.style]
    threads = [mark for mark in drawing.marks if isinstance(mark, Path) and mark.style == "thread"]
    if held["kind"] != "category":
        assert len(strong) == min(6, len(held["outputs"]))
        assert len(threads) == len(held["lines"])


def test_single_rows_begin_at_the_mean():
    drawing = along(CURVES[0], "probability")
    paths = {mark.d.partition("L")[0] for mark in drawing.marks if isinstance(mark, Path) and mark.style in {"thread", "series series-0 strong"}}  # fmt: skip
    assert len(paths) == 1


@pytest.mark.parametrize("values", [[0.0], [0.3, -0.1], [-0.2, -0.3], [1e9, 1e-9]])
def test_bars_of_any_sign_are_inside(values):
    assert_inside(lost_bars("lost", [("x", value, value - 0.1, value + 0.1) for value in values]))


def test_points_that_would_cover_each_other_are_laid_apart():
    columns = [{"column": "x", "points": [[0.5, 0.1]] * 40}]
    drawing = swarm(columns, 0.0)
    assert_inside(drawing)
    (points,) = (
        mark
        for mark in drawing.marks
        if isinstance(mark, Path) and mark.style == "swarm swarm-0" and mark.d.count("M") > 1
    )
    heights = [piece.partition(",")[2] for piece in points.d.removesuffix("h0").split("h0")]
    assert len(set(heights)) > 20


def test_nothing_of_the_data_leaves_its_place_and_everything_is_said():
    held = document(contributions=contributions(points=True))
    text = render_report({"understanding": held, "metrics": {"task": "classification"}})
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    for words in (
        "ROC AUC, 0.8000 on 10,000 test rows",
        "7 that alone tell less were not looked at",
        "50 single rows",
        "SHAP values",
        "Rows that cost most",
    ):
        assert words in text


def test_coefficients_show_intervals_or_why_there_are_none():
    one = {"feature": "x", "column": "x", "output": "1", "value": 0.5, "low": 0.4, "high": 0.6, "effect": 0.5}
    told = {"intercept": [0.1], "features": [one], "left_out": 3, "interval": "95 %, by a rule", "why": ""}
    found = understood(document(coefficients=told), "classification")
    assert found.coefficients[0].interval == numbers.span("0.4", "0.6")
    assert "Intervals: 95 %, by a rule." in found.coefficients_note
    assert "3 smaller ones" in found.coefficients_note
    plain = {
        **told,
        "features": [{**one, "low": None, "high": None}],
        "interval": "",
        "why": "No intervals: so.",
    }
    found = understood(document(coefficients=plain), "classification")
    assert found.coefficients[0].interval == ""
    assert "No intervals: so." in found.coefficients_note


def test_of_several_classes_sizes_alone_are_drawn():
    found = understood(document(contributions=contributions(points=False)), "classification")
    assert [figure.title for figure in found.figures] == ["Lost without a column", "Added on average"]


def test_where_no_group_is_worse_it_is_said():
    found = understood(document(slices=[]), "regression")
    assert not found.harm
    assert "No group has a squared error above" in found.harm_note


@pytest.mark.parametrize("held", [{}, {"rows": 0}])
def test_of_nothing_there_is_no_section(held):
    assert not understood(held, "clustering").anything
    assert 'id="understanding"' not in render_report({"understanding": held})
