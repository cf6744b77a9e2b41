"""Moments against exact sums, numpy and scipy."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.strategies import SHAPES, chunkings, columns, merge_trees

from headrace.accumulators import moments
from headrace.accumulators.moments import Moments

TAME = [shape for shape in SHAPES if shape != "huge and tiny"]
quick = settings(max_examples=40, deadline=None)


@quick
@given(st.data())
def test_any_split_and_merge_tree_gives_the_moments_of_the_whole(data):
    x = data.draw(columns(shapes=TAME))
    found = data.draw(merge_trees())(
        [Moments.of(x[cut]) for cut in data.draw(chunkings(len(x)))], Moments.merge
    )
    assert found.n == len(x)
    if not len(x):
        assert math.isnan(found.mean)
        assert math.isnan(found.variance())
        return
    scale = float(np.abs(x).mean())
    assert found.mean == pytest.approx(math.fsum(x) / len(x), rel=1e-12, abs=1e-12 * scale)
    assert (found.minimum, found.maximum) == (x.min(), x.max())
    assert found.variance() == pytest.approx(x.var(), rel=1e-9, abs=1e-20 * scale**2)
    assert found.variance(ddof=1) == pytest.approx(
        x.var(ddof=1) if len(x) > 1 else math.nan, rel=1e-9, abs=1e-20 * scale**2, nan_ok=True
    )
    if len(x) > 2 and found.std > 1e-9 * scale:
        assert found.skewness == pytest.approx(stats.skew(x), rel=1e-6, abs=1e-6)
        assert found.kurtosis == pytest.approx(stats.kurtosis(x), rel=1e-6, abs=1e-6)


@quick
@given(st.data())
def test_counts_are_the_same_as_repetition(data):
    values = data.draw(columns(300, TAME))
    counts = np.array(
        data.draw(st.lists(st.integers(1, 5), min_size=len(values), max_size=len(values))), dtype=np.int64
    )
    weighted, repeated = Moments.of(values, counts), Moments.of(np.repeat(values, counts))
    assert weighted.n == repeated.n
    scale = float(np.abs(values).max(initial=0))
    assert weighted.mean == pytest.approx(repeated.mean, rel=1e-9, abs=1e-12 * scale, nan_ok=True)
    assert weighted.std == pytest.approx(repeated.std, rel=1e-9, abs=1e-9 * scale, nan_ok=True)


@quick
@given(columns(200, ["huge and tiny"]))
def test_overflow_neither_warns_nor_breaks_json(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Moments.of(x).merge(Moments.of(x[::-1] * 0.5))
        found.result()
    again = Moments.from_state(json.loads(json.dumps(found.state(), allow_nan=False)))
    assert again.state() == found.state()


def test_mean_of_values_whose_sum_overflows_is_finite():
    x = np.full(20_000, 1.5e308)
    assert Moments.of(x).merge(Moments.of(x)).mean == pytest.approx(1.5e308)


def test_small_variance_far_from_zero_is_not_lost():
    x = 1e9 + np.random.default_rng(0).normal(size=100_000)
    exact = np.var((x - 1e9).astype(np.longdouble))
    assert Moments.of(x).variance() == pytest.approx(float(exact), rel=1e-9)


def test_extremes_of_integers_are_exact_integers():
    x = np.array([2**62 + 1, -(2**62) - 1])
    found = Moments.of(x)
    assert (found.minimum, found.maximum) == (-(2**62) - 1, 2**62 + 1)
    assert Moments.from_state(json.loads(json.dumps(found.state()))) == found


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.float32])
def test_every_dtype_is_measured_in_double_precision(dtype):
    x = np.arange(100).astype(dtype)
    assert Moments.of(x).mean == 49.5
    assert Moments.of(x).variance() == pytest.approx(833.25)


@quick
@given(st.floats(-1e300, 1e300, allow_nan=False), st.data())
def test_a_constant_has_exactly_no_variance_by_any_split_and_tree(value, data):
    x = np.full(20_000, value)
    counted = Moments.of(np.array([value]), np.array([7]))
    leaves = [*(Moments.of(x[cut]) for cut in data.draw(chunkings(len(x)))), counted]
    found = data.draw(merge_trees())(leaves, Moments.merge)
    assert found.std == 0
    assert found.mean == value
    assert math.isnan(found.skewness)


def test_blocks_that_are_measured_together_have_the_moments_of_each_alone(monkeypatch):
    x = np.random.default_rng(0).lognormal(size=8192 * 11 + 5).astype(np.float32)
    together = Moments.of(x)
    monkeypatch.setattr(moments, "_blocks", lambda rows: np.array([moments._block(row) for row in rows]))
    alone = Moments.of(x)
    assert together.n == alone.n
    assert list(together.result().values()) == pytest.approx(list(alone.result().values()), rel=1e-12)
