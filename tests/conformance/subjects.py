"""How the conformance suite makes each accumulator: one line per class, by the name of the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.accumulators.absences import Absences
from headrace.accumulators.binary import BinaryMetrics
from headrace.accumulators.bootstrap import Tally
from headrace.accumulators.celllosses import CellLosses
from headrace.accumulators.clusters import ClusterMetrics
from headrace.accumulators.columns import ColumnSummary
from headrace.accumulators.crossproducts import CrossProducts
from headrace.accumulators.distinct import DistinctCount
from headrace.accumulators.gram import Gram
from headrace.accumulators.grouped import GroupedSums
from headrace.accumulators.histograms import NestedHistogram
from headrace.accumulators.hitters import HeavyHitters
from headrace.accumulators.moments import Moments
from headrace.accumulators.multiclass import MulticlassMetrics
from headrace.accumulators.quantiles import QuantileSketch
from headrace.accumulators.regression import RegressionMetrics
from headrace.accumulators.rowhash import RepeatedRows
from headrace.accumulators.rowsample import RowSample
from headrace.accumulators.rules import RuleCounts
from headrace.accumulators.trends import Trend

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


def _rules(rows: Rows) -> Any:
    outcomes = [(rows.y % 3).astype(np.uint8), (rows.x > 0).astype(np.uint8)]
    places = [("file", int(key)) for key in rows.keys]
    return RuleCounts.empty(2).update(outcomes, lambda broken: [places[row] for row in broken.tolist()])


SUBJECTS: dict[str, Callable[[Rows], Any]] = {
    "Moments": lambda rows: Moments().update(rows.x),
    "QuantileSketch": lambda rows: QuantileSketch().update(rows.x),
    "GroupedSums": lambda rows: GroupedSums.of(1_000, pa.array(rows.x), {"y": rows.y}),
    "HeavyHitters": lambda rows: HeavyHitters().update(rows.x),
    "DistinctCount": lambda rows: DistinctCount().update(rows.x),
    "Gram": lambda rows: Gram.empty(("x", "y")).update(np.stack([rows.x, rows.y], axis=1)),
    "CrossProducts": lambda rows: CrossProducts.of(
        np.stack([rows.x, rows.y], axis=1), rows.probability, rows.y, groups=2
    ),
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
    "Absences": lambda rows: Absences.of(("x", "y", "z"), len(rows), {"x": rows.x > 0, "y": rows.y == 1}),
    "Trend": lambda rows: Trend.of(
        rows.y + (rows.keys % np.uint64(5000)).astype(np.int64),
        ("x", "z"),
        {"x": rows.x},
        {"z": rows.y == 1},
        (rows.y.astype(np.uint8), ("0", "1")),
    ),
    "RepeatedRows": lambda rows: RepeatedRows(32).update(
        rows.keys >> np.uint64(40) << np.uint64(40), rows.keys
    ),
    "RuleCounts": _rules,
    "CellLosses": lambda rows: CellLosses.of(rows.y, 2, rows.probability, rows.probability),
    "RowSample": lambda rows: _fed(RowSample(1), rows.keys, rows.x[:, None]),
}
