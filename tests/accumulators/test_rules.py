"""Outcomes of rules are counted exactly by part, and the first places where one is broken are kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import chunkings, merge_trees

from headrace.accumulators.rules import EXAMPLES, RuleCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 120


def counted(outcomes: NDArray[np.uint8], parts: NDArray[np.uint8], rows: NDArray[np.int64]) -> RuleCounts:
    def places(broken: NDArray[np.int64]) -> list[tuple[str, int]]:
        return [("a" if row < 70 else "b", row) for row in rows[broken].tolist()]

    return RuleCounts.empty(len(outcomes), 3).update(list(outcomes), places, parts)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 1000))
def test_counts_and_first_places_do_not_depend_on_the_split(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = rng.integers(0, 3, (2, ROWS)).astype(np.uint8)
    parts = rng.integers(0, 3, ROWS).astype(np.uint8)
    rows = np.arange(ROWS)
    cuts = data.draw(chunkings(ROWS))
    leaves = [counted(outcomes[:, cut], parts[cut], rows[cut]) for cut in cuts]
    merged = data.draw(merge_trees())(leaves, RuleCounts.merge)
    for rule, found in enumerate(merged.result()):
        assert found["held"] == int((outcomes[rule] == 1).sum())
        assert found["broken"] == int((outcomes[rule] == 0).sum())
        assert found["unknown"] == int((outcomes[rule] == 2).sum())
        broken = np.flatnonzero(outcomes[rule] == 0)[:EXAMPLES].tolist()
        assert [row for _, row in found["first"]] == broken
        for part in range(3):
            here = outcomes[rule][parts == part]
            assert merged.counts[rule, part].tolist() == np.bincount(here, minlength=3).tolist()
    again = RuleCounts.from_state(json.loads(json.dumps(merged.state())))
    assert again.result() == merged.result()
