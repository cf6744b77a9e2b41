"""Filling, clipping and scaling of numbers, held against scikit-learn fitted in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from headrace.errors import DataError
from headrace.preparation.fitted import build_transformer
from headrace.preparation.plans import NumericPlan

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}


def column(seed: int, n: int, gaps: float) -> Any:
    rng = np.random.default_rng(seed)
    values = [rng.normal(3, 2, n), rng.integers(-4, 9, n).astype(float), rng.lognormal(0, 2, n)][seed % 3]
    values[rng.random(n) < gaps] = np.nan
    values[:2] = 1.0, 2.5
    return values


@pytest.mark.parametrize("impute", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "none"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 20), n=st.integers(5, 400), gaps=st.sampled_from([0.0, 0.3]))
def test_equals_scikit_learn_fitted_in_memory(prepare, impute, scale, seed, n, gaps):
    x = column(seed, n, gaps)
    p = prepare(
        pa.table({"x": x}), numeric={"impute": impute, "fill_value": -7, "scale": scale, "clip": None}
    )
    ours = build_transformer(p).named_transformers_["numbers"]
    steps: list[Any] = [SimpleImputer(strategy=impute, fill_value=-7.0 if impute == "constant" else None)]
    steps += [SCALERS[scale]()] if scale != "none" else []
    theirs = make_pipeline(*steps).fit(x[:, None])
    np.testing.assert_allclose(
        ours.named_steps["fill"].statistics_, theirs[0].statistics_.astype(float), rtol=1e-9
    )
    for name in ("mean_", "var_", "scale_", "min_", "data_min_", "data_max_", "data_range_", "center_"):
        if scale != "none" and hasattr(theirs[-1], name):
            wanted = getattr(theirs[-1], name)
            np.testing.assert_allclose(
                getattr(ours.named_steps["scale"], name), wanted, rtol=1e-9, atol=1e-12, err_msg=name
            )
    new = np.array([[np.nan], [0.0], [3.25], [1e4]])
    np.testing.assert_allclose(
        ours.transform(pd.DataFrame(new, columns=["x"])), theirs.transform(new), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("impute", ["mean", "median"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 20), gaps=st.sampled_from([0.0, 0.3]))
def test_clipping_equals_scikit_learn_on_clipped_values(prepare, impute, seed, gaps):
    x = column(seed, 300, gaps)
    clip = {"method": "quantile", "low": 0.05, "high": 0.9}
    (plan,) = prepare(pa.table({"x": x}), numeric={"impute": impute, "clip": clip}).columns
    assert isinstance(plan, NumericPlan)
    low, high = np.nanquantile(x, [0.05, 0.9])
    clipped = np.clip(x, low, high)[:, None]
    filled = SimpleImputer(strategy=impute).fit_transform(clipped)
    scaler = StandardScaler().fit(filled)
    assert (plan.low, plan.high) == pytest.approx((low, high), rel=1e-9)
    assert (plan.center, plan.spread) == pytest.approx((scaler.mean_[0], scaler.scale_[0]), rel=1e-9)


@pytest.mark.parametrize(
    ("clip", "bounds"),
    [
        ({"method": "iqr", "factor": 1.5}, lambda x: np.quantile(x, [0.25, 0.75]) + np.ptp(np.quantile(x, [0.25, 0.75])) * np.array([-1.5, 1.5])),
        ({"method": "zscore", "limit": 2}, lambda x: x.mean() + x.std() * np.array([-2, 2])),
    ],
)  # fmt: skip
def test_bounds_follow_their_method(prepare, clip, bounds):
    x = np.random.default_rng(0).lognormal(0, 1, 500)
    (plan,) = prepare(pa.table({"x": x}), numeric={"clip": clip}).columns
    np.testing.assert_allclose([plan.low, plan.high], bounds(x), rtol=1e-9)


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "none"])
def test_clipped_values_come_out_scaled(prepare, to_frame, scale):
    x = np.random.default_rng(0).normal(1e6, 3, 400)
    table = pa.table({"x": x})
    p = prepare(table, numeric={"scale": scale, "clip": {"method": "zscore", "limit": 1}})
    (plan,) = p.columns
    wanted = (np.clip(x, plan.low, plan.high) - plan.center) / plan.spread
    got = build_transformer(p).transform(to_frame(table))[:, 0]
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-9)


def test_sketched_columns_keep_their_rank_error(prepare):
    x = np.sort(
        np.random.default_rng(3).lognormal(0, 1.5, 60_000)
    )  # more distinct values than are counted; chunks drift
    clip = {"method": "quantile", "low": 0.05, "high": 0.95}
    p = prepare(pa.table({"x": x}), chunks=7, numeric={"impute": "median", "clip": clip})
    (plan,) = p.columns
    for value, share in ((plan.low, 0.05), (plan.high, 0.95), (plan.fill, 0.5)):
        assert abs(np.searchsorted(x, value) / len(x) - share) < 0.005 + 1 / 16384
    clipped = np.clip(x, plan.low, plan.high)
    assert plan.center == pytest.approx(clipped.mean(), abs=0.006 * np.ptp(clipped))
    assert plan.spread == pytest.approx(clipped.std(), rel=0.02)


@pytest.mark.parametrize("scale", ["robust", "standard"])
def test_sketched_quantiles_see_what_is_filled(prepare, scale):
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, 60_000)
    x[rng.random(len(x)) < 0.4] = np.nan
    numeric = {"impute": "constant", "fill_value": 5, "scale": scale, "clip": None}
    (plan,) = prepare(pa.table({"x": x}), numeric=numeric).columns
    filled = np.nan_to_num(x, nan=5.0)
    if scale == "standard":
        assert (plan.center, plan.spread) == pytest.approx((filled.mean(), filled.std()), rel=1e-9)
    else:
        assert abs((filled < plan.center).mean() - 0.5) < 0.006


def test_mean_of_missing_ends_as_exactly_zero(prepare, to_frame):
    x = np.array([0.1, 0.2, 0.7, np.nan, np.nan, 1e9])
    p = prepare(pa.table({"x": x}))
    out = build_transformer(p).transform(to_frame(pa.table({"x": x})))
    assert out[3, 0] == 0
    assert out[:, 1].tolist() == [0, 0, 0, 1, 1, 0]
    assert p.columns[0].fills_with_zero


def test_only_heavy_tails_are_clipped_by_default(prepare):
    rng = np.random.default_rng(0)
    n = 20_000
    table = pa.table(
        {
            "normal": rng.normal(size=n),
            "uniform": rng.random(n),
            "exponential": rng.exponential(size=n),
            "cauchy": rng.standard_cauchy(n),
            "mostly zero": np.where(rng.random(n) < 0.995, 0.0, 1e6),
        }
    )
    plans = {plan.name: plan for plan in prepare(table).columns}
    assert [name for name, plan in plans.items() if plan.low is not None] == ["cauchy"]
    outside = (table["cauchy"].to_numpy() < plans["cauchy"].low) | (
        table["cauchy"].to_numpy() > plans["cauchy"].high
    )
    assert 0 < outside.mean() < 0.02


def test_huge_numbers_do_not_overflow(prepare):
    x = np.array([1e300, -1e300, 5e299, 0.0])
    (plan,) = prepare(pa.table({"x": x}), numeric={"clip": None}).columns
    assert plan.spread == pytest.approx(np.std(x / 1e300) * 1e300)


def test_constant_with_gaps_is_kept_for_its_indicator(prepare):
    (plan,) = prepare(pa.table({"x": [4.0, None, 4.0, None]})).columns
    assert (plan.spread, plan.indicator) == (1.0, True)


def test_infinities_are_refused_by_name(prepare):
    with pytest.raises(DataError, match="column 'bad': 2 values are infinite"):
        prepare(pa.table({"bad": [1.0, np.inf, -np.inf]}))
