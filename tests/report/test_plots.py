from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.profiling.profile import ColumnProfile, profile_table
from headrace.report.cards import view
from headrace.report.categories import Category, value_bars
from headrace.report.curves import confusion, learning, measure_bars, whisker
from headrace.report.distributions import edges, shares, window
from headrace.report.histograms import bin_rates, histogram
from headrace.report.importance import column_importance
from headrace.report.marks import Dot, Drawing, Rect, Word
from headrace.report.scales import Scale, round_step, ticks, time_ticks


def column_of(values: Any, target: Any = None) -> ColumnProfile:
    columns = {"x": values} if target is None else {"x": values, "y": target}
    return profile_table(pa.table(columns), target=None if target is None else "y")["all"].columns["x"]


def bars_of(drawing: Drawing, style: str = "bar") -> list[Rect]:
    return [mark for mark in drawing.marks if isinstance(mark, Rect) and mark.style == style]


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.integers(2, 10))
def test_ticks_are_round_ordered_and_inside(a, b, most):
    low, high = min(a, b), max(a, b)
    found = ticks(low, high, most)
    values = [tick.value for tick in found]
    assert values == sorted(values)
    assert len(values) <= most + 1
    slack = abs(high - low) * 1e-6
    assert all(low - slack <= value <= high + slack for value in values)


def test_neighbouring_ticks_have_different_labels():
    labels = [tick.label for tick in ticks(1e9, 1e9 + 0.004, 4)]
    assert len(set(labels)) == len(labels) > 1


def test_scale_is_linear_and_holds_outliers_at_its_ends():
    scale = Scale(0, 10, 100, 0)
    assert [scale(value) for value in (0, 5, 10, 99, -99)] == [100, 50, 0, 0, 100]
    assert Scale(-1.7e308, 1.7e308, 0, 100)(0) == 50


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-250, 1e250), st.integers(1, 50))
def test_round_step_needs_no_more_than_the_asked_number_of_steps(span, most):
    assert span / round_step(span, most) <= most * (1 + 1e-6)


def test_time_ticks_fall_on_months_and_days():
    day = 86_400_000_000
    assert [tick.label for tick in time_ticks(0, 100 * day, "us", 4)] == [
        "Jan 1970",
        "Feb 1970",
        "Mar 1970",
        "Apr 1970",
    ]
    assert [tick.label for tick in time_ticks(0, 3 * day, "us", 4)][:2] == ["1 Jan", "2 Jan"]
    assert [tick.label for tick in time_ticks(0, 40 * 365, "D", 4)] == ["1970", "1980", "1990", "2000"]


def test_heights_of_bars_are_proportional_to_counts():
    bars = bars_of(histogram("x", column_of(pa.array([1] * 10 + [2] * 20 + [3] * 30 + [4] * 40)).overall, {}))
    heights = np.array([bar.height for bar in bars])
    assert heights / heights[-1] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.01)
    assert bars[0].tip == "1: 10 rows, 10\N{NO-BREAK SPACE}%"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12) | st.integers(-50, 50).map(float), min_size=1, max_size=200))
def test_bins_hold_every_value_once(values):
    summary = column_of(pa.array(values, pa.float64())).overall
    seen = window(summary)
    cuts = edges(seen, whole=summary.integers_only)
    assert (np.diff(cuts) > 0).all()
    found = shares(summary, cuts)
    assert found.below + found.inside.sum() + found.above == pytest.approx(1.0)
    if not (seen.cut_low or seen.cut_high):
        assert found.inside.sum() == pytest.approx(1.0)


def test_integers_get_edges_between_them():
    cuts = edges(window(column_of(pa.array(range(10))).overall), whole=True)
    assert cuts.tolist() == [value - 0.5 for value in range(11)]


def test_a_long_thin_tail_is_cut_and_said():
    values = np.concatenate([np.random.default_rng(0).normal(size=2000), [1e6]])
    seen = window(column_of(values).overall)
    assert seen.cut_high
    assert not seen.cut_low
    words = [
        mark.text for mark in histogram("x", column_of(values).overall, {}).marks if isinstance(mark, Word)
    ]
    assert any("higher ▸" in word for word in words)


