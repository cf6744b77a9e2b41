"""Standard errors of the coefficients of linear models without a penalty, from sums over the rows at their fit (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.accumulators.crossproducts import CrossProducts

    Numbers = NDArray[np.float64]

_LEVEL = 1e-9
"""Share of the largest eigenvalue of a correlation matrix below which a direction is not determined by the rows."""


@dataclass(frozen=True)
class Certainty:
    """How well the coefficients of a model are determined by the rows that it was fitted to.

    Attributes
    ----------
    errors : ndarray of float64, shape (features + 1,) or (classes, features + 1)
        Standard errors, of the intercept last, by class when there are more than two; NaN of what the rows do not determine, as with one feature for every value of a category.
    freedom : float
        Degrees of freedom of Student's t; infinite for the normal distribution.
    how : {"likelihood", "dispersion", "scores"}
        What the errors follow from: the curvature of the loss at its minimum alone, that times a dispersion, or that and how the
        scores of the rows scatter. Of least squares this is no question.
    """

    errors: Numbers
    freedom: float
    how: Literal["likelihood", "dispersion", "scores"] = "likelihood"

    @property
    def reach(self) -> Numbers:
        """Half the width of the 95 % intervals, as `errors`."""
        from scipy import stats

        return self.errors * float(stats.t.ppf(0.975, self.freedom))


def of_least_squares(estimator: Any, products: CrossProducts) -> Certainty | None:
    r"""Say how certain least squares is: :math:`s^2 (X^T W X)^{-1}` with :math:`s^2 = \sum w r^2 / (n - p)`, exact for normal errors.

    Weights are taken as inverse variances.

    Parameters
    ----------
    estimator : LinearRegression
        Fitted from these products.
    products : CrossProducts
        Of the features and, last, the target.

    Returns
    -------
    Certainty or None
        None when there are no more rows than coefficients.
    """
    d, weight, mean = products.width - 1, float(products.weight[0]), products.mean[0]
    intercept = bool(estimator.fit_intercept)
    matrix = products.products if intercept else products.products + weight * np.outer(mean, mean)
    inverse, known = inverse_of(matrix[:d, :d])
    freedom = int(products.rows[0]) - round(np.trace(inverse @ matrix[:d, :d])) - intercept
    if freedom <= 0:
        return None
    v = np.append(np.ravel(estimator.coef_), -1.0)
    scale = max(float(v @ matrix @ v), 0.0) / freedom
    errors = np.full(d + 1, np.nan)
    errors[:d][known] = np.sqrt(scale * np.diag(inverse)[known])
    if intercept and known.all():
        errors[d] = np.sqrt(scale * (1 / weight + mean[:d] @ inverse @ mean[:d]))
    return Certainty(errors, float(freedom))


def of_curvature(curvature: Numbers, *, intercept: bool, outputs: int = 1) -> Certainty:
    """Say how certain a maximum likelihood fit is: by the inverse of the Hessian of the summed losses at the optimum (Wald).

    Of several classes the rows determine coefficients up to what is added to those of all classes alike. Those that add up
    to zero over the classes, as scikit-learn's do without a penalty, are as certain as the contrasts that they are made of.

    Parameters
    ----------
    curvature : ndarray, shape ((features + 1) * outputs, (features + 1) * outputs)
        Second derivatives of the negative log likelihood of all rows; the intercept is last, outputs are neighbours.
    intercept : bool
        Whether there is one.
    outputs : int
        Classes of more than two, else 1.
    """
    width = len(curvature) // outputs
    size = width - (not intercept)
    matrix = curvature[: size * outputs, : size * outputs]
    errors = np.full((outputs, width), np.nan)
    contrasts = np.eye(1) if outputs == 1 else _contrasts(outputs)
    over = np.kron(np.eye(size), contrasts)
    inverse, known = inverse_of(over.T @ matrix @ over)
    found = np.einsum("ij,jk,ik->i", over, inverse, over, optimize=True).reshape(size, outputs)
    sure = known.reshape(size, -1).all(axis=1)
    errors[:, :size][:, sure] = np.sqrt(found[sure]).T
    return Certainty(errors[0] if outputs == 1 else errors, np.inf)


def of_dispersion(curvature: Numbers, scatter: Numbers, rows: float, *, intercept: bool) -> Certainty:
    r"""Say how certain a gamma regression is: by the inverse of its Hessian times the dispersion.

    The dispersion is Pearson's, :math:`\sum (1 - y/\mu)^2 / (n - p)` (McCullagh and Nelder 1989, 8.3.6).

    Parameters
    ----------
    curvature : ndarray, shape (features + 1, features + 1)
        Second derivatives of the summed half deviances.
    scatter : ndarray, shape (features + 1, features + 1)
        Sum of the squares of :math:`1 - y/\mu`, times the products of the features; ones are last.
    rows : float
        n.
    intercept : bool
        Whether there is one.
    """
    size = len(curvature) - (not intercept)
    inverse, known = inverse_of(curvature[:size, :size])
    rank = round(np.trace(inverse @ curvature[:size, :size]))
    dispersion = scatter[-1, -1] / max(rows - rank, 1.0)
    return Certainty(_errors(dispersion * inverse, known, len(curvature)), np.inf, "dispersion")


def of_scores(curvature: Numbers, scatter: Numbers, *, intercept: bool) -> Certainty:
    """Say how certain the minimum of a loss is that is no likelihood: :math:`H^{-1} S H^{-1}` (Huber 1967).

    Of quantiles H is the kernel estimate of the density of the residuals at zero that their smoothed loss makes
    (Powell 1991; Fernandes, Guerre and Horta 2021).

    Parameters
    ----------
    curvature : ndarray, shape (features + 1, features + 1)
        H: second derivatives of the summed losses.
    scatter : ndarray, shape (features + 1, features + 1)
        S: sum of the squares of the first derivatives, times the products of the features.
    intercept : bool
        Whether there is one.
    """
    size = len(curvature) - (not intercept)
    inverse, known = inverse_of(curvature[:size, :size])
    covariance = inverse @ scatter[:size, :size] @ inverse
    return Certainty(_errors(covariance, known, len(curvature)), np.inf, "scores")


def _errors(covariance: Numbers, known: NDArray[np.bool_], size: int) -> Numbers:
    errors = np.full(size, np.nan)
    errors[: len(known)][known] = np.sqrt(np.diag(covariance)[known])
    return errors


def _contrasts(outputs: int) -> Numbers:
    """Return an orthonormal basis of what adds up to zero, shape (outputs, outputs - 1)."""
    from scipy import linalg

    return np.asarray(linalg.null_space(np.ones((1, outputs))))


def inverse_of(matrix: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """Invert a symmetric matrix without negative eigenvalues as far as it can be.

    Returns
    -------
    inverse : ndarray, shape (d, d)
        The generalised inverse, of columns brought to one scale.
    known : ndarray of bool, shape (d,)
        Coefficients that are determined: no direction in which the matrix is level moves them.
    """
    from scipy import linalg

    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    over = np.where(scale > 0, scale, 1.0)
    values, vectors = linalg.eigh(matrix / over[:, None] / over[None, :], check_finite=False)
    steep = values > _LEVEL * max(values.max(initial=0.0), np.finfo(float).tiny)
    used = vectors[:, steep]
    inverse = (used / values[steep]) @ used.T / over[:, None] / over[None, :]
    return inverse, (vectors[:, ~steep] ** 2).sum(axis=1) < np.sqrt(_LEVEL)
