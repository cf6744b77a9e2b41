"""Numbers prepared together: filled from each other, multiplied, or reduced, from the cross products of the training rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DataError, WorkflowError
from headrace.preparation.curves import named
from headrace.preparation.numeric import filled_moments, fit_numeric
from headrace.preparation.options import NumericOptions
from headrace.preparation.recipes import RecipePlan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.accumulators.gram import Gram
    from headrace.preparation.options import InteractOptions, ReduceOptions
    from headrace.profiling.profile import ColumnProfile

ROUNDS = 10
"""Rounds of regressions: each brings the filled values nearer to the conditional mean."""
RIDGE = 1e-6
"""Smallest eigenvalue that a correlation matrix may have, so that columns which follow from each other do no harm."""


def fit_regression_imputer(columns: Sequence[ColumnProfile], gram: Gram) -> RecipePlan:
    """Fill numbers with their conditional means given the others, and scale to mean 0 and deviation 1 of what is present.

    Mean and covariance come from the pairs of rows that hold both columns (available cases; Little and Rubin, section 3.4), made
    positive definite in the correlations; unbiased where values are missing at random with the others. See
    `headrace.preparation.steps` for how a transformer of scikit-learn holds it.

    Parameters
    ----------
    columns : sequence of ColumnProfile
        At least two.
    gram : Gram
        Holding them.
    """
    if len(columns) < 2:
        raise WorkflowError(
            "there is no other column to fill from",
            where=f"prepare.columns.{columns[0].name}.impute",
            mend="say impute: regression of two numbers or more, or fill with the mean",
        )
    at = [gram.names.index(column.name) for column in columns]
    mean = np.diag(gram.mean)[at]
    deviation = np.sqrt(np.diag(gram.covariance(0))[at])
    deviation = np.where(deviation > 0, deviation, 1.0)
    correlation = np.nan_to_num(gram.covariance(0)[np.ix_(at, at)] / np.outer(deviation, deviation))
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    inverse = (vectors / np.maximum(values, RIDGE)) @ vectors.T
    slopes = -inverse / np.diag(inverse)[:, None]
    np.fill_diagonal(slopes, 0.0)
    slopes = slopes * deviation[:, None] / deviation[None, :]
    learnt = {"mean": mean.tolist(), "slopes": slopes.tolist(), "rounds": ROUNDS}
    names = tuple(column.name for column in columns)
    steps = (
        Step("fill_by_regression", learnt, f"from {len(names) - 1} other columns, pairs of rows"),
        Step("scale", {"center": mean.tolist(), "spread": deviation.tolist()}, "scale (standard)"),
    )
    return named(RecipePlan("filled by regression", "numeric", names, steps, (), len(names)))


def fit_interactions(
    columns: Mapping[str, ColumnProfile], options: InteractOptions, number: int
) -> RecipePlan:
    """Make products of numbers, filled with their means, bounded where they have heavy tails and scaled before."""
    plans = [
        fit_numeric(columns[name], NumericOptions(impute="mean", scale="standard"))
        for name in options.columns
    ]
    steps = [Step("fill", {"values": [plan.fill for plan in plans]})]
    if any(plan.low is not None for plan in plans):
        largest = float(np.finfo(float).max)
        low = [-largest if plan.low is None else plan.low for plan in plans]
        high = [largest if plan.high is None else plan.high for plan in plans]
        steps.append(Step("clip", {"low": low, "high": high}))
    scale = {"center": [plan.center for plan in plans], "spread": [plan.spread for plan in plans]}
    learnt = {"degree": [2, options.degree], "interaction_only": not options.powers}
    steps += [Step("scale", scale), Step("polynomial", learnt, f"products of {options.degree} at most")]
    return named(RecipePlan(f"products {number}", "numeric", options.columns, tuple(steps), (), 1))


def filled_covariance(gram: Gram, at: Sequence[int], rows: int) -> NDArray[np.float64]:
    r"""Covariance (divided by rows) of columns whose missing values are filled with their means; exact.

    A filled value is at distance 0 from its mean, so that over the rows that hold both
    :math:`S_{ij} = C_{ij} + n_{ij} (\mu_{ij} - \mu_i)(\mu_{ji} - \mu_j)`, with :math:`\mu_i` over all rows of column i.

    Parameters
    ----------
    gram : Gram
    at : sequence of int, length d
        Places of the columns.
    rows : int
        Rows in all.

    Returns
    -------
    ndarray, shape (d, d)
    """
    pairs = np.ix_(at, at)
    mean = np.diag(gram.mean)[list(at)]
    shift = gram.mean[pairs] - mean[:, None]
    return np.asarray((gram.products[pairs] + gram.n[pairs] * shift * shift.T) / max(1, rows))


def fit_reduction(
    columns: Sequence[ColumnProfile], options: ReduceOptions, gram: Gram | None, rows: int, seed: int = 0
) -> RecipePlan:
    """Learn principal components, singular vectors or random directions of filled and scaled numbers; no pass beside that of the profile.

    Parameters
    ----------
    columns : sequence of ColumnProfile
        At least two.
    options : ReduceOptions
    gram : Gram or None
        Of the training rows; None for random directions.
    rows : int
        Training rows.
    seed : int
        Of random directions.
    """
    names = tuple(column.name for column in columns)
    if len(names) < 2:
        raise WorkflowError(
            f"there are {len(names)} numbers to reduce",
            where="prepare.reduce",
            mend="name two or more in prepare.reduce.columns, or leave reduce out",
        )
    center, spread = [], []
    for column in columns:
        summary = column.overall
        if summary.pos_infs or summary.neg_infs:
            raise DataError(
                "holds infinite values", where=f"column {column.name!r}", mend="drop it (prepare.columns)"
            )
        assert summary.moments is not None
        mean, deviation = filled_moments(summary.moments, summary.moments.mean, summary.missing)
        center.append(mean)
        spread.append(deviation if deviation > 0 else 1.0)
    steps = [
        Step("fill", {"values": center}, "fill (mean)"),
        Step("scale", {"center": center, "spread": spread}, "scale (standard)"),
    ]
    wanted = options.components
    if isinstance(wanted, int) and wanted > len(names):
        raise WorkflowError(
            f"there are {len(names)} numbers, and {wanted} features cannot be fewer",
            where="prepare.reduce.components",
            mend=f"name a number up to {len(names)}",
        )
    if options.method == "random_projection":
        learnt: dict[str, Any] = {"components": wanted, "seed": seed}
        told = f"{wanted} directions"
    else:
        assert gram is not None
        at = [gram.names.index(name) for name in names]
        scale = np.array(spread)
        covariance = filled_covariance(gram, at, rows) / np.outer(scale, scale)
        learnt = _components(covariance, wanted, rows, svd=options.method == "svd")
        told = f"{len(learnt['components'])} of {len(names)}, {sum(learnt['ratio']):.1%} of the variance"
    steps.append(Step(options.method, learnt, told))
    return named(RecipePlan("reduced", "numeric", names, tuple(steps), (), 1))


def _components(covariance: NDArray[np.float64], wanted: float, rows: int, *, svd: bool) -> dict[str, Any]:
    """Eigenvectors in descending order, the largest entry of each positive, as scikit-learn turns them.

    Scaled columns have mean 0, so that singular vectors of their values are those of their covariance.
    """
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
    signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)])
    vectors = vectors * signs[:, None]
    ratio = values / max(float(values.sum()), math.ulp(0.0))
    count = int(wanted)
    if isinstance(wanted, float):
        count = min(len(values), int(np.searchsorted(np.cumsum(ratio), wanted, side="right")) + 1)
    unbiased = values * rows / max(1, rows - 1)
    shown = {"components": vectors[:count].tolist(), "ratio": ratio[:count].tolist()}
    if svd:
        singular = np.sqrt(values * rows)[:count].tolist()
        return {**shown, "variance": values[:count].tolist(), "singular": singular}
    noise = float(unbiased[count:].mean()) if count < len(values) else 0.0
    return {
        **shown,
        "mean": [0.0] * len(values),
        "variance": unbiased[:count].tolist(),
        "rows": rows,
        "noise": noise,
    }
