from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import chunkings, merge_trees

from headrace.accumulators.trends import PERIODS, Trend, coarser


def rows(n: int, hours: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    x[rng.random(n) < 0.1] = np.nan
    x[rng.random(n) < 0.01] = np.inf
    return {
        "hours": np.sort(rng.integers(-hours // 2, hours, n)),
        "x": x,
        "gone": rng.random(n) < 0.2,
        "label": rng.integers(0, 3, n).astype(np.uint8),
    }


def trend(held: dict[str, np.ndarray]) -> Trend:
    return Trend.of(
        held["hours"], ("x", "w"), {"x": held["x"]}, {"w": held["gone"]}, (held["label"], ("a", "b", "c"))
    )


def cut(held: dict[str, np.ndarray], part: slice) -> dict[str, np.ndarray]:
    return {name: values[part] for name, values in held.items()}


@pytest.mark.parametrize(
    ("hours", "grain", "code"),
    [(800, "hour", "h"), (20_000, "day", "D"), (600_000, "month", "M"), (3_000_000, "year", "Y")],
)
def test_trend_is_the_groupby_of_pandas_at_the_finest_grain_that_fits(hours, grain, code):
    held = rows(8_000, hours)
    found = trend(held)
    assert found.grain == grain
    frame = pd.DataFrame(held)
    frame["period"] = held["hours"].astype("datetime64[h]").astype(f"datetime64[{code}]").astype(np.int64)
    groups = frame.groupby("period")
    assert found.periods.tolist() == groups.size().index.tolist()
    assert found.rows.tolist() == groups.size().tolist()
    assert found.missing[:, 0].tolist() == frame.x.isna().groupby(frame.period).sum().tolist()
    assert found.missing[:, 1].tolist() == groups.gone.sum().tolist()
    finite = frame[np.isfinite(frame.x)].groupby("period").x
    some = found.finite[:, 0] > 0
    np.testing.assert_allclose((found.sums[some, 0] / found.finite[some, 0]), finite.mean(), atol=1e-9)
    for code_of, label in enumerate("abc"):
        expected = (frame.label == code_of).groupby(frame.period).sum()
        assert found.classes[label].tolist() == expected.tolist()


@settings(max_examples=20, deadline=None)
@given(st.data(), st.sampled_from([500, 30_000, 10**6]), st.integers(0, 99), st.booleans())
def test_grain_and_counts_do_not_depend_on_the_split(data, hours, seed, shuffled):
    held = rows(3000, hours, seed)
    if shuffled:
        order = np.random.default_rng(seed).permutation(3000)
        held = {name: values[order] for name, values in held.items()}
    whole = trend(held)
    leaves = [trend(cut(held, part)) for part in data.draw(chunkings(3000))]
    merged = data.draw(merge_trees())(leaves, Trend.merge)
    assert merged.grain == whole.grain
    assert len(merged.periods) <= PERIODS or merged.grain == "year"
    for name in ("periods", "rows", "missing", "finite"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    np.testing.assert_allclose(merged.sums, whole.sums, rtol=1e-9, atol=1e-9)
    assert {k: v.tolist() for k, v in merged.classes.items()} == {
        k: v.tolist() for k, v in whole.classes.items()
    }
    again = Trend.from_state(json.loads(json.dumps(merged.state(), allow_nan=False)))
    assert again.state() == merged.state()


def test_too_many_labels_are_not_told_apart_whatever_the_order():
    def part(first: int) -> Trend:
        labels = [str(first + i) for i in range(20)]
        return Trend.of(np.arange(20), ("x",), {}, {}, (np.arange(20, dtype=np.uint8), labels))

    assert part(0).merge(part(10)).classes
    for merged in (part(0).merge(part(20)), part(20).merge(part(0)), part(0).merge(part(20)).merge(part(0))):
        assert merged.overflow
        assert not merged.classes


def test_far_apart_times_take_no_memory_in_between():
    found = Trend.of(np.array([-(10**9), 10**9]), ("x",), {"x": np.array([1.0, 2.0])}, {})
    assert found.rows.tolist() == [1, 1]
    assert found.sums[:, 0].tolist() == [1.0, 2.0]


def test_a_day_lies_in_its_month_before_and_after_1970():
    assert coarser(np.array([-32, -1, 0, 30, 31]), "day", "month").tolist() == [-2, -1, 0, 0, 1]
