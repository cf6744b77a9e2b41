"""The stated problem: objective, task, target, what counts as success, data needs and risks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from headrace.options import Options

Task = Literal["classification", "regression", "clustering"]

_AVERAGED = tuple(
    f"{name}_{way}" for name in ("precision", "recall", "f1") for way in ("macro", "weighted", "micro")
)
METRICS: dict[str, tuple[str, ...]] = {
    "classification": (
        *("roc_auc", "average_precision", "accuracy", "balanced_accuracy", "precision", "recall", "f1"),
        *("log_loss", "brier", "calibration_error", "roc_auc_ovr", *_AVERAGED),
    ),
    "regression": ("r2", "rmse", "mse", "mae", "median_absolute_error", "mean_error", "explained_variance"),
    "clustering": ("silhouette", "inertia"),
}
"""Metrics that a success criterion of each task may name; those with an average are for more than two classes."""


class Criterion(Options):
    """A bound that a metric on the test part must keep."""

    metric: str = Field(description="A metric of the task, for instance roc_auc")
    at_least: float | None = Field(default=None, description="The metric must reach this")
    at_most: float | None = Field(default=None, description="The metric must not exceed this")

    @model_validator(mode="after")
    def _exactly_one_bound(self) -> Criterion:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the criterion on {self.metric} needs at_least or at_most; give exactly one")
        return self

    def holds(self, value: float) -> bool:
        """Tell whether `value` keeps the bound; NaN never does."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


class ProblemOptions(Options):
    """What is to be learnt, for whom, and when it is good enough."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$",
        description="The model's name in the registry: lower case letters, digits, _ . -",
    )
    objective: str = Field(default="", description="What somebody will do better with the model")
    statement: str = Field(default="", description="What is predicted, for which rows, known when")
    task: Task = Field(description="classification, regression or clustering")
    target: str | None = Field(default=None, description="The column to predict; not for clustering")
    success: tuple[Criterion, ...] = Field(
        default=(), description="Bounds on test metrics that decide the verdict"
    )
    data_needs: str = Field(default="", description="Which data are needed, from where, how fresh")
    risks: tuple[str, ...] = Field(default=(), description="What may go wrong in use")
    owner: str = Field(default="", description="Who answers for the model, and how to reach them")
    intended_use: str = Field(default="", description="By whom it is to be used, for which decisions")
    out_of_scope: tuple[str, ...] = Field(default=(), description="What it must not be used for")
    limits: tuple[str, ...] = Field(default=(), description="Where it is known not to work")

    @model_validator(mode="after")
    def _target_and_metrics_fit_the_task(self) -> ProblemOptions:
        if self.task != "clustering" and self.target is None:
            raise ValueError(f"{self.task} needs a target; add problem.target")
        if self.task == "clustering" and self.target is not None:
            raise ValueError("clustering has no target; remove problem.target")
        known = METRICS[self.task]
        for criterion in self.success:
            if criterion.metric not in known:
                raise ValueError(
                    f"no metric {criterion.metric!r} for {self.task}; use one of {', '.join(known)}"
                )
        return self
