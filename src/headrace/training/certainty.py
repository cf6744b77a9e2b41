"""Standard errors of the coefficients of linear models without a penalty, from what their fit has measured anyway (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    errors : ndarray of float64, shape (features + 1,)
        Standard errors, of the intercept last; NaN of what the rows do not determine, as with one feature for every value of a category.
    freedom : float
        Degrees of freedom of Student's t; infinite for the normal distribution.
    """

    errors: Numbers
    freedom: float

    @property
    def reach(self) -> Numbers:
        """Half the width of the 95 % intervals, shape (features + 1,)."""
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


def of_curvature(curvature: Numbers, *, intercept: bool) -> Certainty:
    """Say how certain a maximum likelihood fit is: by the inverse of the Hessian of the summed losses at the optimum (Wald).

    Parameters
    ----------
    curvature : ndarray, shape (features + 1, features + 1)
        Second derivatives of the negative log likelihood of all rows; the intercept is last.
    intercept : bool
        Whether there is one.
    """
    size = len(curvature) - (not intercept)
    inverse, known = inverse_of(curvature[:size, :size])
    errors = np.full(len(curvature), np.nan)
    errors[:size][known] = np.sqrt(np.diag(inverse)[known])
    return Certainty(errors, np.inf)


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
