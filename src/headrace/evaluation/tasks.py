"""Which metrics a task has, and how large they may be."""

from __future__ import annotations

from typing import Any

from headrace.accumulators.binary import BinaryMetrics
from headrace.accumulators.multiclass import MulticlassMetrics
from headrace.accumulators.regression import RegressionMetrics
from headrace.errors import InputError

TaskMetrics = BinaryMetrics | MulticlassMetrics | RegressionMetrics


def new_metrics(
    task: str, classes: int, *, threshold: float, replicates: int, small: bool = False
) -> TaskMetrics:
    """Make the empty metrics of a task.

    Parameters
    ----------
    task : str
        ``classification`` or ``regression``.
    classes : int
        Number of classes of a classification, at least 2.
    threshold : float
        As in `BinaryMetrics`.
    replicates : int
        Bootstrap replicates.
    small : bool
        Metrics of one slice: histograms of 1,024 bins (several classes: 2,048 for all together), 16 bins in the
        replicates; for several classes no interval of the ROC-AUC.

    Returns
    -------
    BinaryMetrics, MulticlassMetrics or RegressionMetrics
        With no rows.

    Raises
    ------
    InputError
        The task is another, or has one class only.
    """
    if task == "regression":
        return (
            RegressionMetrics(replicates=replicates, bins=1024, sample=0)
            if small
            else RegressionMetrics(replicates=replicates)
        )
    if task != "classification":
        raise InputError(
            f"unknown task {task!r}",
            where="problem.task",
            mend="use classification, regression or clustering",
        )
    if classes < 2:
        raise InputError(
            f"the target has {classes} class",
            where="problem.target",
            mend="classification needs at least two",
        )
    if classes == 2:
        return (
            BinaryMetrics(threshold=threshold, replicates=replicates, bins=1024, replicate_bins=16)
            if small
            else BinaryMetrics(threshold=threshold, replicates=replicates)
        )
    return (
        MulticlassMetrics(classes, replicates=replicates, bins=2048, replicate_bins=0)
        if small
        else MulticlassMetrics(classes, replicates=replicates)
    )


def read_metrics(task: str, classes: int, state: dict[str, Any]) -> TaskMetrics:
    """Rebuild the metrics of a task from their state.

    Parameters
    ----------
    task : str
        ``classification`` or ``regression``.
    classes : int
        Number of classes of a classification.
    state : dict
        What ``state()`` gave.

    Returns
    -------
    BinaryMetrics, MulticlassMetrics or RegressionMetrics
        Equal to what was written.
    """
    if task == "regression":
        return RegressionMetrics.from_state(state)
    return BinaryMetrics.from_state(state) if classes == 2 else MulticlassMetrics.from_state(state)
