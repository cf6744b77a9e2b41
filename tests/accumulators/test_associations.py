from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import contingency, f_oneway, spearmanr
from sklearn.metrics import mutual_info_score
from tests.strategies import columns

from headrace.accumulators.associations import (
    correlation_ratio,
    cramers_v,
    crosstab,
    jackknife,
    mutual_information,
    pearson,
    ranks,
    spearman,
)


@settings(max_examples=40, deadline=None)
@given(columns(400), st.integers(0, 99))
def test_spearman_is_that_of_scipy_and_pandas(x, seed):
    rng = np.random.default_rng(seed)
    y: np.ndarray = rng.permutation(x) + rng.integers(0, 3, len(x)).astype(np.float64)
    y[rng.random(len(x)) < 0.1] = np.nan
    both = ~np.isnan(y)
    if both.sum() < 2 or len(np.unique(x[both])) < 2 or len(np.unique(y[both])) < 2:
        assert np.isnan(spearman(x, y))
        return
    assert spearman(x, y) == pytest.approx(spearmanr(x[both], y[both]).statistic, abs=1e-9)
    assert spearman(x, y) == pytest.approx(pd.Series(x).corr(pd.Series(y), method="spearman"), abs=1e-9)


def test_ranks_are_those_of_pandas():
    x = np.array([3.0, np.nan, 1.0, 1.0, np.inf])
    np.testing.assert_array_equal(ranks(x), pd.Series(x).rank())


def test_pearson_leaves_out_what_is_not_finite():
    x, y = np.array([1.0, 2.0, np.inf, 4.0]), np.array([2.0, 4.0, 1.0, 8.0])
    assert pearson(x, y) == pytest.approx(1.0)
    assert np.isnan(pearson(np.ones(4), y))


def test_cramers_v_is_that_of_scipy_but_for_the_bias():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 100_000)
    b = np.where(rng.random(100_000) < 0.4, a, rng.integers(0, 5, 100_000))
    table = crosstab(a, b)
    assert table.tolist() == pd.crosstab(a, b).to_numpy().tolist()
    assert cramers_v(table) == pytest.approx(contingency.association(table, method="cramer"), abs=1e-3)
    # Of unrelated columns the plain one is never 0; the corrected one mostly is.
    few = crosstab(rng.integers(0, 6, 200), rng.integers(0, 6, 200))
    assert cramers_v(few) < contingency.association(few, method="cramer")
    assert np.isnan(cramers_v(crosstab(np.zeros(9, dtype=int), np.arange(9))))


def test_correlation_ratio_squared_is_the_adjusted_share_between_groups():
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 5, 3000)
    values = codes * 0.4 + rng.normal(size=3000)
    values[:30] = np.nan
    held = (codes >= 0) & ~np.isnan(values)
    groups = [values[held & (codes == code)] for code in range(5)]
    n, k = int(held.sum()), 5
    f = f_oneway(*groups).statistic
    share = (k - 1) * f / ((k - 1) * f + n - k)
    adjusted = 1 - (1 - share) * (n - 1) / (n - k)
    assert correlation_ratio(codes, values) ** 2 == pytest.approx(adjusted, abs=1e-12)
    assert np.isnan(correlation_ratio(codes, np.ones(3000)))
    assert np.isnan(correlation_ratio(np.zeros(3000, dtype=int), values))


def test_mutual_information_is_that_of_scikit_learn_but_for_the_bias():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 6, 50_000)
    b = np.where(rng.random(50_000) < 0.3, a, rng.integers(0, 6, 50_000))
    assert mutual_information(crosstab(a, b)) == pytest.approx(mutual_info_score(a, b), abs=5e-4)
    unrelated = [
        mutual_information(crosstab(rng.integers(0, 10, 1000), rng.integers(0, 10, 1000))) for _ in range(20)
    ]
    assert np.mean(unrelated) < 0.01


def thinned(kept: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    return spearman(x[kept], y[kept])


def test_jackknife_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's correlation of a normal pair with correlation 0.5
    inside = 0
    for _ in range(100):
        x = rng.normal(size=400)
        y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=400)
        value, half = jackknife(partial(thinned, x=x, y=y), 400)
        inside += abs(value - truth) <= half
    assert 88 <= inside <= 100
    assert np.isnan(jackknife(lambda kept: float(kept.sum()), 30)[1])
