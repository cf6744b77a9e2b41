"""Windows over grouped rows are summed up as numpy does it, each for itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.accumulators import windows
from headrace.accumulators.windows import GroupedRows, statistics

NAMES = ("mean", "min", "max", "sum", "std", "count")
numbers = st.floats(-1e6, 1e6) | st.just(float("nan"))


@given(values=st.lists(numbers, min_size=1, max_size=40), data=st.data(), block=st.integers(1, 50))
@settings(max_examples=60)
def test_every_window_is_summed_up_as_numpy_does(
    values: list[float], data: st.DataObject, block: int
) -> None:
    places = st.integers(0, len(values))
    pairs = data.draw(st.lists(st.tuples(places, places).map(sorted), max_size=20))
    starts = np.array([pair[0] for pair in pairs], np.int64)
    ends = np.array([pair[1] for pair in pairs], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "BLOCK", block)
        found = statistics(np.array(values), starts, ends, NAMES)
    whole = statistics(np.array(values), starts, ends, NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(found[name], whole[name])  # to the bit, however they are laid out
    for number, (start, end) in enumerate(pairs):
        held = np.array([value for value in values[start:end] if not np.isnan(value)])
        assert found["count"][number] == len(held)
        if len(held):
            for name in ("mean", "min", "max", "sum"):
                assert found[name][number] == pytest.approx(getattr(held, name)(), rel=1e-9, abs=1e-9)
        else:
            assert all(np.isnan(found[name][number]) for name in NAMES if name != "count")
        if len(held) > 1:
            assert found["std"][number] == pytest.approx(held.std(ddof=1), rel=1e-6, abs=1e-6)
        else:
            assert np.isnan(found["std"][number])


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), max_size=30),
    gap=st.integers(0, 6),
    span=st.integers(1, 9),
    few=st.integers(1, 4),
)
@settings(max_examples=60)
def test_rows_look_back_at_those_of_their_group(
    rows: list[tuple[int, bool, int]], gap: int, span: int, few: int
) -> None:
    keys = np.array([key for key, _, _ in rows], np.uint64)
    known = np.array([is_known for _, is_known, _ in rows], bool)
    times = np.cumsum([step for _, _, step in rows]).astype(np.int64)
    grouped = GroupedRows.of(keys, known, times)
    at = grouped.positions
    ends = grouped.ends(at, gap)
    by_rows = grouped.starts(at, ends, rows=few, span=0)
    by_time = grouped.starts(at, ends, rows=None, span=gap + span)
    last = grouped.last(np.ones(len(rows), bool))[at]
    for row in range(len(rows)):
        group = [k for k in range(row) if known[row] and known[k] and keys[k] == keys[row]]
        earlier = [k for k in group if times[k] <= times[row] - gap]
        assert grouped.order[by_rows[row] : ends[row]].tolist() == earlier[-few:]
        within = [k for k in earlier if times[k] >= times[row] - gap - span]
        assert grouped.order[by_time[row] : ends[row]].tolist() == within
        assert grouped.order[last[row]] == row
