"""Writers of the compiled path: each puts one column of a table into its place in a block of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DataError
from headrace.preparation.blocks import Slot
from headrace.preparation.layout import trades_places
from headrace.preparation.reading import read_codes, read_numbers, read_times, single_array
from headrace.preparation.times import time_part
from headrace.preparation.witness import UNSEEN_CODE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.preparation.blocks import Block, Mask
    from headrace.preparation.layout import Group, Layout
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

    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        x, missing = self._x[: stop - start], self.missing[:, : stop - start]
        trades = False
        for j, plan in enumerate(self.plans):
            source, mask = self.values[j][start:stop], self.masks[j]
            some = mask is not None
            missing[j] = mask[start:stop] if mask is not None else False
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
                np.copyto(x, block.traded if self.indicators[j] >= 0 else _filled(plan), where=missing[j])
                trades = trades or self.indicators[j] >= 0
            block.put(self, x, j)
        if trades:
            block.put_indicators(self, self.indicators, missing)

    def _find_nans(self, j: int, source: NDArray[Any], missing: Mask) -> bool:
        """Add the NaN of a column to what is missing; tell whether there are any."""
        if (np.isinf(source) & ~missing).any():
            raise DataError(
                "holds infinite values",
                where=f"column {self.plans[j].name!r}",
                mend="drop the column (prepare.columns), or replace them in a features function",
            )
        nans = np.isnan(source)
        np.logical_or(missing, nans, out=missing)
        return bool(nans.any())


def _filled(plan: NumericPlan) -> float:
    """Return what a missing value ends as."""
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

    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows, as `Slot.write`, of which the numbers are written already."""
        block.put(self, self.numbers.missing[self.place, : stop - start])


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

    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        codes = self.codes[start:stop]
        if self.mask is not None:
            codes = codes.astype(np.int64)
            np.copyto(codes, len(self.targets) - 1, where=self.mask[start:stop])
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

    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        x = self.values[start:stop].astype(np.float64)
        if self.mask is not None:
            np.copyto(x, np.nan, where=self.mask[start:stop])
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

    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        times = self.times[start:stop]
        if self.mask is not None:
            times = np.where(self.mask[start:stop], np.datetime64("NaT"), times)
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


def writers(layout: Layout, table: pa.Table) -> list[Slot]:
    """Make the slots of a layout over a table, in the order of the features.

    Raises
    ------
    DataError
        When a column is missing or of another kind.
    """
    slots: list[Slot] = []
    numbers = Numbers(0, 0, [], [], [], [])
    places: dict[str, int] = {}
    position = 0
    for group in layout.groups:
        feature = group.start
        if group.sort == "numbers" and not numbers.plans:
            numbers.feature, numbers.position = feature, position
            slots.append(numbers)
        for plan in group.plans:
            array = None if group.sort == "missing" else single_array(table, plan.name)
            if group.sort == "numbers":
                values, mask = read_numbers(array, plan.name)
                places[plan.name] = len(places)
                numbers.plans.append(plan)
                numbers.values.append(values)
                numbers.masks.append(mask)
                numbers.indicators.append(-1)
                position += 1
                feature += 1
            elif group.sort == "missing":
                if trades_places(plan):
                    numbers.indicators[places[plan.name]] = feature
                else:
                    slots.append(Indicator(feature, position, numbers, places[plan.name]))
                    position += 1
                feature += 1
            elif group.sort in {"ordinal", "one_hot"}:
                slots.append(_category_slot(plan, array, feature, position))
                position += 1
                feature += len(plan.labels) if group.sort == "one_hot" else 1
            else:
                parts = _time_slots(group, plan, array, feature, position)
                slots += parts
                position += len(parts)
                feature += sum(part.part.values or 1 for part in parts)
    return slots


def _time_slots(group: Group, plan: Any, array: pa.Array, feature: int, position: int) -> list[TimePart]:
    times, mask = read_times(array, plan.name)
    slots: list[TimePart] = []
    for part in plan.of_sort(one_hot=group.sort == "time_cycles"):
        slots.append(TimePart(feature, position + len(slots), part, times, mask))
        feature += part.values or 1
    return slots


def _category_slot(plan: CategoryPlan, array: pa.Array, feature: int, position: int) -> Slot:
    bucket = len(plan.frequent) + (plan.missing_is == "frequent")
    if plan.numbers:
        other = feature + bucket if plan.has_bucket else -1
        known = np.array([*plan.frequent], dtype=np.float64)
        absent = feature + len(known) if plan.missing_is == "frequent" else other
        targets = np.array([*range(feature, feature + len(known)), other, absent])
        if plan.fill is not None:
            found = np.flatnonzero(known == plan.fill)
            targets[-1] = feature + found[0] if len(found) else other
        values, mask = read_numbers(array, plan.name)
        return NumberCodes(feature, position, plan, values, mask, known, targets)
    codes, mask, words = read_codes(array, plan.name)
    # The last word stands for missing ones.
    words = pa.concat_arrays([words, pa.array([None], pa.large_string())]).fill_null(plan.fill)
    found = _index(words, plan.frequent)
    if plan.encode == "ordinal":
        found[(found < 0) & (_index(words, plan.rare) >= 0)] = bucket
        return Codes(feature, position, codes, mask, found.astype(np.float64), one_hot=False)
    if plan.has_bucket:
        found[found < 0] = bucket
    present = found >= 0
    targets = (np.where(present, found, 0) + feature).astype(np.int32)
    some_absent = None if present.all() else present
    return Codes(feature, position, codes, mask, targets, one_hot=True, present=some_absent)


def _index(words: pa.Array, values: tuple[Any, ...]) -> NDArray[np.int64]:
    """Return the place of each word among values, `UNSEEN_CODE` where it is none of them."""
    found = pc.index_in(words, value_set=pa.array(values, pa.large_string()))
    places = found.fill_null(UNSEEN_CODE).to_numpy(zero_copy_only=False)
    return np.asarray(places, dtype=np.int64).copy()
