"""Rows of many groups in the order of time: which rows each looks back at, and statistics over them, exactly.

Every window is summed up for itself, from its first row to its last, so that a result depends on the rows of the window
alone and not on where the data were cut. That costs the rows times the length of the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from numpy.typing import NDArray

BLOCK = 1 << 18
"""Values that are laid out at once, or those of one window."""


@dataclass(frozen=True)
class GroupedRows:
    """Rows sorted by group, those of a group as they came. A *position* is a place among the sorted rows."""

    order: NDArray[np.int64]
    """Places of the rows before they were sorted, shape (rows,)."""
    codes: NDArray[np.int64]
    """Groups, ascending, shape (rows,)."""
    times: NDArray[np.int64]
    """Of a group never decreasing, shape (rows,)."""

    @classmethod
    def of(cls, keys: NDArray[np.uint64], known: NDArray[np.bool_], times: NDArray[np.int64]) -> Self:
        """Sort rows that come in the order of time.

        Parameters
        ----------
        keys : ndarray of uint64, shape (rows,)
            Equal for the rows of a group.
        known : ndarray of bool, shape (rows,)
            Where it is false, the row is a group of its own.
        times : ndarray of int64, shape (rows,)
            Never decreasing.
        """
        found, codes = np.unique(keys, return_inverse=True)
        alone = np.flatnonzero(~known)
        codes[alone] = len(found) + np.arange(len(alone))
        order = np.argsort(codes, kind="stable")
        return cls(order, codes[order], times[order])

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """The position of each row as they came, shape (rows,)."""
        places = np.empty_like(self.order)
        places[self.order] = np.arange(len(self.order))
        return places

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """Position of the first row of the group, of each position, shape (rows,)."""
        return np.searchsorted(self.codes, self.codes, side="left")

    @cached_property
    def stop(self) -> NDArray[np.int64]:
        """Position after the last row of the group, of each position, shape (rows,)."""
        return np.searchsorted(self.codes, self.codes, side="right")

    @cached_property
    def _moments(self) -> NDArray[np.int64]:
        return np.unique(self.times)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Group and time as one ascending number."""
        return self._place(self.codes, np.searchsorted(self._moments, self.times))

    def _place(self, codes: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        return codes * (len(self._moments) + 1) + ranks

    def after(self, at: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the first row that is later than `times`, in the groups of the rows at `at`; `stop` if none is."""
        ranks = np.searchsorted(self._moments, times, side="right")
        return np.searchsorted(self._places, self._place(self.codes[at], ranks))

    def since(self, at: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the first row that is not before `times`, in the groups of the rows at `at`; `stop` if none is."""
        ranks = np.searchsorted(self._moments, times, side="left")
        return np.searchsorted(self._places, self._place(self.codes[at], ranks))

    def ends(self, at: NDArray[np.int64], gap: int) -> NDArray[np.int64]:
        """Positions after the last row that the rows at `at` look back at: one before, and at least `gap` older."""
        return at if gap == 0 else np.minimum(at, self.after(at, self.times[at] - gap))

    def starts(
        self, at: NDArray[np.int64], ends: NDArray[np.int64], *, rows: int | None, span: int
    ) -> NDArray[np.int64]:
        """Positions of the first row that the rows at `at` look back at: `rows` before their end, or at most `span` older."""
        if rows is not None:
            return np.maximum(self.first[at], ends - rows)
        return np.minimum(self.since(at, self.times[at] - span), ends)

    def lagged(self, at: NDArray[np.int64], ends: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
        """Positions so many rows before the ends; -1 where the group has none."""
        found = ends - rows
        return np.where(found >= self.first[at], found, -1)

    def last(self, valid: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Position of the last valid row of the group up to each position, itself included; -1 where there is none.

        Parameters
        ----------
        valid : ndarray of bool, shape (rows,)
            By position.
        """
        found = np.maximum.accumulate(np.where(valid, np.arange(len(valid)), -1))
        return np.where(found >= self.first, found, -1)


def statistics(
    values: NDArray[np.float64], starts: NDArray[np.int64], ends: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    """Sum up windows of values.

    Parameters
    ----------
    values : ndarray of float64, shape (rows,)
        NaN where missing.
    starts, ends : ndarray of int64, shape (windows,)
        The first position of each window, and the one after its last.
    names : sequence of {"mean", "min", "max", "sum", "std", "count"}
        What is asked for; ``std`` with one degree of freedom less than values, as pandas has it.

    Returns
    -------
    dict of str to ndarray, shape (windows,)
        ``count`` is of int64; the others are NaN where a window has no value, ``std`` where it has one only.

    Examples
    --------
    >>> found = statistics(np.array([1.0, np.nan, 4.0]), np.array([0, 0]), np.array([0, 3]), ["mean", "count"])
    >>> found["mean"].tolist(), found["count"].tolist()
    ([nan, 2.5], [0, 2])
    """
    made: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
        name: np.zeros(len(starts), np.int64) if name == "count" else np.full(len(starts), np.nan)
        for name in names
    }
    held = np.flatnonzero(ends > starts)
    with np.errstate(invalid="ignore", over="ignore"):  # infinities among the values
        for rows in _blocks(held, ends[held] - starts[held]):
            for name, found in _summed(values, starts[rows], ends[rows], names).items():
                made[name][rows] = found
    return made


def _blocks(windows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut windows into runs of about `BLOCK` values."""
    upto = np.cumsum(lengths)
    cut = 0
    while cut < len(windows):
        before = upto[cut - 1] if cut else 0
        end = max(cut + 1, int(np.searchsorted(upto, before + BLOCK, side="right")))
        yield windows[cut:end]
        cut = end


def _summed(
    values: NDArray[np.float64], starts: NDArray[np.int64], ends: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    flat = values[np.arange(lengths.sum()) - np.repeat(offsets - starts, lengths)]
    missing = np.isnan(flat)
    count = np.add.reduceat(~missing, offsets, dtype=np.int64)
    found: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {"count": count}
    if {"sum", "mean", "std"} & set(names):
        known = np.where(missing, 0.0, flat)
        found["sum"] = np.add.reduceat(known, offsets)
        found["mean"] = found["sum"] / np.maximum(count, 1)
        if "std" in names:
            apart = np.where(missing, 0.0, flat - np.repeat(found["mean"], lengths))
            squares = np.add.reduceat(apart * apart, offsets)
            found["std"] = np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
    if "min" in names:
        found["min"] = np.minimum.reduceat(np.where(missing, np.inf, flat), offsets)
    if "max" in names:
        found["max"] = np.maximum.reduceat(np.where(missing, -np.inf, flat), offsets)
    return {
        name: found[name] if name == "count" else np.where(count > 0, found[name], np.nan) for name in names
    }
