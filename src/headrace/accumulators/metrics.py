"""What a metric is: its estimate with interval and error, its direction, and what a success criterion asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

HIGHER_IS_BETTER: Mapping[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "precision_macro": True,
    "recall_macro": True,
    "f1_macro": True,
    "precision_weighted": True,
    "recall_weighted": True,
    "f1_weighted": True,
    "precision_micro": True,
    "recall_micro": True,
    "f1_micro": True,
    "roc_auc": True,
    "roc_auc_ovr": True,
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "calibration_error": False,
    "mse": False,
    "rmse": False,
    "mae": False,
    "median_absolute_error": False,
    "r2": True,
    "explained_variance": True,
    "silhouette": True,
    "inertia": False,
}
"""Metric to its direction; ``mean_error`` is best at 0 and is in no such order."""

PRIMARY: Mapping[str, str] = {
    "classification": "roc_auc",
    "multiclass": "log_loss",
    "regression": "rmse",
    "clustering": "silhouette",
}
"""Task to the metric that decides; ``multiclass`` is classification with more than two classes."""

UNIT_METRICS = frozenset(
    name for name in HIGHER_IS_BETTER if name.startswith(("accuracy", "precision", "recall", "f1", "roc_auc"))
) | {"balanced_accuracy", "average_precision", "brier", "calibration_error"}
"""Metrics that lie between 0 and 1."""


def primary_metric(task: str, classes: int = 2) -> str:
    """Name the metric that decides for a task.

    Parameters
    ----------
    task : str
        ``classification``, ``regression`` or ``clustering``.
    classes : int
        The number of classes of a classification.

    Returns
    -------
    str
        A name of `HIGHER_IS_BETTER`.

    Examples
    --------
    >>> primary_metric("classification"), primary_metric("classification", 3)
    ('roc_auc', 'log_loss')
    """
    return PRIMARY["multiclass" if task == "classification" and classes > 2 else task]


def meets(
    metric: str, value: float | None, *, at_least: float | None = None, at_most: float | None = None
) -> bool:
    """Say whether a metric meets a success criterion.

    Parameters
    ----------
    metric : str
        A name of `HIGHER_IS_BETTER`, or ``mean_error``.
    value : float or None
        What was measured; None (undefined) meets nothing.
    at_least, at_most : float, optional
        Inclusive limits; at least one must be given.

    Returns
    -------
    bool
        True when `value` is within every limit given.

    Raises
    ------
    InputError
        The metric is unknown, or no limit is given.

    Examples
    --------
    >>> meets("roc_auc", 0.71, at_least=0.68), meets("rmse", 3.2, at_most=3.0)
    (True, False)
    """
    if metric not in HIGHER_IS_BETTER and metric != "mean_error":
        known = ", ".join(sorted([*HIGHER_IS_BETTER, "mean_error"]))
        raise InputError(f"unknown metric {metric!r}", where="success", mend=f"use one of {known}")
    if at_least is None and at_most is None:
        raise InputError(f"metric {metric!r} has no limit", where="success", mend="give at_least or at_most")
    if value is None:
        return False
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)


@dataclass(frozen=True)
class Estimate:
    """A metric on the rows seen."""

    value: float | None
    """None when it is undefined, such as ROC-AUC where there is one class only."""
    low: float | None = None
    """Lower end of the 95 % interval; None without one."""
    high: float | None = None
    """Upper end of the 95 % interval; None without one."""
    error: float | None = 0.0
    """Proved bound of the numerical error of `value` on these rows, rounding aside; 0 when exact, None when it is
    an estimate from a sample of the rows, whose uncertainty is in the interval."""

    def to_dict(self) -> dict[str, float | None]:
        """Write as ``{"value", "low", "high", "error"}``."""
        return {"value": self.value, "low": self.low, "high": self.high, "error": self.error}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**document)


class Metrics(Protocol):
    """The metrics of one task: an accumulator that also draws."""

    def merge(self, other: Self) -> Self:
        """Return the metrics of both sets of rows."""
        ...

    def result(self) -> dict[str, Estimate]:
        """Name to estimate."""
        ...

    def curves(self) -> dict[str, Any]:
        """Small lists for plots."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        ...