def test_rates_by_bin_are_those_of_the_rows():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 4, 4000)
    y = (rng.random(4000) < x / 4).astype(int)
    column = column_of(x, y)
    rates = bin_rates(column.by_class, np.array([-0.5, 0.5, 1.5, 2.5, 3.5]))
    assert rates is not None
    truth = [y[x == value].mean() for value in range(4)]
    assert list(rates.values) == pytest.approx(truth)
    assert all(low <= value <= high for low, value, high in zip(rates.low, truth, rates.high, strict=True))


def test_importance_ranks_a_telling_column_over_noise():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 3000)
    table = pa.table(
        {
            "tells": y + rng.normal(size=3000),
            "word": np.where(rng.random(3000) < 0.9, np.where(y, "a", "b"), "c"),
            "noise": rng.normal(size=3000),
            "key": [f"k{i}" for i in range(3000)],
            "y": y,
        }
    )
    found = column_importance(profile_table(table, target="y")["all"])
    assert found["word"] > found["tells"] > 0.1
    assert found["noise"] < 0.01
    assert found["key"] < 0.05  # a key explains everything but for the bias that is taken off


def test_importance_for_a_number_is_the_squared_correlation():
    rng = np.random.default_rng(3)
    x = rng.normal(size=1000)
    y = x + rng.normal(size=1000)
    profile = profile_table(pa.table({"x": x, "y": y}), target="y", gram=True)["all"]
    assert column_importance(profile)["x"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)


def test_widths_of_value_bars_are_proportional_and_the_rest_has_none():
    drawing = value_bars(
        "x", [Category("a", 40, {}), Category("b", 20, {}), Category("others", 900, {}, "rest")], 960, {}
    )
    widths = [bar.width for bar in bars_of(drawing)]
    assert widths == pytest.approx([widths[0], widths[0] / 2], abs=0.2)


def test_stack_of_classes_fills_the_bar():
    drawing = value_bars(
        "x", [Category("a", 40, {"u": 10, "v": 10, "w": 20})], 40, {"u": 10, "v": 10, "w": 20}
    )
    parts = [bars_of(drawing, f"fill-{index}")[0].width for index in range(3)]
    assert parts[2] == pytest.approx(2 * parts[0], abs=0.2)


def test_bar_beyond_the_limit_is_marked():
    drawing = measure_bars("m", [("a", 1.0, "1"), ("b", 3.0, "3")], limit=2.0, limit_name="limit")
    assert [bar.tip for bar in bars_of(drawing, "fill-over")] == ["b: 3"]


def test_shade_of_a_confusion_cell_follows_its_share_of_the_row():
    cells = bars_of(confusion(["a", "b"], [[90, 10], [0, 100]]), "cell right")
    assert [cell.opacity for cell in cells] == pytest.approx([0.06 + 0.84 * 0.9, 0.9], abs=0.001)


def test_labels_at_the_end_of_learning_curves_do_not_touch():
    drawing = learning({f"c{i}": [(1, 0.5), (2, 0.6)] for i in range(8)}, "c0", "ROC AUC")
    heights = sorted(
        mark.y for mark in drawing.marks if isinstance(mark, Word) and mark.style.startswith("legend")
    )
    assert min(np.diff(heights)) > 12.9


def test_learning_curves_of_a_single_epoch_and_equal_scores():
    assert learning({"a": [(1, 0.5)]}, "a", "r").marks


def test_whisker_lies_on_the_shared_scale():
    left = whisker(1, 0, 2, (0, 10), 5, "").marks[-1]
    right = whisker(9, 8, 10, (0, 10), 5, "").marks[-1]
    assert isinstance(left, Dot)
    assert isinstance(right, Dot)
    assert left.x < right.x


def test_alerts_are_ranked_and_point_to_their_cards(hostile):
    shown = view(hostile)
    levels = [alert.level for alert in shown.loud]
    assert levels == sorted(levels, key=["act", "look"].index)
    rules = {alert.column: alert.rule for alert in shown.loud}
    assert rules["null"] == "all missing"
    assert rules["constant"] == "constant"
    assert rules[""] == "identifier?"
    assert rules["some infinite"] == "infinite"
    assert rules["huge"] == "heavy tail"
    assert set(rules) <= set(shown.anchors)
