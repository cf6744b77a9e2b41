"""Standard errors of linear models are those of the textbook formulas, from the sums that their fit has measured anyway."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression, LogisticRegression

from headrace.accumulators.crossproducts import CrossProducts
from headrace.training.certainty import inverse_of, of_curvature, of_least_squares
from headrace.training.exact import fit_exact

PATH = "sklearn.linear_model.LinearRegression"


def rows(seed: int, n: int = 200, d: int = 4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.array([1.0, 100.0, 0.01, 5.0]) + np.array([0.0, 1e4, 0.0, -3.0])
    return X, X @ np.array([1.0, 0.02, 30.0, 0.0]) + rng.normal(size=n), rng.random(n) + 0.2


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_least_squares_is_as_certain_as_the_formula_says(intercept, weighted):
    X, y, weight = rows(0)
    w = weight if weighted else np.ones(len(y))
    products = CrossProducts.of(np.column_stack([X, y]), weight if weighted else None)
    model = fit_exact(LinearRegression(fit_intercept=intercept), products, path=PATH)
    found = of_least_squares(model, products)
    assert found is not None
    design = np.column_stack([X, np.ones(len(y))]) if intercept else X
    beta = np.linalg.lstsq(design * np.sqrt(w)[:, None], y * np.sqrt(w))[0]
    freedom = len(y) - design.shape[1]
    scale = (w * (y - design @ beta) ** 2).sum() / freedom
    wanted = np.sqrt(scale * np.diag(np.linalg.inv((design * w[:, None]).T @ design)))
    assert found.freedom == freedom
    np.testing.assert_allclose(found.errors[: design.shape[1]], wanted, rtol=1e-6)
    assert np.isnan(found.errors[-1]) != intercept
    np.testing.assert_allclose(found.reach[:4], wanted[:4] * stats.t.ppf(0.975, freedom), rtol=1e-6)


def test_intervals_cover_the_true_coefficient_in_95_of_100_samples():
    covered = 0
    for seed in range(300):
        X, y, _ = rows(seed, 30)
        products = CrossProducts.of(np.column_stack([X, y]))
        model = fit_exact(LinearRegression(), products, path=PATH)
        found = of_least_squares(model, products)
        assert found is not None
        covered += abs(model.coef_[0] - 1.0) <= found.reach[0]
    assert 0.91 < covered / 300 < 0.99


def test_features_that_add_up_to_one_are_not_determined_and_others_are():
    X, y, _ = rows(1)
    member = np.eye(3)[np.arange(len(y)) % 3]
    products = CrossProducts.of(np.column_stack([member, X, y]))
    model = fit_exact(LinearRegression(), products, path=PATH)
    found = of_least_squares(model, products)
    assert found is not None
    assert np.isnan(found.errors[[0, 1, 2, -1]]).all()
    alone = CrossProducts.of(np.column_stack([member[:, 1:], X, y]))
    wanted = of_least_squares(fit_exact(LinearRegression(), alone, path=PATH), alone)
    assert wanted is not None
    assert found.freedom == wanted.freedom
    np.testing.assert_allclose(found.errors[3:7], wanted.errors[2:6], rtol=1e-6)


def test_with_no_more_rows_than_coefficients_nothing_is_certain():
    X, y, _ = rows(2, 5)
    products = CrossProducts.of(np.column_stack([X, y]))
    assert of_least_squares(fit_exact(LinearRegression(), products, path=PATH), products) is None


@pytest.mark.parametrize("intercept", [True, False])
def test_the_hessian_of_the_likelihood_is_inverted(intercept):
    X, y, _ = rows(3)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), y > np.median(y)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000, fit_intercept=intercept).fit(X, y)
    p = model.predict_proba(X)[:, 1]
    design = np.column_stack([X, np.ones(len(y))])
    hessian = (design * (p * (1 - p))[:, None]).T @ design
    found = of_curvature(hessian, intercept=intercept)
    size = 5 if intercept else 4
    wanted = np.sqrt(np.diag(np.linalg.inv(hessian[:size, :size])))
    np.testing.assert_allclose(found.errors[:size], wanted, rtol=1e-9)
    assert found.freedom == np.inf
    np.testing.assert_allclose(found.reach[:4], 1.959964 * wanted[:4], rtol=1e-6)


def test_a_column_of_nothing_is_not_determined():
    inverse, known = inverse_of(np.diag([4.0, 0.0]))
    assert known.tolist() == [True, False]
    assert inverse[0, 0] == pytest.approx(0.25)
