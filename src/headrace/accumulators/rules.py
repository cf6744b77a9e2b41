"""For how many rows of each part each rule is true, false or unknown, and where it is broken first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

FALSE, TRUE, UNKNOWN = range(3)
EXAMPLES = 5
"""Places of broken rows that are kept for each rule."""

Place = tuple[str, int]
"""A file, by its path in the dataset, and the number of a row in it."""


@dataclass(frozen=True)
class RuleCounts:
    """Outcomes of conditions on rows: exact, whatever the chunks.

    Attributes
    ----------
    counts : ndarray of int64, shape (rules, parts, 3)
        Rows for which a rule is false, true and unknown.
    first : tuple of tuple of (str, int), one for each rule
        The first `EXAMPLES` places where it is false, by file and row.
    """

    counts: NDArray[np.int64]
    first: tuple[tuple[Place, ...], ...]

    @classmethod
    def empty(cls, rules: int, parts: int = 1) -> Self:
        """Count no rows."""
        return cls(np.zeros((rules, parts, 3), dtype=np.int64), ((),) * rules)

    def update(
        self,
        outcomes: Sequence[NDArray[np.uint8]],
        places: Callable[[NDArray[np.int64]], list[Place]],
        parts: NDArray[np.uint8] | None = None,
    ) -> Self:
        """Return the counts with further rows.

        Parameters
        ----------
        outcomes : sequence of ndarray of uint8, shape (rows,)
            For each rule: `FALSE`, `TRUE` or `UNKNOWN` for every row.
        places : callable
            The first `EXAMPLES` places, by file and row, of the rows with these numbers.
        parts : ndarray of uint8, shape (rows,), optional
            The part of each row; absent, all are in the first.
        """
        width = self.counts.shape[1]
        counts = self.counts.copy()
        first = []
        for rule, found in enumerate(outcomes):
            joint = found if parts is None else parts * np.uint8(3) + found
            counts[rule] += np.bincount(joint, minlength=3 * width).reshape(width, 3)
            broken = np.flatnonzero(found == FALSE)
            first.append(_earliest(self.first[rule], places(broken) if len(broken) else ()))
        return replace(self, counts=counts, first=tuple(first))

    def merge(self, other: Self) -> Self:
        """Return the counts of both."""
        pairs = zip(self.first, other.first, strict=True)
        return replace(
            self,
            counts=self.counts + other.counts,
            first=tuple(_earliest(mine, theirs) for mine, theirs in pairs),
        )

    def result(self) -> list[dict[str, Any]]:
        """Return for each rule the rows that keep and break it and of which it is not known, in all parts."""
        totals = self.counts.sum(axis=1).tolist()
        return [
            {"held": held, "broken": broken, "unknown": unknown, "first": list(first)}
            for (broken, held, unknown), first in zip(totals, self.first, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """Everything held, as JSON."""
        first = [[list(place) for place in places] for places in self.first]
        return {"counts": encode_array(self.counts), "first": first}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        first = tuple(tuple((key, row) for key, row in places) for places in state["first"])
        return cls(decode_array(state["counts"]), first)


def _earliest(mine: Sequence[Place], theirs: Sequence[Place]) -> tuple[Place, ...]:
    return tuple(sorted([*mine, *theirs])[:EXAMPLES])
