"""Curves, bins, splines, powers and flags: as scikit-learn fits them in memory, on chunks that drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import skops.io
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)

from headrace.errors import DataError
from headrace.packaging.trust import TRUSTED
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation, build_transformer

PLAIN: dict[str, Any] = {"clip": None, "indicator": False, "impute": "median"}


def dense(matrix: Any) -> Any:
    return matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)


def kept(p: Preparation, table: pa.Table) -> list[bool]:
    rows = CompiledPreparation(p).keeps(table)
    assert rows is not None
    found: list[bool] = rows.tolist()
    return found


def drifting(rows: int, seed: int = 0) -> pa.Table:
    """A skewed number whose location drifts from chunk to chunk, with gaps."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.lognormal(0, 1, rows) + 0.01 + np.linspace(0, 3, rows), 3)
    return pa.table({"x": pa.array(x, mask=rng.random(rows) < 0.1)})


def both(p: Preparation, table: pa.Table) -> Any:
    """What the transformer gives, after it is held equal to the compiled path and to itself from a file."""
    frame = table.to_pandas()
    transformer = build_transformer(p)
    got = dense(transformer.transform(frame))
    assert tuple(transformer.get_feature_names_out()) == p.names_out
    fast = CompiledPreparation(p)
    np.testing.assert_allclose(dense(fast.transform(table, np.float64)), got, rtol=1e-12, atol=1e-12)
    loaded = skops.io.loads(skops.io.dumps(transformer), trusted=list(TRUSTED))
    np.testing.assert_array_equal(dense(loaded.transform(frame)), got)
    assert Preparation.from_json(p.to_json()) == p
    return got


CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "sqrt": ({"transform": "sqrt"}, lambda: [FunctionOf(np.sqrt), StandardScaler()]),
    "log1p": ({"transform": "log1p"}, lambda: [FunctionOf(np.log1p), StandardScaler()]),
    "box_cox": ({"transform": "box_cox"}, lambda: [PowerTransformer("box-cox")]),
    "yeo_johnson": ({"transform": "yeo_johnson"}, lambda: [PowerTransformer()]),
    "quantile_normal": (
        {"transform": "quantile_normal", "scale": "none"},
        lambda: [QuantileTransformer(n_quantiles=1000, output_distribution="normal", subsample=None)],
    ),
    "quantile_uniform": (
        {"transform": "quantile_uniform", "scale": "none"},
        lambda: [QuantileTransformer(n_quantiles=1000, subsample=None)],
    ),
    "bins": (
        {"expand": {"method": "bins", "bins": 4}},
        lambda: [KBinsDiscretizer(4, strategy="quantile", quantile_method="linear", subsample=None)],
    ),
    "ordinal bins": (
        {"expand": {"method": "bins", "bins": 4, "encode": "ordinal"}},
        lambda: [
            KBinsDiscretizer(
                4, strategy="quantile", quantile_method="linear", subsample=None, encode="ordinal"
            )
        ],
    ),
    "spline": (
        {"expand": {"method": "spline", "knots": 4}},
        lambda: [SplineTransformer(4, knots="quantile", include_bias=False)],
    ),
    "powers": (
        {"expand": {"method": "powers", "degree": 3}},
        lambda: [StandardScaler(), PolynomialFeatures(3, include_bias=False)],
    ),
    "maxabs": ({"scale": "maxabs"}, lambda: [MaxAbsScaler()]),
}


def FunctionOf(function: Any) -> Any:  # noqa: N802 - stands for a class
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(function)


@pytest.mark.parametrize("name", CASES)
def test_as_scikit_learn_fits_it_in_memory(prepare, name):
    table = drifting(1500)
    options, steps = CASES[name]
    got = both(prepare(table, numeric={**PLAIN, **options}), table)
    wanted = make_pipeline(SimpleImputer(strategy="median"), *steps()).fit_transform(table.to_pandas())
    # The likelihood is flat at its top: two searches agree on lambda to some 1e-5.
    loose = name in {"box_cox", "yeo_johnson"}
    np.testing.assert_allclose(got, dense(wanted), rtol=1e-3 if loose else 1e-9, atol=1e-4 if loose else 1e-9)


