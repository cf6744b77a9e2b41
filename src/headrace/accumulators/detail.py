"""How much is held of one column: points of its quantiles, counters of its frequent values, hashes of its distinct ones."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.accumulators.distinct import SIZE, STORED_SIZE
from headrace.accumulators.hitters import COUNTERS
from headrace.accumulators.quantiles import POINTS, STORED_POINTS


@dataclass(frozen=True)
class Detail:
    """Sizes of the sketches of one column in one group of rows."""

    points: int
    """Points of a quantile sketch: a summary that is cut to so many adds 1 / (2 points) to its rank error at most."""
    counters: int
    """Counters of frequent values: a count is too low by a share of 1 / (counters + 1) of the rows at most."""
    hashes: int
    """Smallest hashes: distinct values beyond are counted with a relative standard error of 1 / sqrt(hashes - 2)."""

    def __str__(self) -> str:
        """Say what is kept."""
        return (
            f"of a column {self.points} points of its quantiles are kept (up to {50 / self.points:.2g} % of rank error more), "
            f"{self.counters} frequent values, and {self.hashes} hashes of distinct ones"
        )

    @property
    def bytes(self) -> int:
        """Of arrays that are full: a number a point, a number and its count a counter, a hash."""
        return 8 * self.points + 16 * self.counters + 8 * self.hashes

    def divided(self, by: int) -> Detail:
        """Return the sizes divided, but for what is too little to be of use.

        Examples
        --------
        >>> FULL.divided(16)
        Detail(points=128, counters=62, hashes=256)
        """
        return Detail(max(64, self.points // by), max(16, self.counters // by), max(128, self.hashes // by))

    def within(self, other: Detail) -> Detail:
        """Return the smaller of the sizes."""
        sizes = ("points", "counters", "hashes")
        return Detail(**{size: min(getattr(self, size), getattr(other, size)) for size in sizes})


FULL = Detail(POINTS, COUNTERS, SIZE)
"""As measured."""
STORED = Detail(STORED_POINTS, COUNTERS, STORED_SIZE)
"""As stored."""
