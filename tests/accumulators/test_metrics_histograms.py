"""Histograms, row samples, bootstrap weights: the parts that metrics are made of."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from headrace.accumulators.bootstrap import Tally, percentile_interval, poisson_weights
from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.histograms import NestedHistogram, ordered_bits
from headrace.accumulators.rankings import (
    average_precision,
    average_precision_within,
    curve_points,
    roc_auc,
    roc_auc_error,
)
from headrace.accumulators.rowsample import RowSample

LAWS = settings(max_examples=40, deadline=None)
SCORES = st.floats(0.0, 1.0, allow_subnormal=True)


def test_bits_keep_the_order_of_numbers():
    rng = np.random.default_rng(0)
    values = np.unique(np.concatenate([rng.random(1000), [0.0, -0.0, 5e-324, 0.5, 1.0, np.nextafter(1, 0)]]))
    for folded in (True, False):
        assert (np.diff(ordered_bits(values, folded=folded)) > 0).all()


@LAWS
@given(
    st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(1, 12),
    st.randoms(),
)
def test_any_split_and_merge_tree_gives_the_same_histogram(rows, limit, random):
    def histogram(part: list[tuple[float, bool, int]]) -> NestedHistogram:
        made = NestedHistogram(2, limit)
        if part:
            scores, group, weight = (np.array(column) for column in zip(*part, strict=True))
            made.update(scores.astype(float), group.astype(int), weight.astype(float))
        return made

    whole = histogram(rows)
    parts = [histogram([row]) for row in rows] + [NestedHistogram(2, limit)]
    random.shuffle(parts)
    while len(parts) > 1:
        place = random.randrange(len(parts) - 1)
        parts[place : place + 2] = [parts[place].merge(parts[place + 1])]
    assert json.dumps(parts[0].state()) == json.dumps(whole.state())
    assert len(whole.bins) <= limit


@LAWS
@given(
    st.lists(st.tuples(SCORES, st.booleans(), st.floats(0.1, 9.0)), min_size=2, max_size=80),
    st.integers(2, 20),
)
def test_stated_errors_of_rankings_hold(rows, limit):
    scores, y, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if not 0 < y.sum() < len(y):
        y[0], y[1] = 0.0, 1.0
    histogram = NestedHistogram(2, limit)
    histogram.update(scores, y.astype(int), weight)
    sides = histogram.weights.T
    auc_error = roc_auc_error(sides[0], sides[1], histogram.mixed)
    precision, ap_error = average_precision_within(sides[0], sides[1], histogram.mixed)
    auc = sk.roc_auc_score(y, scores, sample_weight=weight)
    ap = sk.average_precision_score(y, scores, sample_weight=weight)
    assert abs(roc_auc(sides[0], sides[1]) - auc) <= auc_error + 1e-12
    assert abs(precision - ap) <= ap_error + 1e-12
    if not histogram.mixed.any():
        assert auc_error == ap_error == 0.0
        assert average_precision(sides[0], sides[1]) == pytest.approx(precision, abs=1e-15)


@pytest.mark.parametrize("limit", [5, 64, 100_000])
def test_median_is_within_its_stated_error(limit):
    rng = np.random.default_rng(1)
    values = np.abs(rng.standard_cauchy(5001)) * 10.0 ** rng.integers(-3, 3, 5001)
    histogram = NestedHistogram(2, limit, folded=False)
    histogram.update(values, np.zeros(5001, dtype=int))
    value, error = histogram.quantile(0.5)
    assert value is not None
    assert abs(value - np.median(values)) <= error * (1 + 1e-12)
    assert (error == 0) == (limit == 100_000)


def test_many_scores_keep_a_small_stated_error():
    rng = np.random.default_rng(2)
    logits = rng.normal(-2.0, 1.2, 300_000)
    scores = 1 / (1 + np.exp(-logits))
    y = (rng.random(len(scores)) < scores).astype(int)
    histogram = NestedHistogram(2)
    histogram.update(scores, y)
    negatives, positives = histogram.weights[:, 0], histogram.weights[:, 1]
    error = roc_auc_error(negatives, positives, histogram.mixed)
    assert 0 < error < 1e-4
    assert abs(roc_auc(negatives, positives) - sk.roc_auc_score(y, scores)) < error
    precision, error = average_precision_within(negatives, positives, histogram.mixed)
    assert 0 < error < 1e-4
    assert abs(precision - sk.average_precision_score(y, scores)) < error


def test_curves_are_short_and_end_where_they_must():
    rng = np.random.default_rng(3)
    points = curve_points(rng.random(5000), rng.random(5000))
    assert len(points["roc"]) <= 200
    assert points["roc"][0] == [0.0, 0.0]
    assert points["roc"][-1] == pytest.approx([1.0, 1.0])
    assert curve_points(np.ones(3), np.zeros(3)) == {"roc": [], "pr": []}


def test_bootstrap_weights_are_poisson_and_independent():
    rng = np.random.default_rng(4)
    keys = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    weights = poisson_weights(keys, 10).astype(float)
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.03)
    assert weights.var(axis=0) == pytest.approx(1.0, abs=0.06)
    assert np.abs(np.corrcoef(weights.T) - np.eye(10)).max() < 0.03
    assert np.bincount(weights[:, 0].astype(int))[:4] / 20_000 == pytest.approx(
        np.exp(-1) / np.array([1, 1, 2, 6]), abs=0.015
    )


def test_row_numbers_serve_as_keys():
    weights = poisson_weights(np.arange(20_000, dtype=np.uint64), 4).astype(float)
    assert abs(np.corrcoef(weights[:-1, 0], weights[1:, 0])[0, 1]) < 0.03
    assert weights.mean() == pytest.approx(1.0, abs=0.02)


def test_more_replicates_keep_the_first_ones():
    keys = np.arange(100, dtype=np.uint64)
    assert (poisson_weights(keys, 50)[:, :7] == poisson_weights(keys, 7)).all()


def test_tally_sums_the_data_and_its_replicates():
    rng = np.random.default_rng(5)
    cells, amounts = rng.integers(0, 4, (9000, 2)), rng.integers(0, 9, (9000, 2)).astype(float)
    keys = rng.integers(0, 2**64, 9000, dtype=np.uint64)
    tally = Tally(4, 6)
    tally.update(cells, amounts, keys)
    weights = np.column_stack([np.ones(9000), poisson_weights(keys, 6)])
    for cell in range(4):
        assert (tally.sums[cell] == ((cells == cell) * amounts).sum(axis=1) @ weights).all()


def test_interval_is_moved_to_the_exact_value_and_absent_when_undefined():
    values = np.concatenate([[0.5], np.linspace(0.4, 0.6, 201)])
    assert percentile_interval(values, 0.7) == pytest.approx((0.605, 0.795))
    assert percentile_interval(values[:1]) == (None, None)
    values[1:150] = np.nan
    assert percentile_interval(values) == (None, None)


@LAWS
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=40), st.randoms())
def test_row_sample_is_the_same_for_any_split(rows, random):
    def sample(part: list[tuple[int, int]]) -> RowSample:
        made = RowSample(1, 5)
        made.update(
            np.array([key for key, _ in part], dtype=np.uint64),
            np.array([[value] for _, value in part], dtype=float).reshape(-1, 1),
        )
        return made

    whole = sample(rows)
    parts = [sample([row]) for row in rows] + [RowSample(1, 5)]
    random.shuffle(parts)
    while len(parts) > 1:
        place = random.randrange(len(parts) - 1)
        parts[place : place + 2] = [parts[place].merge(parts[place + 1])]
    assert parts[0].state() == whole.state()
    assert whole.values[:, 0].tolist() == [float(value) for _, value in sorted(rows)[:5]]
    assert RowSample.from_state(json.loads(json.dumps(whole.state()))).state() == whole.state()


def test_arrays_survive_json():
    for array in (np.array([[np.nan, -0.0, np.inf]]), np.array([], dtype=np.uint64), np.array([True, False])):
        back = decode_array(json.loads(json.dumps(encode_array(array))))
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()


def test_empty_histogram_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NestedHistogram(2).merge(NestedHistogram(2)).quantile(0.5) == (None, 0.0)