def test_of_many_distinct_values_lambda_comes_from_the_sketch(prepare):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.lognormal(shift, 0.7, 6_000) for shift in (0, 0.5, 1)])
    table = pa.table({"x": x})
    got = both(prepare(table, numeric={**PLAIN, "transform": "box_cox"}), table)
    wanted = PowerTransformer("box-cox").fit_transform(x[:, None])
    assert np.abs(got - wanted).max() < 0.02
    assert "8192 points of the sketch" in prepare(table, numeric={"transform": "box_cox"}).describe()[0]["parameters"]  # fmt: skip


def test_an_indicator_and_a_flag_of_outliers_are_features_of_their_own(prepare):
    table = pa.table({"x": pa.array([*range(20), 1000, None], pa.float64())})
    clip = {"method": "iqr", "factor": 3}
    p = prepare(table, numeric={"clip": clip, "outliers": "flag", "transform": "log1p"})
    got = both(p, table)
    assert p.names_out == ("x", "missingindicator_x", "outlier__x")
    assert got[:, 1].tolist() == [0.0] * 21 + [1.0]
    assert got[:, 2].tolist() == [0.0] * 20 + [1.0, 0.0]
    assert got[20, 0] == got[:, 0].max()
    plain = prepare(table, numeric={"clip": clip, "outliers": "flag"})
    assert both(plain, table)[20, -1] == 1


def test_removed_outliers_have_no_say_and_are_not_trained_on(prepare):
    x = [*np.linspace(-1, 1, 200).tolist(), 50.0, -80.0, None]
    table = pa.table({"x": x})
    p = prepare(
        table, numeric={"clip": {"method": "iqr", "factor": 2}, "outliers": "remove", "indicator": False}
    )
    assert kept(p, table) == [True] * 200 + [False] * 2 + [True]
    assert p.rules[0].rows == 2
    assert p.notes == (f"x: about 2 training rows outside {p.rules[0].low:.6g} to {p.rules[0].high:.6g} are not trained on",)  # fmt: skip
    inside = [0.0 if value is None else value for value in x if value is None or abs(value) <= 1]
    assert (p.columns[0].center, p.columns[0].spread) == pytest.approx(
        (np.mean(inside), np.std(inside)), abs=1e-12
    )


def test_rows_without_a_needed_value_are_not_trained_on(prepare):
    table = pa.table({"x": [1.0, None, float("nan"), 4.0], "word": ["a", "b", None, "a"]})
    p = prepare(table, drop_rows=["x", "word"], categorical={"min_frequency": 1})
    assert kept(p, table) == [True, False, False, True]
    assert [rule.rows for rule in p.rules] == [2, 1]


def test_columns_that_are_mostly_missing_are_dropped(prepare):
    table = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, None, None]})
    p = prepare(table, drop_missing_above=0.4)
    assert p.features_in == ("x",)
    assert p.notes == ("y: dropped, 50.0% of its values are missing, more than drop_missing_above",)


@pytest.mark.parametrize("transform", ["sqrt", "log1p", "box_cox"])
def test_negative_numbers_are_refused_where_the_curve_ends(prepare, transform):
    with pytest.raises(DataError, match=r"column 'x': .*the smallest is -1.*use transform: yeo_johnson"):
        prepare(pa.table({"x": [-1.0, 2.0, 3.0]}), numeric={"transform": transform})


@pytest.mark.parametrize("transform", ["sqrt", "log1p", "box_cox", "yeo_johnson", "quantile_normal"])
def test_values_beyond_those_of_training_stay_finite(prepare, transform):
    p = prepare(drifting(300), numeric={"transform": transform, "clip": None})
    beyond = pd.DataFrame({"x": [-1e6, 0.0, 1e6, np.nan]})
    assert np.isfinite(dense(build_transformer(p).transform(beyond))).all()


def test_of_a_column_of_few_values_equal_edges_are_one(prepare):
    table = pa.table({"x": [0.0] * 90 + [1.0] * 10})
    for expand in ({"method": "bins", "bins": 5}, {"method": "spline", "knots": 5}):
        assert np.isfinite(both(prepare(table, numeric={**PLAIN, "expand": expand}), table)).all()


def test_recipes_and_one_hot_features_share_a_sparse_matrix(prepare):
    words = [f"w{i % 50}" for i in range(600)]
    table = drifting(600).append_column("word", pa.array(words))
    p = prepare(table, columns={"x": {"expand": {"method": "bins", "bins": 6}}})
    assert p.layout.sparse
    assert both(p, table).shape == (600, 50 + 1 + 6)
