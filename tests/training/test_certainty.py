"""Standard errors of linear models are those of the textbook formulas, from the sums that their fit has measured anyway."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import GammaRegressor, LinearRegression, LogisticRegression

from headrace.accumulators.crossproducts import CrossProducts
from headrace.training.certainty import inverse_of, of_curvature, of_dispersion, of_least_squares, of_scores
from headrace.training.exact import fit_exact
from headrace.training.generalised_losses import Gamma, Quantile, bandwidth

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


def summed(loss: Any, X: Any, y: Any, coefficients: Any, intercept: Any) -> tuple[Any, Any]:
    """Sum second derivatives, and squared first ones, as a pass over the rows does."""
    ones = np.column_stack([X, np.ones(len(y))])
    raw = (X @ np.atleast_2d(coefficients).T + intercept)[:, None, :]
    _, first, second = loss.slopes(raw, y)
    hessian = (ones * second[:, 0]).T @ ones
    return hessian, (ones * first[:, 0] ** 2).T @ ones


def test_coefficients_of_classes_are_as_certain_as_the_contrasts_that_determine_them():
    X, value, _ = rows(4, 400)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = np.digitize(value, np.quantile(value, [0.3, 0.6])) + (np.arange(400) % 7 == 0)
    classes, width = 4, 5
    y = np.minimum(y, classes - 1)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(X, y)
    design, p = np.column_stack([X, np.ones(len(y))]), model.predict_proba(X)
    hessian = np.zeros((width * classes, width * classes))
    for k in range(classes):
        for m in range(classes):
            bend = p[:, k] * ((k == m) - p[:, m])
            hessian[k::classes, m::classes] = (design * bend[:, None]).T @ design
    ties = hessian + np.kron(np.eye(width), np.ones((classes, classes)))
    found = of_curvature(ties, intercept=True, outputs=classes)
    assert found.errors.shape == (classes, width)
    # As the others follow from the first: the last class as reference, then what adds up to zero.
    free = [j * classes + k for j in range(width) for k in range(classes - 1)]
    covariance = np.linalg.inv(hessian[np.ix_(free, free)])
    centred = (np.eye(classes) - 1 / classes)[:, : classes - 1]
    wanted = np.sqrt(
        np.diag(np.kron(np.eye(width), centred) @ covariance @ np.kron(np.eye(width), centred).T)
    )
    np.testing.assert_allclose(found.errors, wanted.reshape(width, classes).T, rtol=1e-6)
    # The constant of the likelihood does not matter: the difference to the reference has the usual error.
    without = of_curvature(ties, intercept=False, outputs=classes)
    assert np.isnan(without.errors[:, -1]).all()


def test_of_classes_a_feature_that_is_not_determined_is_so_in_all():
    hessian: Any = np.kron(np.diag([3.0, 0.0, 2.0]), np.eye(3) - 1 / 3)
    found = of_curvature(hessian, intercept=True, outputs=3)
    assert np.isnan(found.errors[:, 1]).all()
    np.testing.assert_allclose(found.errors[:, [0, 2]], np.sqrt(2 / 3 / np.array([[3.0, 2.0]] * 3)))


def test_gamma_regression_is_scaled_by_its_dispersion():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(3000, 3))
    y = rng.gamma(4.0, np.exp(X @ np.array([0.3, -0.2, 0.0]) + 1) / 4)
    model = GammaRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(X, y)
    mean, design = model.predict(X), np.column_stack([X, np.ones(len(y))])
    found = of_dispersion(*summed(Gamma(), X, y, model.coef_, model.intercept_), len(y), intercept=True)
    dispersion = ((y / mean - 1) ** 2).sum() / (len(y) - 4)
    assert dispersion == pytest.approx(0.25, rel=0.1)
    observed = (design * (y / mean)[:, None]).T @ design
    np.testing.assert_allclose(
        found.errors, np.sqrt(dispersion * np.diag(np.linalg.inv(observed))), rtol=1e-9
    )
    # What is observed is near what is expected, by which the textbook has it.
    expected = np.sqrt(dispersion * np.diag(np.linalg.inv(design.T @ design)))
    np.testing.assert_allclose(found.errors, expected, rtol=0.05)
    assert found.how == "dispersion"


@pytest.mark.parametrize("quantile", [0.5, 0.8])
def test_quantiles_are_as_certain_as_the_density_at_them_says(quantile):
    rng = np.random.default_rng(6)
    n = 20_000
    X = rng.normal(size=(n, 2))
    noise = rng.normal(size=n)
    y = X @ np.array([1.0, -1.0]) + noise
    at = stats.norm.ppf(quantile)
    loss = Quantile(quantile, 4 * bandwidth(n, 2, 1.0))
    found = of_scores(*summed(loss, X, y, np.array([1.0, -1.0]), at), intercept=True)
    design = np.column_stack([X, np.ones(n)])
    scale = quantile * (1 - quantile) / stats.norm.pdf(at) ** 2  # Koenker and Bassett (1978)
    np.testing.assert_allclose(
        found.errors, np.sqrt(scale * np.diag(np.linalg.inv(design.T @ design))), rtol=0.1
    )
    assert found.how == "scores"
    assert np.isnan(of_scores(np.eye(3), np.eye(3), intercept=False).errors).tolist() == [False, False, True]


def test_a_column_of_nothing_is_not_determined():
    inverse, known = inverse_of(np.diag([4.0, 0.0]))
    assert known.tolist() == [True, False]
    assert inverse[0, 0] == pytest.approx(0.25)
