"""One pass over the untouched test split: metrics, curves, slices, with 95 % intervals."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.clusters import ClusterMetrics
from headrace.accumulators.metrics import Estimate
from headrace.errors import InputError, RunError
from headrace.evaluation.options import EvaluateOptions
from headrace.evaluation.slices import MOST_VALUES, SHOWN_VALUES, ColumnSlices
from headrace.evaluation.tasks import TaskMetrics, new_metrics, read_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from scipy import sparse


@dataclass(frozen=True)
class Assessment:
    """How good a candidate is on rows that it has never seen."""

    task: str
    """``classification``, ``regression`` or ``clustering``."""
    rows: int
    """Rows seen."""
    metrics: dict[str, Estimate]
    """Metric to its estimate."""
    curves: dict[str, Any] = field(default_factory=dict)
    """Small lists for plots, as the metrics of the task describe them."""
    slices: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Column to value to ``{"rows": int, "metrics": {metric: Estimate}}``, values with the most rows first."""
    classes: tuple[str, ...] = ()
    """Class labels, in the order of the confusion matrix."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the figures."""

    def to_dict(self) -> dict[str, Any]:
        """Write as a JSON document."""
        return {
            "task": self.task,
            "rows": self.rows,
            "classes": list(self.classes),
            "metrics": _written(self.metrics),
            "curves": self.curves,
            "slices": {
                column: {
                    value: {"rows": one["rows"], "metrics": _written(one["metrics"])}
                    for value, one in values.items()
                }
                for column, values in self.slices.items()
            },
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; further keys are passed over."""
        return cls(
            task=document["task"],
            rows=document["rows"],
            classes=tuple(document["classes"]),
            metrics=_read(document["metrics"]),
            curves=document["curves"],
            slices={
                column: {
                    value: {"rows": one["rows"], "metrics": _read(one["metrics"])}
                    for value, one in values.items()
                }
                for column, values in document["slices"].items()
            },
            notes=tuple(document["notes"]),
        )


def _written(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_dict() for name, estimate in metrics.items()}


def _read(metrics: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(each) for name, each in metrics.items()}


class AssessmentState:
    """Accumulates an `Assessment`.

    Parameters
    ----------
    task : str
        ``classification``, ``regression`` or ``clustering``.
    classes : sequence of str
        Class labels, sorted; empty when the task is no classification.
    options : EvaluateOptions, optional
        Slices, replicates, threshold.
    """

    def __init__(
        self, task: str, classes: Sequence[str] = (), options: EvaluateOptions | None = None
    ) -> None:
        self.task = task
        self.classes = tuple(str(label) for label in classes)
        self.options = EvaluateOptions() if options is None else options
        # How wide rows are is known with the first of them, so that clusters begin without metrics.
        self.metrics: TaskMetrics | ClusterMetrics | None = None
        self.slices: dict[str, ColumnSlices] = {}
        if task != "clustering":
            count, threshold, replicates = len(self.classes), self.options.threshold, self.options.bootstrap
            self.metrics = new_metrics(task, count, threshold=threshold, replicates=replicates)
            self.slices = {
                column: ColumnSlices(task, count, threshold=threshold, replicates=replicates)
                for column in self.options.slices
            }

    @property
    def rows(self) -> int:
        """Rows seen."""
        return 0 if self.metrics is None else self.metrics.rows

    def update(
        self,
        y: np.ndarray,
        scores: np.ndarray | sparse.csr_matrix,
        *,
        weight: np.ndarray | None = None,
        keys: np.ndarray | None = None,
        slices: Mapping[str, pa.DictionaryArray | pa.Array | pa.ChunkedArray] | None = None,
        distances: np.ndarray | None = None,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        y : ndarray, shape (n,)
            Codes into `classes`, or the true numbers, or the clusters given to the rows.
        scores : ndarray or CSR matrix
            Probability of class 1, shape (n,), or of each class, shape (n, k); or predictions, shape (n,); or for
            clusters the features, shape (n, width).
        weight : ndarray of float, shape (n,), optional
            Non-negative row weights.
        keys : ndarray of uint64, shape (n,), optional
            Row keys; needed for intervals and for the sampled metrics of clusters.
        slices : mapping, optional
            A column of length n for each name in the options' slices.
        distances : ndarray of float, shape (n,), optional
            For clusters: distance of each row from its centre.

        Raises
        ------
        RunError
            A score is not finite, or a probability not between 0 and 1.
        InputError
            A column to slice by is missing.
        """
        if self.options.bootstrap and keys is None:
            raise InputError("intervals need row keys", where="evaluate.bootstrap", mend="give keys")
        if self.task == "clustering":
            if self.metrics is None:
                self.metrics = ClusterMetrics(scores.shape[1], replicates=self.options.bootstrap)
            assert isinstance(self.metrics, ClusterMetrics), "clusters have their own metrics"
            self.metrics.update(y, scores, weight, keys, distances=distances)
            return
        assert isinstance(scores, np.ndarray), "only clusters take sparse features"
        assert self.metrics is not None, "only clusters begin without metrics"
        if self.task == "classification" and scores.ndim == 2 and len(self.classes) == 2:
            scores = scores[:, 1]
        _refuse_bad_scores(scores, probabilities=self.task == "classification")
        given = {} if slices is None else slices
        for column in self.slices.keys() - given.keys():
            raise InputError(
                f"column {column!r} is not in the data", where="evaluate.slices", mend="name a column"
            )
        self.metrics.update(y, scores, weight, keys)
        for column, held in self.slices.items():
            held.update(given[column], y, scores, weight, keys)

    def merge(self, other: Self) -> Self:
        """Return the state of both sets of rows."""
        merged = type(self)(self.task, self.classes, self.options)
        if self.metrics is None or other.metrics is None:
            merged.metrics = deepcopy(other.metrics if self.metrics is None else self.metrics)
        else:
            # Both are of the same task and so of the same class, which a union does not say.
            left: Any = self.metrics
            merged.metrics = left.merge(other.metrics)
        merged.slices = {column: held.merge(other.slices[column]) for column, held in self.slices.items()}
        return merged

    def result(self) -> Assessment:
        """Assess the rows seen."""
        notes = []
        slices: dict[str, dict[str, dict[str, Any]]] = {}
        for column, held in self.slices.items():
            if held.values is None:
                notes.append(f"{column} has more than {MOST_VALUES} values and is not sliced")
                continue
            if len(held.values) > SHOWN_VALUES:
                notes.append(f"{column}: the {SHOWN_VALUES} values with the most rows, the rest together")
            slices[column] = {
                value: {"rows": rows, "metrics": metrics} for value, (rows, metrics) in held.result().items()
            }
        if self.task == "clustering" and self.options.slices:
            notes.append("clusters are not sliced")
        return Assessment(
            task=self.task,
            rows=self.rows,
            metrics={} if self.metrics is None else self.metrics.result(),
            curves={} if self.metrics is None else self.metrics.curves(),
            slices=slices,
            classes=self.classes,
            notes=tuple(notes),
        )

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {
            "task": self.task,
            "classes": list(self.classes),
            "options": self.options.model_dump(),
            "metrics": None if self.metrics is None else self.metrics.state(),
            "slices": {column: held.state() for column, held in self.slices.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        read = cls(state["task"], state["classes"], EvaluateOptions(**state["options"]))
        if state["metrics"] is not None:
            read.metrics = (
                ClusterMetrics.from_state(state["metrics"])
                if read.task == "clustering"
                else read_metrics(read.task, len(read.classes), state["metrics"])
            )
        read.slices = {column: ColumnSlices.from_state(each) for column, each in state["slices"].items()}
        return read


def _refuse_bad_scores(scores: np.ndarray, *, probabilities: bool) -> None:
    finite = np.isfinite(scores)
    if not finite.all():
        raise RunError(
            f"the model gave {np.count_nonzero(~finite)} scores that are not finite",
            where="evaluate",
            mend="scale the features or lower the learning rate",
        )
    if probabilities and scores.size and not (scores.min() >= 0 and scores.max() <= 1):
        raise RunError(
            f"the model gave probabilities from {scores.min():g} to {scores.max():g}",
            where="evaluate",
            mend="use an estimator with predict_proba",
        )
