"""Which estimators are functions of cross products, and how scikit-learn fits each to a few rows that have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import RunError
from headrace.training.exact_rows import centred_rows, class_rows, regression_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.accumulators.crossproducts import CrossProducts


@dataclass(frozen=True)
class Family:
    """An estimator that is fitted from cross products."""

    task: str
    fit: Callable[[Any, CrossProducts, NDArray[Any]], Any]
    """``fit(estimator, products, classes)`` fits in place and returns the estimator."""
    path: tuple[str, ...] = ()
    """Parameters of which a list means one candidate each: the penalties."""
    refused: Callable[[Any], str] = lambda _estimator: ""
    """Says what of the parameters needs the rows themselves; empty when nothing does."""


def fit_regression(estimator: Any, products: CrossProducts, _classes: NDArray[Any], *, average: bool) -> Any:
    """Fit a penalised least squares estimator to d + 1 rows around the means, then set the intercept."""
    intercept = bool(estimator.fit_intercept)
    X, y = regression_rows(products, intercept=intercept, average=average)
    estimator.set_params(fit_intercept=False).fit(X, y)
    estimator.set_params(fit_intercept=intercept)
    if intercept:
        mean = products.mean[0]
        estimator.intercept_ = float(mean[-1] - mean[:-1] @ estimator.coef_)
    return estimator


def fit_sums(estimator: Any, products: CrossProducts, classes: NDArray[Any]) -> Any:
    """Fit an estimator whose loss is a sum over the rows."""
    return fit_regression(estimator, products, classes, average=False)


def fit_means(estimator: Any, products: CrossProducts, classes: NDArray[Any]) -> Any:
    """Fit an estimator whose loss is a mean over the rows."""
    return fit_regression(estimator, products, classes, average=True)


def principal_components(n_components: int = 2, alpha: float = 0.0) -> Any:
    """Make a regression on principal components: a pipeline of `PCA` and `LinearRegression`, or `Ridge`.

    Parameters
    ----------
    n_components : int
        Components that are kept.
    alpha : float
        Penalty of the ridge regression on them; 0 for least squares.

    Raises
    ------
    ValueError
        When the penalty is negative.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.pipeline import Pipeline

    if alpha < 0:
        raise ValueError(f"alpha is {alpha:g}, and a penalty is not negative")
    model = Ridge(alpha=alpha) if alpha > 0 else LinearRegression()
    return Pipeline([("components", PCA(n_components, svd_solver="full")), ("model", model)])


def fit_components(estimator: Any, products: CrossProducts, classes: NDArray[Any]) -> Any:
    """Fit PCA to 2 d rows that vary as all do, and a regression to the products of the components."""
    (_, reduction), (_, model) = estimator.steps
    d, rows = products.width - 1, int(products.rows[0])
    if reduction.n_components > d:
        raise RunError(f"{reduction.n_components} components of {d} features", where="n_components")
    X = centred_rows(_columns(products, slice(0, d)), (2 * d - 1) / max(rows - 1, 1))
    reduction.fit(X)
    reduction.n_samples_ = rows
    reduction.singular_values_ = np.sqrt(reduction.explained_variance_ * (rows - 1))
    matrix = np.zeros((d + 1, reduction.n_components_ + 1))
    matrix[:d, :-1] = reduction.components_.T
    matrix[d, -1] = 1.0
    offset = np.append(-reduction.mean_ @ reduction.components_.T, 0.0)
    fit_sums(model, products.mapped(matrix, offset), classes)
    return estimator


def fit_discriminant(estimator: Any, products: CrossProducts, classes: NDArray[Any]) -> Any:
    """Fit linear discriminants to a few rows with the means of the classes and the scatter within them."""
    weight, k = products.weight, products.groups
    _require_classes(weight, classes)
    d, n = products.width, float(weight.sum())
    few = 2 * d + 2 * (k - 1)
    priors = estimator.priors
    shares = weight / n if priors is None else np.asarray(priors, np.float64)
    if estimator.solver == "svd":
        less = k if _divides_by_rows_less_classes() else 0
        scatter = (few - less) / max(n - less, 1.0)
    else:
        scatter = 2 * d / n / shares[0]  # the mean covariance of the classes, all of which is in the first
    X, codes = class_rows(products, scatter)
    estimator.set_params(priors=shares).fit(X, classes[codes])
    return estimator.set_params(priors=priors)


@cache
def _divides_by_rows_less_classes() -> bool:
    """Tell by which number this scikit-learn divides the scatter within classes: its versions differ."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    model = LinearDiscriminantAnalysis().fit(np.array([[-1.0], [1.0], [2.0], [4.0]]), [0, 0, 1, 1])
    return float(model.coef_[0, 0]) < 2.0  # a distance of 3 over a variance of 4 / 2, or of 4 / 4


def discriminant_refuses(estimator: Any) -> str:
    """Say what of linear discriminants needs more than pooled products."""
    if estimator.solver == "eigen":
        return "solver: eigen needs the rows themselves; take solver: svd"
    if estimator.covariance_estimator is not None or isinstance(estimator.shrinkage, str):
        return "an estimated shrinkage needs the rows themselves; give shrinkage a number"
    if estimator.solver != "svd" and estimator.priors is not None:
        return "with priors the covariance of each class is needed; take solver: svd"
    return ""


def fit_bayes(estimator: Any, products: CrossProducts, classes: NDArray[Any]) -> Any:
    """Fit Gaussian naive Bayes to two rows a class, one standard deviation to either side of its mean."""
    weight = products.weight
    _require_classes(weight, classes)
    spread = np.sqrt(products.squares / weight[:, None])
    X = np.concatenate([products.mean + spread, products.mean - spread])
    # What it adds to the variances is a share of the largest of all rows, which these few rows do not show.
    total = products.total()
    wanted = estimator.var_smoothing * float(total.squares.max()) / float(weight.sum())
    shown = float(np.var(X, axis=0).max())
    smoothing = estimator.var_smoothing
    estimator.set_params(var_smoothing=wanted / shown if shown > 0 else smoothing)
    estimator.fit(X, np.tile(classes, 2), sample_weight=np.tile(weight / 2, 2))
    return estimator.set_params(var_smoothing=smoothing)


def _columns(products: CrossProducts, columns: slice) -> CrossProducts:
    return replace(
        products,
        mean=products.mean[:, columns],
        squares=products.squares[:, columns],
        products=products.products[columns, columns],
    )


def _require_classes(weight: NDArray[np.float64], classes: NDArray[Any]) -> None:
    empty = [str(label) for label, held in zip(classes, weight, strict=True) if held <= 0]
    if empty:
        raise RunError(f"class {empty[0]} has no training row", mend="take fewer folds, or stratify them")


FAMILIES: dict[str, Family] = {
    "sklearn.linear_model.LinearRegression": Family("regression", fit_sums),
    "sklearn.linear_model.Ridge": Family("regression", fit_sums, ("alpha",)),
    "sklearn.linear_model.Lasso": Family("regression", fit_means, ("alpha",)),
    "sklearn.linear_model.ElasticNet": Family("regression", fit_means, ("alpha", "l1_ratio")),
    "headrace.training.exact_families.principal_components": Family(
        "regression", fit_components, ("n_components", "alpha")
    ),
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": Family(
        "classification", fit_discriminant, ("shrinkage",), discriminant_refuses
    ),
    "sklearn.naive_bayes.GaussianNB": Family("classification", fit_bayes, ("var_smoothing",)),
}
"""By import path."""
