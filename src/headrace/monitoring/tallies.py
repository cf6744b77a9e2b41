"""Counts of one column in the cells of its grid; they add up exactly over rows, minutes and servers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.monitoring.grids import unit_of
from headrace.packaging.exports.steps import MISSING_STRING
from headrace.packaging.exports.times import MISSING_TIME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.monitoring.grids import ColumnGrid
    from headrace.profiling.profile import ColumnProfile

LEAST_TOLD = 10
"""Rows of a window in which an unseen value must stand before its name is kept."""
MOST_TOLD = 20
"""Names of unseen values that are kept."""
_POINTS = (np.arange(512) + 0.5) / 512


@dataclass(frozen=True)
class Tally:
    """Rows of one column by cell.

    No value of a row is held: only counts, sums beyond the range, and the names of unseen categories that stand in ten
    rows or more. About 1 kB.

    Attributes
    ----------
    counts : ndarray of int64, shape (cells,)
    below, above : float
        Sums of how far values lie below the least and above the largest of training.
    unseen : dict of str to int
        Rows of unseen categories, at most 20.
    """

    counts: NDArray[np.int64]
    below: float = 0.0
    above: float = 0.0
    unseen: dict[str, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, grid: ColumnGrid) -> Self:
        """Count no rows."""
        return cls(np.zeros(grid.cells, dtype=np.int64))

    @classmethod
    def of(cls, values: NDArray[Any], grid: ColumnGrid) -> Self:
        """Count values as a model is fed them.

        Parameters
        ----------
        values : ndarray, shape (rows,)
            float64 with NaN for missing, strings with `MISSING_STRING`, or int64 microseconds with `MISSING_TIME`.
        """
        if grid.ordered:
            return cls._of_numbers(values, grid)
        cells = grid.cells
        if grid.kind == "boolean":
            absent = np.isnan(values)
            places = [grid.places.get(value, cells - 2) for value in values[~absent].tolist()]
            counts = np.bincount(np.asarray(places, dtype=np.int64), minlength=cells)
            counts[-1] += int(absent.sum())
            return cls(counts.astype(np.int64))
        counts = np.zeros(cells, dtype=np.int64)
        unseen: dict[str, int] = {}
        for value, count in Counter(values.tolist()).items():
            place = grid.places.get(value)
            if place is not None:
                counts[place] += count
            elif value == MISSING_STRING:
                counts[-1] += count
            elif grid.known and value not in grid.known:
                counts[-2] += count
                unseen[value[:200]] = unseen.get(value[:200], 0) + count
            else:
                counts[-3] += count
        return cls(counts, unseen=_most(unseen, 10 * MOST_TOLD))

    @classmethod
    def _of_numbers(cls, values: NDArray[Any], grid: ColumnGrid) -> Self:
        absent = values == MISSING_TIME if grid.kind == "datetime" else np.isnan(values)
        numbers = values[~absent].astype(np.float64)
        places = np.searchsorted(grid.cuts, numbers, side="left") + 1
        low, high = numbers < grid.low, numbers > grid.high
        places[low] = 0
        places[high] = grid.cells - 2
        counts = np.bincount(places, minlength=grid.cells)
        counts[-1] += int(absent.sum())
        finite = np.isfinite(numbers)
        return cls(
            counts.astype(np.int64),
            float((grid.low - numbers[low & finite]).sum()),
            float((numbers[high & finite] - grid.high).sum()),
        )

    @classmethod
    def of_profile(cls, column: ColumnProfile, grid: ColumnGrid) -> Self:
        """Count from a profile, within its stated errors: the rows themselves are not needed."""
        overall = column.overall
        if grid.kind == "string" and grid.compared and column.kind in {"string", "numeric", "boolean"}:
            return cls._of_items(column, grid)
        if grid.kind == "boolean" and column.kind in {"boolean", "numeric"}:
            return cls._of_items(column, grid)
        counts = np.zeros(grid.cells)
        counts[-1] = overall.missing
        sketch = overall.quantiles
        if not grid.ordered or sketch is None or not sketch.n or column.kind != grid.kind:
            counts[-3] = overall.valid
            return cls(counts.astype(np.int64))
        factor = unit_of(column.type) if grid.kind == "datetime" else 1.0
        edges = np.concatenate([[np.nextafter(grid.low, -np.inf)], grid.cuts, [grid.high]]) / factor
        upto = np.asarray(sketch.cdf(edges)) * sketch.n
        counts[:-1] = np.diff(upto, prepend=0.0, append=float(sketch.n))
        counts[0] += overall.neg_infs
        counts[-2] += overall.pos_infs
        points = np.asarray(sketch.quantile(_POINTS)) * factor
        share = sketch.n / len(points)
        return cls(
            _whole(counts),
            float(np.maximum(grid.low - points, 0).sum() * share),
            float(np.maximum(points - grid.high, 0).sum() * share),
        )

    @classmethod
    def _of_items(cls, column: ColumnProfile, grid: ColumnGrid) -> Self:
        overall = column.overall
        counts = np.zeros(grid.cells, dtype=np.int64)
        unseen: dict[str, int] = {}
        for value, count in overall.hitters.items():
            key = str(value) if grid.kind == "string" else float(value)
            place = grid.places.get(key)
            if place is not None:
                counts[place] += count
            elif grid.known and str(key) not in grid.known:
                counts[-2] += count
                unseen[str(key)[:200]] = count
            else:
                counts[-3] += count
        counts[-1] = overall.missing
        counts[-3] += max(0, overall.rows - int(counts.sum()))
        return cls(counts, unseen=_most(unseen, MOST_TOLD, LEAST_TOLD))

    @property
    def rows(self) -> int:
        """Rows, missing ones too."""
        return int(self.counts.sum())

    def merge(self, other: Self) -> Self:
        """Return the counts of both."""
        unseen = dict(self.unseen)
        for value, count in other.unseen.items():
            unseen[value] = unseen.get(value, 0) + count
        return type(self)(
            self.counts + other.counts,
            self.below + other.below,
            self.above + other.above,
            _most(unseen, 10 * MOST_TOLD),
        )

    def told(self) -> Self:
        """Return what may be stored: names of unseen values that stand in ten rows or more."""
        return type(self)(self.counts, self.below, self.above, _most(self.unseen, MOST_TOLD, LEAST_TOLD))

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        return {
            "counts": self.counts.tolist(),
            "below": self.below,
            "above": self.above,
            "unseen": self.unseen,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        counts = np.array(state["counts"], dtype=np.int64)
        return cls(counts, state["below"], state["above"], dict(state["unseen"]))


def _most(counts: dict[str, int], most: int, least: int = 1) -> dict[str, int]:
    kept = [(value, count) for value, count in counts.items() if count >= least]
    if len(kept) > most:
        kept = sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:most]
    return dict(kept)


def _whole(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round to whole rows and keep their sum."""
    upto = np.rint(np.cumsum(np.maximum(counts, 0.0))).astype(np.int64)
    counted: NDArray[np.int64] = np.diff(upto, prepend=0)
    return counted
