"""Imputing and scaling learnt anew in every fold from one set of products is scikit-learn's pipeline on the fold's rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace.accumulators.crossproducts import CrossProducts
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation, fit_preparation
from headrace.preparation.options import CategoricalOptions, NumericOptions, PrepareOptions
from headrace.profiling.profile import profile_table
from headrace.training.exact import fit_exact
from headrace.training.exact_refit import carried, refit_map

RNG = np.random.default_rng(0)
N, D, K = 4000, 5, 4
RAW = RNG.normal(size=(N, D)) @ RNG.normal(size=(D, D)) + np.linspace(-100, 100, D)
Y = RAW @ RNG.normal(size=D) + RNG.normal(size=N)
RAW[RNG.random(RAW.shape) < [0.0, 0.1, 0.3, 0.0, 0.05]] = np.nan
WORD = np.array(["a", "b", "c", "rare", "rarer"])[RNG.choice(5, N, p=[0.5, 0.3, 0.19, 0.006, 0.004])]
FOLD = RNG.integers(0, K, N)
TABLE = pa.table({f"x{j}": pa.array(RAW[:, j], from_pandas=True) for j in range(D)} | {"word": WORD})
PROFILE = profile_table(TABLE)["all"]
NUMBERS = [f"x{j}" for j in range(D)]


def prepared(table: pa.Table, features: list[str], **numeric: Any) -> Preparation:
    options = PrepareOptions(
        numeric=NumericOptions(clip=None, **numeric), categorical=CategoricalOptions(min_frequency=20)
    )
    return fit_preparation(profile_table(table)["all"], options, features=features)


def products(whole: Preparation, rows: Any) -> CrossProducts:
    table = TABLE.take(pa.array(np.flatnonzero(rows)))
    X: Any = CompiledPreparation(whole).transform(table, np.float64)
    dense = X if isinstance(X, np.ndarray) else X.toarray()
    masks = [table[name].is_null().to_numpy().astype(float) for name in carried(whole, PROFILE)]
    return CrossProducts.of(np.column_stack([dense, *masks, Y[rows]]))


def with_target(found: tuple[Any, Any]) -> tuple[Any, Any]:
    matrix, offset = found
    wider = np.zeros((matrix.shape[0] + 1, matrix.shape[1] + 1))
    wider[:-1, :-1], wider[-1, -1] = matrix, 1.0
    return wider, np.append(offset, 0.0)


@pytest.mark.parametrize("indicator", [False, True])
@pytest.mark.parametrize("fold", range(K))
def test_each_fold_is_the_pipeline_fitted_to_its_rows(fold, indicator):
    train = fold != FOLD
    whole = prepared(TABLE, NUMBERS, indicator=indicator)
    own = prepared(TABLE.take(pa.array(np.flatnonzero(train))), NUMBERS, indicator=indicator)
    found = refit_map(whole, own, carried(whole, PROFILE))
    assert found is not None
    matrix, offset = with_target(found)
    cells = [products(whole, k == FOLD) for k in range(K)]
    learnt = None
    for k in range(K):
        if k != fold:
            learnt = cells[k] if learnt is None else learnt.merge(cells[k])
    assert learnt is not None
    ours: Any = fit_exact(Ridge(alpha=10.0), learnt.mapped(matrix, offset), path="sklearn.linear_model.Ridge")
    theirs = make_pipeline(SimpleImputer(), StandardScaler(), Ridge(alpha=10.0)) if not indicator else None
    if theirs is not None:
        theirs.fit(RAW[train], Y[train])
        names = [name for group in own.layout.groups for name in group.names]
        order = [names.index(name) for name in NUMBERS]
        np.testing.assert_allclose(ours.coef_[order], theirs[-1].coef_, rtol=1e-9)
        assert ours.intercept_ == pytest.approx(theirs[-1].intercept_, rel=1e-9)
    rows = TABLE.take(pa.array(np.flatnonzero(train)))
    X: Any = CompiledPreparation(own).transform(rows, np.float64)
    refitted = Ridge(alpha=10.0).fit(X if isinstance(X, np.ndarray) else X.toarray(), Y[train])
    np.testing.assert_allclose(ours.coef_, refitted.coef_, rtol=1e-8, atol=1e-9)


def test_categories_that_are_rare_in_the_fold_add_up_to_its_rare_one():
    few = np.flatnonzero(RNG.random(N) < 0.6)
    features = [*NUMBERS, "word"]
    whole, own = prepared(TABLE, features), prepared(TABLE.take(pa.array(few)), features)
    labels = [next(plan.labels for plan in p.columns if plan.name == "word") for p in (whole, own)]  # type: ignore[union-attr] # the column is a category
    assert len(labels[1]) < len(labels[0])
    found = refit_map(whole, own, carried(whole, PROFILE))
    assert found is not None
    matrix, offset = found
    X, Z = (CompiledPreparation(p).transform(TABLE, np.float64) for p in (whole, own))
    first, second = (part if isinstance(part, np.ndarray) else part.toarray() for part in (X, Z))
    assert not carried(whole, PROFILE)  # all have indicators
    np.testing.assert_allclose(first @ matrix + offset, second, rtol=1e-9, atol=1e-9)


def test_what_is_made_together_or_by_hashing_is_not_mapped():
    options = PrepareOptions.model_validate({"columns": {"word": {"encode": "hashing"}}})
    whole = fit_preparation(PROFILE, options, features=[*NUMBERS, "word"])
    assert whole.layout.recipes
    assert refit_map(whole, whole, ()) is None


def test_what_does_not_follow_linearly_is_said_to():
    whole = prepared(TABLE, NUMBERS)
    column: Any = whole.columns[0]
    first: Any = replace(column, low=-1.0, high=1.0)
    assert refit_map(whole, Preparation((first, *whole.columns[1:])), ()) is None
    words = prepared(TABLE, ["word"])
    column = words.columns[0]
    more: Any = replace(column, frequent=("a", "other"))
    assert refit_map(words, Preparation((more,)), ()) is None
    assert refit_map(words, words, ()) is not None
