"""Numbers prepared together, from the cross products of one pass: as scikit-learn fits them in memory, on chunks that drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - imported for its effect
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from headrace.errors import WorkflowError
from headrace.packaging.trust import TRUSTED
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation, build_transformer

NAMES = ["a", "b", "c", "d"]


def correlated(rows: int = 800, gaps: float = 0.15, seed: int = 2) -> tuple[pa.Table, Any]:
    """Four numbers that follow from each other and drift, with gaps; and the numbers without gaps."""
    rng = np.random.default_rng(seed)
    X = (
        rng.normal(size=(rows, 4)) @ rng.normal(size=(4, 4))
        + np.linspace(0, 2, rows)[:, None]
        + [0, 10, -5, 100]
    )
    mask = rng.random(X.shape) < gaps
    table = pa.table({name: pa.array(X[:, j], mask=mask[:, j]) for j, name in enumerate(NAMES)})
    return table, X


def both(p: Preparation, table: pa.Table) -> Any:
    frame = table.to_pandas()
    transformer = build_transformer(p)
    got = transformer.transform(frame)
    assert tuple(transformer.get_feature_names_out()) == p.names_out
    np.testing.assert_allclose(
        CompiledPreparation(p).transform(table, np.float64), got, rtol=1e-12, atol=1e-12
    )
    loaded = skops.io.loads(skops.io.dumps(transformer), trusted=list(TRUSTED))
    np.testing.assert_array_equal(loaded.transform(frame), got)
    assert Preparation.from_json(p.to_json()) == p
    return got


def test_filling_by_regression_gives_conditional_means(survey):
    table, X = correlated()
    p = survey(table, numeric={"impute": "regression", "indicator": False})
    frame = table.to_pandas()
    filled = both(p, table) * frame.std(ddof=0).to_numpy() + frame.mean().to_numpy()
    missing = frame.isna().to_numpy()
    np.testing.assert_allclose(filled[~missing], X[~missing], rtol=1e-9)
    # The conditional mean itself, from the same pairwise moments.
    mean = frame.mean().to_numpy()
    pairs = (~missing).astype(float).T @ (~missing)
    covariance = frame.cov().to_numpy() * (pairs - 1) / pairs
    few = 0
    for row, absent in zip(filled, missing, strict=True):
        if absent.sum() == 1:
            seen = ~absent
            slope = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, absent)])
            np.testing.assert_allclose(
                row[absent], mean[absent] + (row[seen] - mean[seen]) @ slope, rtol=1e-5
            )
            few += 1
    assert few > 100


def test_filling_by_regression_is_as_near_as_an_iterative_imputer(survey):
    table, X = correlated()
    p = survey(table, numeric={"impute": "regression", "indicator": False})
    frame = table.to_pandas()
    filled = both(p, table) * frame.std(ddof=0).to_numpy() + frame.mean().to_numpy()
    theirs = IterativeImputer(max_iter=30, tol=1e-4).fit_transform(frame)
    missing = frame.isna().to_numpy()
    error, best, mean = (
        np.sqrt(np.mean((guess - X)[missing] ** 2))
        for guess in (filled, theirs, SimpleImputer().fit_transform(frame))
    )
    assert error < 1.1 * best
    assert error < 0.7 * mean


def test_columns_that_follow_from_each_other_do_no_harm(survey):
    x = np.linspace(0, 1, 60)
    table = pa.table({"a": pa.array(x, mask=x > 0.9), "b": 2 * x, "c": -x})
    got = both(survey(table, numeric={"impute": "regression"}), table)
    assert np.isfinite(got).all()
    assert np.corrcoef(got[:, 0], x)[0, 1] > 0.98


def test_filling_by_regression_refuses_what_it_cannot_do(survey):
    table, _ = correlated(60)
    with pytest.raises(WorkflowError, match=r"prepare.columns.a: .*leave out transform"):
        survey(
            table, columns={"a": {"impute": "regression", "transform": "sqrt"}, "b": {"impute": "regression"}}
        )
    with pytest.raises(WorkflowError, match="no other column to fill from"):
        survey(table, columns={"a": {"impute": "regression"}})


@pytest.mark.parametrize("components", [2, 0.9])
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_principal_components_are_those_of_scikit_learn(survey, components, gaps):
    table, _ = correlated(gaps=gaps)
    p = survey(table, reduce={"method": "pca", "components": components}, numeric={"indicator": False})
    frame = table.to_pandas()
    wanted = make_pipeline(SimpleImputer(), StandardScaler(), PCA(components, svd_solver="full"))
    # Indicators stay beside the components.
    np.testing.assert_allclose(both(p, table), wanted.fit_transform(frame), rtol=1e-8, atol=1e-8)
    ours = build_transformer(p).named_transformers_["recipe_1"].steps[-1][1]
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_", "noise_variance_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(wanted[-1], name), rtol=1e-8)


def test_singular_vectors_are_those_of_scikit_learn(survey):
    table, _ = correlated()
    p = survey(table, reduce={"method": "svd", "components": 2}, numeric={"indicator": False})
    svd = TruncatedSVD(2, algorithm="arpack", random_state=0)
    wanted = make_pipeline(SimpleImputer(), StandardScaler(), svd).fit_transform(table.to_pandas())
    got = both(p, table)
    np.testing.assert_allclose(np.abs(got), np.abs(wanted), rtol=1e-6, atol=1e-6)


def test_some_columns_are_reduced_and_the_others_stay(survey):
    table, _ = correlated()
    p = survey(table, reduce={"method": "random_projection", "components": 2, "columns": ["a", "b", "c"]})
    both(p, table)
    assert [name for name in p.names_out if not name.startswith("gaussian")] == [
        "d", "missingindicator_d", "missingindicator_a", "missingindicator_b", "missingindicator_c"
    ]  # fmt: skip
    with pytest.raises(WorkflowError, match="up to 3"):
        survey(table, reduce={"method": "pca", "components": 4, "columns": ["a", "b", "c"]})


def test_products_are_those_of_scikit_learn(survey):
    table, _ = correlated()
    p = survey(table, interact=[{"columns": ["a", "b", "c"]}], numeric={"indicator": False})
    steps = make_pipeline(SimpleImputer(), StandardScaler(), PolynomialFeatures((2, 2), interaction_only=True, include_bias=False))  # fmt: skip
    wanted = steps.fit_transform(table.to_pandas()[["a", "b", "c"]])
    assert p.names_out == ("a", "b", "c", "d", "a b", "a c", "b c")
    np.testing.assert_allclose(both(p, table)[:, 4:], wanted, rtol=1e-9, atol=1e-9)
    with pytest.raises(WorkflowError, match=r"prepare.interact.0.columns: there is no column 'e'"):
        survey(table, interact=[{"columns": ["a", "e"]}])


def test_hours_go_round(prepare):
    when = pd.date_range("2026-01-01", periods=48, freq="h").astype("datetime64[us]").to_series()
    table = pa.table({"when": pa.array([*when, None], pa.timestamp("us"))})
    p = prepare(table, datetime={"parts": ["hour", "epoch_days"], "cycles": "sin_cos"})
    got = both(p, table)
    assert p.names_out == ("when_epoch_days", "sin__when_hour", "cos__when_hour")
    angle = 2 * np.pi * np.array(when.dt.hour) / 24
    np.testing.assert_allclose(got[:48, 1:], np.stack([np.sin(angle), np.cos(angle)], axis=1), atol=1e-12)
    assert got[48].tolist() == [0, 0, 0]
