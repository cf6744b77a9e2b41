"""A few rows with the same cross products as millions: scikit-learn's own fit on them is the fit on all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.accumulators.crossproducts import CrossProducts

    Numbers = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_PIVOT = 1e-6
"""Pivots of a correlation matrix below this ask for its eigenvalues, which tell rounding from rank."""


def root(matrix: Numbers) -> Numbers:
    r"""Return R with :math:`R^T R` equal to a symmetric matrix without negative eigenvalues, shape (d, d).

    Columns are brought to one scale first, so that units do not decide about the rank. By Cholesky where the
    columns are far from dependent; else from eigenvalues, of which those within rounding of zero are zero: a column that
    is a sum of others is exactly one in the rows as well, and scikit-learn finds the rank.

    Parameters
    ----------
    matrix : ndarray of float64, shape (d, d)
    """
    from scipy import linalg

    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    over = np.where(scale > 0, scale, 1.0)
    even = matrix / over[:, None] / over[None, :]
    try:
        found = linalg.cholesky(even, check_finite=False)
        if np.diag(found).min(initial=1.0) > np.sqrt(_PIVOT):
            return np.asarray(found * scale)
    except linalg.LinAlgError:
        pass
    values, vectors = linalg.eigh(even, check_finite=False)
    # Of centred sums each entry is right to a few eps, and an eigenvalue to d times that.
    values[values < 10 * len(values) * _EPS * max(values.max(initial=0.0), 1.0)] = 0.0
    return np.asarray((np.sqrt(values)[:, None] * vectors.T) * scale)


def regression_rows(products: CrossProducts, *, intercept: bool, average: bool) -> tuple[Numbers, Numbers]:
    """Make d + 1 rows of features and target with the cross products of all rows.

    Parameters
    ----------
    products : CrossProducts
        Of d features and, last, the target; one group.
    intercept : bool
        Around the means, for a fit whose intercept is set afterwards; else around zero.
    average : bool
        With the mean product of all rows, for objectives that divide by the rows, instead of the sum.

    Returns
    -------
    X : ndarray, shape (d + 1, d)
    y : ndarray, shape (d + 1,)
    """
    matrix, weight = products.products, float(products.weight[0])
    if not intercept:
        matrix = matrix + weight * np.outer(products.mean[0], products.mean[0])
    rows = root(matrix)
    if average:
        rows *= np.sqrt(len(rows) / weight)
    return rows[:, :-1], rows[:, -1]


def centred_rows(products: CrossProducts, scatter: float) -> Numbers:
    """Make 2 d rows with the mean of all rows and `scatter` times their products around it.

    Parameters
    ----------
    products : CrossProducts
        Of d columns, one group.
    scatter : float
        What the sum of products is multiplied by.
    """
    away = root(products.products) * np.sqrt(scatter / 2)
    return np.concatenate([products.mean[0] + away, products.mean[0] - away])


def class_rows(products: CrossProducts, scatter: float) -> tuple[Numbers, NDArray[np.intp]]:
    """Make rows with the mean of each class, and `scatter` times the products within classes.

    The first class holds all scatter, which does not matter to what pools it; every other has its mean, twice.

    Parameters
    ----------
    products : CrossProducts
        Of d columns, a group for each class.
    scatter : float
        What the pooled products are multiplied by.

    Returns
    -------
    X : ndarray, shape (2 d + 2 (K - 1), d)
    codes : ndarray of int, shape (rows,)
    """
    away = root(products.products) * np.sqrt(scatter / 2)
    first, others = products.mean[0], np.repeat(products.mean[1:], 2, axis=0)
    X = np.concatenate([first + away, first - away, others])
    codes = np.concatenate([np.zeros(2 * len(away), np.intp), np.repeat(np.arange(1, products.groups), 2)])
    return X, codes
