"""Frequent values: exact while few are distinct, then counters with a proved error."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.documents import decode_numbers, encode_numbers
from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.native import wanted_loops

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

EXACT = 10_000
"""Distinct values up to which counts are exact."""
COUNTERS = 1_000
"""Counters that are kept beyond."""


def _no_values() -> NDArray[Any]:
    return np.empty(0)


def _no_counts() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class HeavyHitters:
    """Counts of the most frequent values, after Misra and Gries (1982), merged as in Agarwal et al. (2012).

    While at most 10,000 values are distinct, every count is exact. Beyond, the (k + 1)-th largest count, k = 1,000, is
    subtracted from all and what is left above zero stays. Each unit subtracted takes away at least k + 1 rows, so over
    any merge tree no count is too low by more than `error` <= n / (k + 1), and none is too high. A value that is not
    held occurs at most `error` times. At most 160 kB for numbers.

    Attributes
    ----------
    values : ndarray of numbers (ascending) or tuple of str, length c
        The values that are held.
    counts : ndarray of int64, shape (c,)
        Rows of each; positive.
    error : int
        No count is too low by more than this; 0 means exact.
    n : int
        Rows seen.

    Examples
    --------
    >>> few = HeavyHitters.of(("b", "a"), np.array([2, 1]))
    >>> few.merge(HeavyHitters.of(("a",), np.array([4]))).items()
    [('a', 5), ('b', 2)]
    """

    values: NDArray[Any] | tuple[str, ...] = field(default_factory=_no_values)
    counts: NDArray[np.int64] = field(default_factory=_no_counts)
    error: int = 0
    n: int = 0

    @classmethod
    def of(cls, values: NDArray[Any] | Sequence[str], counts: NDArray[Any]) -> Self:
        """Count values that are distinct already.

        Parameters
        ----------
        values : ndarray of numbers in ascending order, or sequence of str; length c
            Distinct.
        counts : ndarray of positive integers, shape (c,)
        """
        if not len(counts):
            return cls()
        held = values if isinstance(values, np.ndarray) else tuple(values)
        rows = counts.astype(np.int64)
        return cls(held, rows, 0, int(rows.sum())).compact(EXACT)

    @classmethod
    def of_sorted(cls, values: NDArray[Any], distinct: int) -> Self:
        """Count numbers in ascending order of which more than 10,000 are distinct.

        With t = `distinct` // (k + 1), taking min(count, t) from each value removes at least `distinct` >= (k + 1) t
        rows, which is what the error of t allows; so only values that occur more than t times need to be looked at,
        and those have ``values[i] == values[i + t]``.

        Parameters
        ----------
        values : ndarray of numbers, shape (n,)
            Ascending.
        distinct : int
            How many are distinct; more than 10,000.
        """
        assert distinct > EXACT
        taken = distinct // (COUNTERS + 1)
        long_runs = values[:0].copy()  # a view would keep the whole chunk
        if len(values) - distinct >= taken:  # so many repetitions it takes for one value to occur more often
            long_runs = values[:-taken][values[taken:] == values[:-taken]]
        if not len(long_runs):
            return cls(long_runs, _no_counts(), taken, len(values))
        held = long_runs[np.concatenate([[True], long_runs[1:] != long_runs[:-1]])]
        counts = np.searchsorted(values, held, side="right") - np.searchsorted(values, held, side="left")
        return cls(held, counts.astype(np.int64) - taken, taken, len(values)).compact(EXACT)

    def update(self, values: NDArray[Any] | Sequence[str]) -> Self:
        """Return the counts with further values, in any order, repeated as they occur."""
        distinct, counts = np.unique(np.asarray(values), return_counts=True)
        strings = distinct.dtype.kind in "OUT"
        return self.merge(self.of(distinct.tolist() if strings else distinct, counts))

    @property
    def exact(self) -> bool:
        """Whether every value is held with its count."""
        return self.error == 0

    def merge(self, other: Self) -> Self:
        """Return the counts of both."""
        if not other.n:
            return self
        if not self.n:
            return other
        error, n = self.error + other.error, self.n + other.n
        if isinstance(self.values, tuple) or isinstance(other.values, tuple):
            table = dict(zip(self.values, self.counts.tolist(), strict=True))
            for value, count in zip(other.values, other.counts.tolist(), strict=True):
                table[value] = table.get(value, 0) + count
            counts = np.fromiter(table.values(), dtype=np.int64, count=len(table))
            return type(self)(tuple(table), counts, error, n).compact(EXACT)
        values, counts = _sum_counts(self.values, self.counts, other.values, other.counts)
        return type(self)(values, counts, error, n).compact(EXACT)

    def compact(self, exact: int = COUNTERS, counters: int = COUNTERS) -> Self:
        """Return at most `exact` exact counts, else at most `counters` counters; the default is for storing."""
        limit = exact if self.error == 0 else counters
        if len(self.counts) <= limit:
            return self
        taken = int(np.partition(self.counts, len(self.counts) - counters - 1)[-counters - 1])
        stay = np.flatnonzero(self.counts > taken)
        values = (
            tuple(self.values[i] for i in stay.tolist())
            if isinstance(self.values, tuple)
            else self.values[stay]
        )
        return type(self)(values, self.counts[stay] - taken, self.error + taken, self.n)

    def restricted(self, told: Collection[Any]) -> Self:
        """Return the counts of these values alone; `error` grows to the largest count that is left out."""
        values = self.values if isinstance(self.values, tuple) else self.values.tolist()
        stays = np.array([value in told for value in values], dtype=bool)
        if stays.all():
            return self
        held = (
            tuple(itertools.compress(self.values, stays))
            if isinstance(self.values, tuple)
            else self.values[stays]
        )
        return type(self)(held, self.counts[stays], self.error + int(self.counts[~stays].max()), self.n)

    def items(self) -> list[tuple[Any, int]]:
        """Return (value, count) as Python scalars, the most frequent first, equal counts by value."""
        values = self.values if isinstance(self.values, tuple) else self.values.tolist()
        pairs = zip(values, self.counts.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    def result(self) -> list[tuple[Any, int]]:
        """Return `items`."""
        return self.items()

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        if isinstance(self.values, tuple):
            held: dict[str, Any] = {"dtype": "str", "values": list(self.values)}
        elif (
            len(self.values) > COUNTERS
        ):  # more than is stored for people to read: 16 times as fast as digits
            held = {"values": encode_array(self.values)}
            return {**held, "counts": encode_array(self.counts), "error": self.error, "n": self.n}
        else:
            held = encode_numbers(self.values)
        return {**held, "counts": self.counts.tolist(), "error": self.error, "n": self.n}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        if "dtype" not in state:
            return cls(
                decode_array(state["values"]), decode_array(state["counts"]), state["error"], state["n"]
            )
        values = tuple(state["values"]) if state["dtype"] == "str" else decode_numbers(state)
        return cls(values, np.array(state["counts"], dtype=np.int64), state["error"], state["n"])


def _sum_counts(
    left: NDArray[Any], left_counts: NDArray[np.int64], right: NDArray[Any], right_counts: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Union of numbers in ascending order, and their summed counts."""
    if not len(left) or not len(right):
        return (left, left_counts) if len(left) else (right, right_counts)
    loops = wanted_loops()
    if loops is not None and left.dtype == right.dtype:
        most = len(left) + len(right)
        values, counts = np.empty(most, dtype=left.dtype), np.empty(most, dtype=np.int64)
        count = loops.sum_counts(left, left_counts, right, right_counts, values, counts)
        return values[:count].copy(), counts[:count].copy()
    if np.array_equal(left, right):
        return left, left_counts + right_counts
    values = np.concatenate([left, right])
    order = np.argsort(values, kind="stable")
    values = values[order]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[starts], np.add.reduceat(np.concatenate([left_counts, right_counts])[order], starts)
