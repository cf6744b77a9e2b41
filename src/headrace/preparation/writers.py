"""From a layout and a table to the slots that write it, in the order of the features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.preparation.columns import Codes, Indicator, NumberCodes, Numbers, TimePart
from headrace.preparation.layout import trades_places
from headrace.preparation.native_columns import NativeCodes, NativeNumbers
from headrace.preparation.plans import UNSEEN_CODE
from headrace.preparation.reading import read_codes, read_numbers, read_times, single_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.preparation.blocks import Slot
    from headrace.preparation.layout import Group, Layout
    from headrace.preparation.native import Loops
    from headrace.preparation.plans import CategoryPlan


def writers(layout: Layout, table: pa.Table, loops: Loops | None = None) -> list[Slot]:
    """Make the slots of a layout over a table, in the order of the features; with compiled loops where they are given.

    Raises
    ------
    DataError
        When a column is missing or of another kind.
    """
    slots: list[Slot] = []
    numbers = Numbers(0, 0, [], [], [], []) if loops is None else NativeNumbers(0, 0, [], [], [], [], loops)
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
                slots.append(_category_slot(plan, array, feature, position, loops))
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


def _category_slot(
    plan: CategoryPlan, array: pa.Array, feature: int, position: int, loops: Loops | None
) -> Slot:
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
    made = Codes(feature, position, codes, mask, targets, one_hot=True, present=some_absent)
    return made if loops is None else NativeCodes(**vars(made), loops=loops)


def _index(words: pa.Array, values: tuple[Any, ...]) -> NDArray[np.int64]:
    """Return the place of each word among values, `UNSEEN_CODE` where it is none of them."""
    found = pc.index_in(words, value_set=pa.array(values, pa.large_string()))
    places = found.fill_null(UNSEEN_CODE).to_numpy(zero_copy_only=False)
    return np.asarray(places, dtype=np.int64).copy()
