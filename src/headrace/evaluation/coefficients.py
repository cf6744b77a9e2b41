"""Coefficients of linear models on prepared features, with intervals where their fit has a known distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.training.dask_models import DASK_MODELS
from headrace.training.exact import linear_terms
from headrace.training.exact_families import FAMILIES
from headrace.training.generalised_losses import MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.evaluation.asked import Asked
    from headrace.training.certainty import Certainty

HOW = {
    "likelihood": "from the Hessian of the likelihood at its maximum (Wald)",
    "dispersion": "from the Hessian of the likelihood at its maximum and Pearson's estimate of the dispersion (Wald)",
    "scores": "from the curvature of the smoothed loss at its minimum and how the scores of the rows scatter (sandwich)",
}
"""What `Certainty.how` means."""

MOST = 1_000
"""Coefficients that are told."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of one feature.

    Attributes
    ----------
    feature, column : str
        The prepared feature, and what it is made of.
    output : str
        The class or target whose raw prediction it adds to.
    value : float
    low, high : float or None
        The 95 % interval; None without one.
    effect : float
        Standard deviation of what it adds over the test rows: by it features of different scale compare.
    """

    feature: str
    column: str
    output: str
    value: float
    low: float | None
    high: float | None
    effect: float


@dataclass(frozen=True)
class Coefficients:
    """A linear model.

    Attributes
    ----------
    intercept : tuple of float
        By output.
    features : tuple of Coefficient
        Those of the largest effect first.
    left_out : int
        Coefficients of smaller effect that are not told.
    interval : str
        How the intervals are made; empty without any.
    why : str
        Why there are none, or none of some.
    """

    intercept: tuple[float, ...]
    features: tuple[Coefficient, ...]
    left_out: int
    interval: str
    why: str


def coefficients(
    asked: Asked, path: str, names: Sequence[str], origins: Sequence[str], certainty: Certainty | None
) -> Coefficients | None:
    """List the coefficients of a linear model.

    Parameters
    ----------
    asked : Asked
        The model, and test rows that say how far its features vary.
    path : str
        Import path of the estimator.
    names, origins : sequence of str, length features
        Of each feature its name and its column.
    certainty : Certainty, optional
        Of the fit.

    Returns
    -------
    Coefficients or None
        None when the model is not linear in the features.
    """
    terms = _terms(asked.estimator)
    if terms is None:
        return None
    values, intercept = terms  # (outputs, features)
    effects = np.abs(values) * _spread(asked)
    reach = np.full(values.shape, np.nan)
    if certainty is not None:
        reach[:] = certainty.reach[..., :-1]
    outputs = asked.names if len(asked.names) == len(values) else asked.names[:1]
    order = np.argsort(-effects, axis=None, kind="stable")
    told = []
    for at in order[:MOST]:
        output, place = (int(index) for index in np.unravel_index(at, values.shape))
        value, half = float(values[output, place]), float(reach[output, place])
        low, high = (None, None) if np.isnan(half) else (value - half, value + half)
        told.append(
            Coefficient(
                names[place], origins[place], outputs[output], value, low, high,
                float(effects[output, place]),
            )
        )  # fmt: skip
    return Coefficients(
        tuple(float(each) for each in intercept),
        tuple(told),
        max(0, len(order) - MOST),
        _how(certainty),
        why_not(asked.estimator, path, certainty),
    )


def _terms(estimator: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return coefficients, shape (outputs, features), and intercepts; None of a model that is not linear in the features."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        if not isinstance(estimator.steps[0][1], PCA):
            return None
        values, intercept = linear_terms(estimator)
        return values[None, :], np.array([intercept])
    if not hasattr(estimator, "coef_") or type(estimator).__module__.startswith("xgboost"):
        return None
    return np.atleast_2d(np.asarray(estimator.coef_, np.float64)), np.atleast_1d(estimator.intercept_)


def _spread(asked: Asked) -> NDArray[np.float64]:
    """Return the standard deviation of each feature over the rows, shape (features,)."""
    X = asked.features(asked.table)
    if isinstance(X, np.ndarray):
        return np.asarray(X.std(axis=0))
    mean = np.asarray(X.mean(axis=0)).ravel()
    square = np.asarray(X.multiply(X).mean(axis=0)).ravel()
    return np.asarray(np.sqrt(np.maximum(square - mean**2, 0.0)))


def _how(certainty: Certainty | None) -> str:
    if certainty is None:
        return ""
    if np.isinf(certainty.freedom):
        return f"95 %, {HOW[certainty.how]}"
    return f"95 %, by Student's t with {certainty.freedom:,.0f} degrees of freedom"


def why_not(estimator: Any, path: str, certainty: Certainty | None) -> str:
    """Say why there are no intervals, or none of some coefficients; empty when every one has its own."""
    if certainty is not None:
        if not np.isnan(certainty.errors[..., :-1]).any():
            return ""
        return (
            "Features that add up to the same in every row, as those of all values of a category do, have no interval: the "
            "rows determine their differences alone."
        )
    name = type(estimator).__name__
    if path in DASK_MODELS:
        return f"No intervals: dask-ml ends near the minimum and tells no curvature; {path.rpartition('.')[2]} of scikit-learn has them."
    if path not in FAMILIES and path not in MODELS:
        return f"No intervals: {name} was fitted by steps on the stream, which end near the minimum and not at it."
    penalty = path in MODELS and MODELS[path].penalty(estimator)[0] > 0
    if penalty or getattr(estimator, "alpha", None) or getattr(estimator, "shrinkage", None):
        return f"No intervals: the penalty of {name} pulls coefficients to zero, and intervals around them would miss too often."
    if path in MODELS:
        return f"No intervals: they are known of a {name} of rows without weights that has converged."
    return f"No intervals: no simple distribution of the coefficients of {name} is known."
