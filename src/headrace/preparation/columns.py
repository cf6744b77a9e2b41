"""Slots of the compiled path: each puts one column of a table into its place in a block of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DataError
from headrace.preparation.blocks import Slot
from headrace.preparation.times import time_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.preparation.blocks import Block, Mask, RowNumbers
    from headrace.preparation.plans import CategoryPlan, NumericPlan, PartPlan


@dataclass
class Numbers(Slot):
    """All numbers, neighbours in a row: fill, clip, ``(x - center) / spread``.

    Those that trade places with their indicators come last.
    """

    plans: list[NumericPlan]
    values: list[NDArray[Any]]
    masks: list[Mask | None]
    indicators: list[int]
    """Feature of the indicator that trades places with each, or -1."""

    @property
    def features(self) -> list[int]:
        """Feature of each of the entries."""
        return list(range(self.feature, self.feature + len(self.plans)))

    def prepare(self, rows: int) -> None:
        """Make room for blocks of at most so many rows."""
        self._x = np.empty(rows)  # one column after another goes through it, so that it stays in the cache
        self.missing = np.zeros((len(self.plans), rows), dtype=np.bool_)
        """Missing rows of the block that was written last."""

    def write(self, rows: RowNumbers, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        x, missing = self._x[: len(block)], self.missing[:, : len(block)]
        trades = False
        for j, plan in enumerate(self.plans):
            source, mask = self.values[j][rows], self.masks[j]
            some = mask is not None
            missing[j] = mask[rows] if mask is not None else False
            if plan.low is None:
                np.subtract(source, plan.center, out=x, dtype=np.float64)
            else:
                np.clip(source, plan.low, plan.high, out=x, dtype=np.float64)
                x -= plan.center
            if plan.spread != 1:
                x /= plan.spread
            # A sum of squares is not finite when a value is not: the cheapest look at all of them.
            looked_at = x if plan.low is None else source
            if source.dtype.kind == "f" and not math.isfinite(looked_at.dot(looked_at)):
                some = self._find_nans(j, source, missing[j]) or some
            if some:
                # What lies under a null may be anything, NaN and infinity too.
                np.copyto(x, self.filled(j, block), where=missing[j])
                trades = trades or self.indicators[j] >= 0
            block.put(self, x, j)
        if trades:
            block.put_indicators(self, self.indicators, missing)

    def _find_nans(self, j: int, source: NDArray[Any], missing: Mask) -> bool:
        """Add the NaN of a column to what is missing; tell whether there are any."""
        if (np.isinf(source) & ~missing).any():
            raise self.infinite(j)
        nans = np.isnan(source)
        np.logical_or(missing, nans, out=missing)
        return bool(nans.any())

    def infinite(self, j: int) -> DataError:
        """Return what is said of a column with infinite values."""
        return DataError(
            "holds infinite values",
            where=f"column {self.plans[j].name!r}",
            mend="drop the column (prepare.columns), or replace them in a features function",
        )

    def filled(self, j: int, block: Block) -> float:
        """Return what is written of a missing value."""
        plan = self.plans[j]
        if self.indicators[j] >= 0:
            return block.traded
        if plan.fill is None:
            return math.nan
        fill = plan.fill if plan.low is None else float(np.clip(plan.fill, plan.low, plan.high))
        return (fill - plan.center) / plan.spread


@dataclass
class Indicator(Slot):
    """Whether a number is missing, as an entry of its own."""

    numbers: Numbers
    place: int
    """Of the number among them."""

    def write(self, rows: RowNumbers, block: Block) -> None:  # noqa: ARG002 - the numbers have told which rows
        """Write rows, as `Slot.write`, of which the numbers are written already."""
        block.put(self, self.numbers.missing[self.place, : len(block)])


@dataclass
class Codes(Slot):
    """Strings by their codes: to a one-hot feature, or to an ordinal number."""

    codes: NDArray[Any]
    mask: Mask | None
    targets: NDArray[Any]
    """Feature, or ordinal number, of each string of the dictionary; last that of a missing one."""
    one_hot: bool
    present: Mask | None = None
    """Whether each string has a feature; None: all have."""

    def write(self, rows: RowNumbers, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        codes = self.codes[rows]
        if self.mask is not None:
            codes = codes.astype(np.int64)
            np.copyto(codes, len(self.targets) - 1, where=self.mask[rows])
        found = self.targets.take(codes, mode="clip")
        if not self.one_hot:
            block.put(self, found)
        else:
            block.put_one_hot(self, found, None if self.present is None else self.present[codes])


@dataclass
class NumberCodes(Slot):
    """Numbers that are codes, to one-hot features."""

    plan: CategoryPlan
    values: NDArray[Any]
    mask: Mask | None
    known: NDArray[np.float64]
    """Categories in ascending order."""
    targets: NDArray[Any]
    """Feature of each; then of other numbers, and of a missing one; -1: none."""

    def write(self, rows: RowNumbers, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        x = self.values[rows].astype(np.float64)
        if self.mask is not None:
            np.copyto(x, np.nan, where=self.mask[rows])
        if np.isinf(x).any():
            raise DataError(
                "holds infinite values",
                where=f"column {self.plan.name!r}",
                mend="replace them in a features function",
            )
        at = np.searchsorted(self.known, x)
        found = (
            np.where(self.known[np.minimum(at, len(self.known) - 1)] == x, at, len(self.known))
            if len(self.known)
            else np.zeros(len(x), dtype=np.int64)
        )
        found[np.isnan(x)] = len(self.known) + 1
        features = self.targets[found]
        present = features >= 0
        block.put_one_hot(self, np.where(present, features, self.feature), None if present.all() else present)


@dataclass
class TimePart(Slot):
    """A part of a time: one-hot, or scaled."""

    part: PartPlan
    times: NDArray[np.datetime64]
    mask: Mask | None

    def write(self, rows: RowNumbers, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        times = self.times[rows]
        if self.mask is not None:
            times = np.where(self.mask[rows], np.datetime64("NaT"), times)
        x = time_part(times, self.part.part)
        missing = np.isnan(x)
        some = bool(missing.any())
        if self.part.values:
            np.copyto(x, self.part.first, where=missing)
            features = x.astype(np.int64) + (self.feature - self.part.first)
            block.put_one_hot(self, features, ~missing if some else None)
            return
        x -= self.part.center
        x /= self.part.spread
        if some:
            np.copyto(x, 0.0, where=missing)  # it is filled with the mean
        block.put(self, x)
