"""Cells of a column, cut from its profile, by which the losses of test rows are added up; ranked by the harm that they do."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.leaves import plain_numbers
from headrace.accumulators.probabilities import clipped_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from headrace.accumulators.celllosses import CellLosses
    from headrace.profiling.profile import ColumnProfile, Profile

RANGES = 10
"""Ranges of a number or a time, of equal share."""
VALUES = 20
"""Most frequent values of a category; the others are one cell."""
MOST_COLUMNS = 200
"""Columns that are cut, of very many."""
MISSING, OTHER = "missing", "other values"


@dataclass(frozen=True)
class Cells:
    """The cells of one column.

    Attributes
    ----------
    names : tuple of str
        Of each cell, for people; the last two are other values and missing ones.
    cuts : tuple of float
        Between the ranges of a number or time, in Arrow's unit; empty for categories.
    values : tuple of str or bool
        Of the cells of a category.
    """

    names: tuple[str, ...]
    cuts: tuple[float, ...] = ()
    values: tuple[str | bool, ...] = ()

    @classmethod
    def of(cls, column: ColumnProfile) -> Self | None:
        """Cut a column; None when no cell of it would say anything: of texts, and of what takes a single value."""
        if column.kind in {"numeric", "datetime"}:
            sketch = column.overall.quantiles
            if sketch is None or not sketch.n:
                return None
            # A cut at an extreme has nothing beyond it.
            low, high = sketch.quantile([0.0, 1.0])
            cuts = np.unique(sketch.quantile(np.arange(1, RANGES) / RANGES))
            cuts = cuts[(cuts >= low) & (cuts < high)]
            if not len(cuts):
                return None
            said = [column.shown(float(cut)) for cut in cuts]
            between = [f"{low} to {high}" for low, high in pairwise(said)]
            names = (f"up to {said[0]}", *between, f"above {said[-1]}", OTHER, MISSING)
            return cls(names, tuple(float(cut) for cut in cuts))
        if column.kind not in {"string", "boolean"} or column.is_text or column.is_constant:
            return None
        values = tuple(value for value, _ in column.top(VALUES))
        return cls((*(str(value) for value in values), OTHER, MISSING), values=values)

    def codes(self, column: pa.ChunkedArray) -> NDArray[np.int64]:
        """Tell in which cell each row is, shape (rows,)."""
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        other, missing = len(self.names) - 2, len(self.names) - 1
        if not self.cuts:
            found = pc.index_in(column, value_set=pa.array(self.values, type=column.type), skip_nulls=True)
            codes = np.asarray(found.fill_null(other).cast(pa.int64()))
            return np.where(np.asarray(column.is_null()), missing, codes)
        numbers = plain_numbers(column.combine_chunks()).cast(pa.float64(), safe=False)
        values = np.asarray(numbers.fill_null(np.nan))
        codes = np.searchsorted(self.cuts, values, side="left")
        return np.where(np.isnan(values), missing, codes)


def cells_of(profile: Profile, features: Iterable[str], named: Iterable[str]) -> dict[str, Cells]:
    """Cut columns of a profile.

    Parameters
    ----------
    profile : Profile
        Of all rows.
    features : iterable of str
        Columns that the model takes; the first 200 that can be cut are.
    named : iterable of str
        Columns that the user wants slices of, all of which are cut, if they can be.
    """
    found: dict[str, Cells] = {}
    asked = list(named)
    for name in dict.fromkeys([*asked, *features]):
        column = profile.columns.get(name)
        if column is None or (len(found) >= MOST_COLUMNS and name not in asked):
            continue
        cells = Cells.of(column)
        if cells is not None:
            found[name] = cells
    return found


def losses_of(said: NDArray[Any], truth: NDArray[Any], task: str) -> NDArray[np.float64]:
    """Compute the loss of each row: minus the log of the probability of its class, or the squared error.

    Parameters
    ----------
    said : ndarray, shape (n,) or (n, classes)
        As from `headrace.training.scoring.outputs`.
    truth : ndarray, shape (n,)
        Codes of classes, or values.
    task : {"classification", "regression"}
    """
    if task == "regression":
        return np.asarray((said - truth) ** 2, np.float64)
    right = said[np.arange(len(said)), truth] if said.ndim == 2 else np.where(truth == 1, said, 1 - said)
    return -clipped_log(np.asarray(right))


@dataclass(frozen=True)
class HarmfulSlice:
    """One cell of one column, and what it adds to the loss."""

    column: str
    value: str
    rows: int
    loss: float
    """Mean loss of its rows."""
    harm: float
    """Weight of its rows times what their mean loss is above that of all rows."""
    low: float
    """Lower end of the 95 % interval of the harm."""
    high: float
    share: float
    """Harm as a share of the loss of all rows."""


def ranked(
    losses: Mapping[str, CellLosses], cells: Mapping[str, Cells], most: int
) -> tuple[HarmfulSlice, ...]:
    """Rank the cells of all columns by the harm that they do at least, so that small and noisy ones are not on top.

    Parameters
    ----------
    losses : mapping of str to CellLosses
        By column.
    cells : mapping of str to Cells
        Of the same columns.
    most : int
        Slices that are told, of those whose harm is above 0 with its whole interval.
    """
    found = []
    for column, held in losses.items():
        result = held.result()
        total = held.total
        for place in np.flatnonzero(result["low"] > 0):
            loss, harm, low, high = (float(result[name][place]) for name in ("loss", "harm", "low", "high"))
            name, rows = cells[column].names[place], int(result["rows"][place])
            share = harm / total if total > 0 else 0.0
            found.append(HarmfulSlice(column, name, rows, loss, harm, low, high, share))
    return tuple(sorted(found, key=lambda each: (-each.low, each.column, each.value))[:most])
