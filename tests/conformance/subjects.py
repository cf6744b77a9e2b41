"""How the conformance suite makes each accumulator: one line per class, by the name of the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.accumulators.binary import BinaryMetrics
from headrace.accumulators.bootstrap import Tally
from headrace.accumulators.clusters import ClusterMetrics
from headrace.accumulators.columns import ColumnSummary
from headrace.accumulators.distinct import DistinctCount
from headrace.accumulators.gram import Gram
from headrace.accumulators.histograms import NestedHistogram
from headrace.accumulators.hitters import HeavyHitters
from headrace.accumulators.moments import Moments
from headrace.accumulators.multiclass import MulticlassMetrics
from headrace.accumulators.quantiles import QuantileSketch
from headrace.accumulators.regression import RegressionMetrics
from headrace.accumulators.rowsample import RowSample

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rows:
    """Rows from which every accumulator can be made."""

    x: NDArray[np.float64]
    """Finite numbers."""
    y: NDArray[np.int64]
    """0 or 1."""
    keys: NDArray[np.uint64]
    """Row hashes."""

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, cut: slice) -> Rows:
        return Rows(self.x[cut], self.y[cut], self.keys[cut])

    @property
    def probability(self) -> NDArray[np.float64]:
        """Scores in (0, 1)."""
        return 1.0 / (1.0 + np.exp(-np.clip(self.x, -30, 30)))


def _fed(empty: Any, *arguments: Any, **named: Any) -> Any:
    """Some accumulators change in place, some return the updated one."""
    return empty.update(*arguments, **named) or empty


def _multiclass(rows: Rows) -> Any:
    scores = np.stack([rows.probability, 1 - rows.probability], axis=1)
    return _fed(MulticlassMetrics(2, replicates=4), rows.y, scores, keys=rows.keys)


SUBJECTS: dict[str, Callable[[Rows], Any]] = {
    "Moments": lambda rows: Moments().update(rows.x),
    "QuantileSketch": lambda rows: QuantileSketch().update(rows.x),
    "HeavyHitters": lambda rows: HeavyHitters().update(rows.x),
    "DistinctCount": lambda rows: DistinctCount().update(rows.x),
    "Gram": lambda rows: Gram.empty(("x", "y")).update(np.stack([rows.x, rows.y], axis=1)),
    "ColumnSummary": lambda rows: ColumnSummary.of_sorted("numeric", np.sort(rows.x), nulls=len(rows) % 3),
    "BinaryMetrics": lambda rows: _fed(BinaryMetrics(replicates=4), rows.y, rows.probability, keys=rows.keys),
    "MulticlassMetrics": _multiclass,
    "RegressionMetrics": lambda rows: _fed(
        RegressionMetrics(replicates=4), rows.x, rows.x + rows.y, keys=rows.keys
    ),
    "ClusterMetrics": lambda rows: _fed(
        ClusterMetrics(1, replicates=4), rows.y, rows.x[:, None].astype(np.float32), keys=rows.keys
    ),
    "Tally": lambda rows: _fed(Tally(2, 4), rows.y[:, None], rows.x[:, None], rows.keys),
    "NestedHistogram": lambda rows: _fed(NestedHistogram(2), rows.probability, rows.y),
    "RowSample": lambda rows: _fed(RowSample(1), rows.keys, rows.x[:, None]),
}
