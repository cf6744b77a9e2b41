"""The same metrics for each value of named columns."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from headrace.evaluation.tasks import TaskMetrics, new_metrics, read_metrics

if TYPE_CHECKING:
    from headrace.accumulators.metrics import Estimate

MOST_VALUES = 250
"""Most values of a column for which metrics are held; a column with more is not sliced."""
SHOWN_VALUES = 50
"""Values with the most rows that are told; the rest are merged into one."""
REPLICATES = 100
"""Most replicates of a slice's intervals, so that a slice stays within 100 KB."""
MISSING = "missing"
"""Name of the slice of null values."""
OTHER = "other"
"""Name of the slice of all values that are not shown."""


class ColumnSlices:
    """Metrics by the values of one column.

    All values are held up to `MOST_VALUES`. When there are more, none is: that is decided by the values of the whole
    data alone, whatever the order of merging.

    Parameters
    ----------
    task : str
        ``classification`` or ``regression``.
    classes : int
        Number of classes of a classification.
    threshold : float
        As in `BinaryMetrics`.
    replicates : int
        Of the evaluation; at most `REPLICATES` are used.
    """

    def __init__(self, task: str, classes: int, *, threshold: float, replicates: int) -> None:
        self.task = task
        self.classes = classes
        self.threshold = threshold
        self.replicates = min(replicates, REPLICATES)
        self.values: dict[str | None, TaskMetrics] | None = {}

    def _new(self) -> TaskMetrics:
        return new_metrics(
            self.task, self.classes, threshold=self.threshold, replicates=self.replicates, small=True
        )

    def update(
        self,
        column: pa.DictionaryArray | pa.Array | pa.ChunkedArray,
        y: np.ndarray,
        scores: np.ndarray,
        weight: np.ndarray | None,
        keys: np.ndarray | None,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        column : DictionaryArray, Array or ChunkedArray, length n
            The values to slice by.
        y, scores, weight, keys : ndarray
            As in the metrics of the task.
        """
        if self.values is None:
            return
        codes, names = _encode(column)
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-2))
        groups = np.split(order, starts[1:])
        if len(self.values.keys() | {names[codes[group[0]]] for group in groups if len(group)}) > MOST_VALUES:
            self.values = None
            return
        for group in groups:
            if not len(group):
                continue
            name = names[codes[group[0]]]
            if name not in self.values:
                self.values[name] = self._new()
            self.values[name].update(
                y[group],
                scores[group],
                None if weight is None else weight[group],
                None if keys is None else keys[group],
            )

    def merge(self, other: Self) -> Self:
        """Return the slices of both sets of rows."""
        merged = type(self)(self.task, self.classes, threshold=self.threshold, replicates=self.replicates)
        if self.values is None or other.values is None:
            merged.values = None
            return merged
        names = self.values.keys() | other.values.keys()
        merged.values = {name: _merged(self.values.get(name), other.values.get(name)) for name in names}
        if len(names) > MOST_VALUES:
            merged.values = None
        return merged

    def result(self) -> dict[str, tuple[int, dict[str, Estimate]]]:
        """Value to its rows and metrics, the most rows first; empty when there were too many values."""
        held = self.values or {}
        ordered = sorted(held, key=lambda name: (-held[name].rows, name is None, name or ""))
        taken = {name for name in ordered if name is not None}
        shown = {
            _free(MISSING, taken) if name is None else name: held[name] for name in ordered[:SHOWN_VALUES]
        }
        rest: TaskMetrics | None = None
        for name in ordered[SHOWN_VALUES:]:
            rest = _merged(rest, held[name])
        if rest is not None:
            shown[_free(OTHER, taken)] = rest
        return {name: (metrics.rows, metrics.result()) for name, metrics in shown.items()}

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        held = None
        if self.values is not None:
            ordered = sorted(self.values, key=lambda name: (name is None, name or ""))
            held = [[name, self.values[name].state()] for name in ordered]
        return {
            "task": self.task,
            "classes": self.classes,
            "threshold": self.threshold,
            "replicates": self.replicates,
            "values": held,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        slices = cls(
            state["task"], state["classes"], threshold=state["threshold"], replicates=state["replicates"]
        )
        held = state["values"]
        slices.values = (
            None
            if held is None
            else {name: read_metrics(slices.task, slices.classes, each) for name, each in held}
        )
        return slices


def _encode(column: pa.DictionaryArray | pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, list[str | None]]:
    """Give each row a code and each code a name; the last name is that of nulls."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.dictionary.to_pylist()
    names = [None if value is None else str(value) for value in values]
    # A dictionary may hold a value twice, hold null, or hold what no row has; names are what counts.
    distinct = [*dict.fromkeys(name for name in names if name is not None), None]
    place = {name: code for code, name in enumerate(distinct)}
    recoded = np.array([place[name] for name in [*names, None]], dtype=np.int64)
    codes = column.indices.cast(pa.int64()).fill_null(len(names)).to_numpy(zero_copy_only=False)
    return recoded[codes], distinct


def _merged(left: TaskMetrics | None, right: TaskMetrics | None) -> TaskMetrics:
    if left is None or right is None:
        only = right if left is None else left
        assert only is not None, "a value is held on one side at least"
        return deepcopy(only)
    # Both are of the same task and so of the same class, which a union does not say.
    same: Any = left
    merged: TaskMetrics = same.merge(right)
    return merged


def _free(name: str, taken: set[str]) -> str:
    """Return a name that no value of the column has."""
    while name in taken:
        name = f"({name})"
    return name
