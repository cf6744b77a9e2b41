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
    """A number: fill, clip, ``(x - center) / spread``."""

    plan: NumericPlan
    values: NDArray[Any]
    mask: Mask | None
    indicator: int = -1
    """Feature of the indicator that trades places with it, or -1."""
    missing: Mask | None = None
    """Missing rows of the block that was written last."""

    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        plan = self.plan
        x = self.values[start:stop].astype(np.float64)
        mask = None if self.mask is None else self.mask[start:stop]
        fill = 0.0 if plan.fill is None else plan.fill
        if mask is not None:
            # What lies under a null may be anything, NaN and infinity too.
            np.copyto(x, fill, where=mask)
        # A sum of squares is not finite when a value is not: the cheapest look at all of them.
        if self.values.dtype.kind == "f" and not math.isfinite(x.dot(x)):
            mask = self._missing(x, mask)
            if mask is not None:
                np.copyto(x, fill, where=mask)
        if plan.low is not None:
            np.clip(x, plan.low, plan.high, out=x)
        if plan.center:
            x -= plan.center
        if plan.spread != 1:
            x /= plan.spread
        if plan.fill is None and mask is not None:
            np.copyto(x, np.nan, where=mask)
        self.missing = mask
        if self.indicator >= 0 and mask is not None:
            block.put_trading(self, self.indicator, x, mask)
        else:
            block.put(self, x)

    def _missing(self, x: NDArray[np.float64], mask: Mask | None) -> Mask | None:
        if np.isinf(x).any():
            raise DataError(
                "holds infinite values",
                where=f"column {self.plan.name!r}",
                mend="drop the column (prepare.columns), or replace them in a features function",
            )
        nans = np.isnan(x)
        if not nans.any():
            return mask
        return nans if mask is None else nans | mask


@dataclass
class Indicator(Slot):
    """Whether a number is missing, as an entry of its own."""

    number: Numbers

    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows, as `Slot.write`, of which the number is written already."""
        missing = self.number.missing
        block.put(self, np.zeros(stop - start, dtype=np.bool_) if missing is None else missing)


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
    numbers: dict[str, Numbers] = {}
    for group in layout.groups:
        feature = group.start
        for plan in group.plans:
            array = None if group.sort == "missing" else single_array(table, plan.name)
            if group.sort == "numbers":
                values, mask = read_numbers(array, plan.name)
                number = Numbers(feature, len(slots), plan, values, mask)
                numbers[plan.name] = number
                slots.append(number)
                feature += 1
            elif group.sort == "missing":
                if trades_places(plan):
                    numbers[plan.name].indicator = feature
                else:
                    slots.append(Indicator(feature, len(slots), numbers[plan.name]))
                feature += 1
            elif group.sort in {"ordinal", "one_hot"}:
                slots.append(_category_slot(plan, array, feature, len(slots)))
                feature += len(plan.labels) if group.sort == "one_hot" else 1
            else:
                feature = _time_slots(group, plan, array, feature, slots)
    return slots


def _time_slots(group: Group, plan: Any, array: pa.Array, feature: int, slots: list[Slot]) -> int:
    times, mask = read_times(array, plan.name)
    for part in plan.of_sort(one_hot=group.sort == "time_cycles"):
        slots.append(TimePart(feature, len(slots), part, times, mask))
        feature += part.values or 1
    return feature


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
