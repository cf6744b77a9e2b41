"""Regression metrics, held against scikit-learn on the concatenated predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from headrace.accumulators.metrics import Estimate
from headrace.accumulators.regression import RegressionMetrics

LAWS = settings(max_examples=40, deadline=None)
NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from([0.5, 1.0, 2.0, 3.0])), min_size=2, max_size=50)


def measured(y, predictions, weight=None, *, replicates=0, bins=16_384) -> RegressionMetrics:
    metrics = RegressionMetrics(replicates=replicates, bins=bins)
    metrics.update(
        y,
        predictions,
        weight,
        np.random.default_rng(len(y)).integers(0, 2**64, len(y), dtype=np.uint64),
    )
    return metrics


@LAWS
@given(ROWS, st.booleans())
def test_equals_scikit_learn(rows, weighted):
    y, predictions, weight = (np.array(column) for column in zip(*rows, strict=True))
    w = weight if weighted else None
    result = measured(y, predictions, w).result()
    wanted = {
        "mse": sk.mean_squared_error(y, predictions, sample_weight=w),
        "rmse": sk.root_mean_squared_error(y, predictions, sample_weight=w),
        "mae": sk.mean_absolute_error(y, predictions, sample_weight=w),
        "median_absolute_error": sk.median_absolute_error(y, predictions, sample_weight=w),
        "mean_error": np.average(predictions - y, weights=w),
    }
    for name, value in wanted.items():
        scale = np.abs(predictions - y).max()
        assert result[name].value == pytest.approx(value, rel=1e-9, abs=1e-13 * scale), name
    if np.ptp(y) == 0:
        assert result["r2"] == Estimate(None)
    else:
        for name, score in (("r2", sk.r2_score), ("explained_variance", sk.explained_variance_score)):
            value = score(y, predictions, sample_weight=w)
            # 1 - share loses digits where the share is large, in scikit-learn as well.
            assert result[name].value == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_large_mean_loses_no_digits():
    rng = np.random.default_rng(0)
    y = 1e9 + rng.normal(size=2000)
    predictions = y + 0.3 * rng.normal(size=2000)
    parts = [measured(y[place::4], predictions[place::4]) for place in range(4)]
    merged = parts[0].merge(parts[1]).merge(parts[2].merge(parts[3]))
    assert merged.result()["r2"].value == pytest.approx(sk.r2_score(y, predictions), rel=1e-9)


def test_drifting_target_loses_no_digits():
    rng = np.random.default_rng(1)
    y = np.repeat([0.0, 1e3, 1e6], 500) + rng.normal(size=1500)
    predictions = y + rng.normal(size=1500)
    parts = [measured(y[place : place + 500], predictions[place : place + 500]) for place in (0, 500, 1000)]
    merged = parts[2].merge(parts[0].merge(parts[1])).result()
    for name, score in (("r2", sk.r2_score), ("explained_variance", sk.explained_variance_score)):
        assert merged[name].value == pytest.approx(score(y, predictions), rel=1e-9)


@LAWS
@given(ROWS, st.randoms(), st.sampled_from([4, 1000]))
def test_any_split_and_merge_tree_gives_the_same(rows, random, bins):
    y, predictions, weight = (np.array(column) for column in zip(*rows, strict=True))
    keys = np.random.default_rng(0).integers(0, 2**64, len(rows), dtype=np.uint64)

    def part(places: list[int]) -> RegressionMetrics:
        metrics = RegressionMetrics(replicates=8, bins=bins, sample=5)
        metrics.update(y[places], predictions[places], weight[places], keys[places])
        return metrics

    whole = part(list(range(len(rows))))
    parts = [RegressionMetrics(replicates=8, bins=bins, sample=5), *(part([p]) for p in range(len(rows)))]
    random.shuffle(parts)
    while len(parts) > 1:
        place = random.randrange(len(parts) - 1)
        parts[place : place + 2] = [parts[place].merge(parts[place + 1])]
    wanted = whole.result()
    for name in ("mse", "mae", "median_absolute_error"):
        one = parts[0].result()[name]
        for field, value in one.to_dict().items():
            other = wanted[name].to_dict()[field]
            assert value == (other if other is None else pytest.approx(other, rel=1e-9, abs=1e-12)), name
    assert parts[0].curves()["residuals"] == whole.curves()["residuals"]


def test_state_survives_json():
    rng = np.random.default_rng(2)
    y = rng.normal(size=3000)
    for metrics in (measured(y, y * 0.9, replicates=10, bins=256), RegressionMetrics(replicates=3)):
        back = RegressionMetrics.from_state(json.loads(json.dumps(metrics.state(), allow_nan=False)))
        assert back.state() == metrics.state()
        assert back.result() == metrics.result()
        assert back.curves() == metrics.curves()


def test_no_rows_are_undefined_without_warning():
    result = RegressionMetrics().result()
    assert all(one.value is None for one in result.values())
    json.dumps(RegressionMetrics().curves(), allow_nan=False)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    truth = {"mse": 1.0, "mae": np.sqrt(2 / np.pi), "median_absolute_error": 0.67448975, "mean_error": 0.0}
    covered = dict.fromkeys(truth, 0)
    for _ in range(200):
        y = rng.normal(size=300)
        metrics = RegressionMetrics(replicates=200)
        metrics.update(y, y + rng.normal(size=300), None, rng.integers(0, 2**64, 300, dtype=np.uint64))
        result = metrics.result()
        for name, value in truth.items():
            one = result[name]
            assert one.low is not None
            assert one.high is not None
            covered[name] += one.low <= value <= one.high
    assert all(0.90 <= count / 200 <= 0.99 for count in covered.values()), covered


def test_residuals_are_drawn_from_all_rows():
    rng = np.random.default_rng(4)
    y = rng.normal(size=5000)
    curves = measured(y, y + rng.normal(0.5, 1.0, 5000)).curves()
    assert len(curves["residuals"]) == 1000
    assert np.mean(curves["residuals"], axis=0)[1] == pytest.approx(0.5, abs=0.15)
    weights, edges = np.array(curves["residual_histogram"]["weights"]), curves["residual_histogram"]["edges"]
    assert weights.sum() == 5000
    assert np.average((np.array(edges[1:]) + edges[:-1]) / 2, weights=weights) == pytest.approx(0.5, abs=0.1)
