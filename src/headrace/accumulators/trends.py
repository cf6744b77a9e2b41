"""Counts, missing values, means and classes per hour, day, month or year: as fine as a bounded number of periods allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Grain = Literal["hour", "day", "month", "year"]
GRAINS: tuple[Grain, ...] = ("hour", "day", "month", "year")
"""From the finest; each period of one lies in one period of the next."""
_CODES = {"hour": "h", "day": "D", "month": "M", "year": "Y"}
PERIODS = 1500
"""Periods that are held at most: two months by the hour, four years by the day."""
CLASSES = 32
"""Labels of a target that are told apart at most."""
_SPARSE = 8
"""Hours a row beyond which periods are found by sorting rather than by counting."""


@dataclass(frozen=True)
class Trend:
    """What columns do over time.

    The grain is the finest at which all rows seen fall into at most 1,500 periods (but never coarser than years), so it
    depends on the rows and not on how they were split. Counts are exact; sums are exact up to rounding.

    Attributes
    ----------
    names : tuple of str, length c
        Columns.
    grain : {"hour", "day", "month", "year"}
    periods : ndarray of int64, shape (p,)
        Ascending, counted in `grain` since 1970.
    rows : ndarray of int64, shape (p,)
        Rows of each period.
    missing : ndarray of int64, shape (p, c)
        Nulls and NaN.
    finite : ndarray of int64, shape (p, c)
        Finite numbers, of which `sums` is the sum; 0 for columns that are not numbers.
    sums : ndarray of float64, shape (p, c)
    classes : dict of str to ndarray of int64, shape (p,)
        Rows of each label of the target.
    overflow : bool
        The labels are more than 32 and not told apart.
    """

    names: tuple[str, ...]
    grain: Grain
    periods: NDArray[np.int64]
    rows: NDArray[np.int64]
    missing: NDArray[np.int64]
    finite: NDArray[np.int64]
    sums: NDArray[np.float64]
    classes: dict[str, NDArray[np.int64]]
    overflow: bool = False

    @classmethod
    def empty(cls, names: Sequence[str]) -> Self:
        """Nothing seen of the columns `names`."""
        none = np.empty(0, dtype=np.int64)
        table = np.empty((0, len(names)), dtype=np.int64)
        return cls(tuple(names), "hour", none, none, table, table, table.astype(np.float64), {})

    @classmethod
    def of(
        cls,
        hours: NDArray[np.int64],
        names: Sequence[str],
        values: Mapping[str, NDArray[Any]],
        absent: Mapping[str, NDArray[np.bool_]],
        classes: tuple[NDArray[np.uint8], Sequence[str]] | None = None,
        *,
        overflow: bool = False,
    ) -> Self:
        """Count rows.

        Parameters
        ----------
        hours : ndarray of int64, shape (n,)
            Hours since 1970 of each row.
        names : sequence of str
            All columns.
        values : mapping of str to ndarray of numbers, shape (n,)
            Columns that have a mean; NaN is missing.
        absent : mapping of str to ndarray of bool, shape (n,)
            Where other columns are missing; those without missing values may be left out.
        classes : pair of ndarray of uint8, shape (n,), and sequence of str, optional
            Code of each row's label, and the labels.
        overflow : bool
            The rows have too many labels.
        """
        if not len(hours):
            return replace(cls.empty(names), overflow=overflow)
        grain, periods, at = _periods(hours)
        p = len(periods)
        ordered = bool((at[1:] >= at[:-1]).all())
        starts = np.searchsorted(at, np.arange(p)) if ordered else None
        rows = np.bincount(at, minlength=p)
        missing = np.zeros((p, len(names)), dtype=np.int64)
        finite = np.zeros_like(missing)
        sums = np.zeros((p, len(names)))
        for j, name in enumerate(names):
            if name in values:
                held = values[name]
                odd = np.flatnonzero(~np.isfinite(held)) if held.dtype.kind == "f" else at[:0]
                if len(odd):
                    missing[:, j] = np.bincount(at[odd[np.isnan(held[odd])]], minlength=p)
                    held = held.copy()
                    held[odd] = 0
                finite[:, j] = rows - np.bincount(at[odd], minlength=p)
                with np.errstate(over="ignore"):
                    sums[:, j] = (
                        np.bincount(at, weights=held, minlength=p)
                        if starts is None
                        else np.add.reduceat(held, starts, dtype=np.float64)
                    )
            elif name in absent:
                missing[:, j] = np.bincount(at[absent[name]], minlength=p)
        found: dict[str, NDArray[np.int64]] = {}
        if classes is not None:
            codes, labels = classes
            table = np.bincount(codes * np.int64(p) + at, minlength=p * len(labels)).reshape(len(labels), p)
            found = {label: table[i] for i, label in enumerate(labels) if table[i].any()}
        return cls(tuple(names), grain, periods, rows, missing, finite, sums, found, overflow)

    def merge(self, other: Self) -> Self:
        """Return what both hold; the columns must be the same."""
        assert self.names == other.names
        step = max(GRAINS.index(self.grain), GRAINS.index(other.grain))
        while True:
            left, right = self._coarse(GRAINS[step]), other._coarse(GRAINS[step])
            periods = np.union1d(left.periods, right.periods)
            if len(periods) <= PERIODS or step == len(GRAINS) - 1:
                break
            step += 1
        overflow = (
            self.overflow or other.overflow or len(left.classes.keys() | right.classes.keys()) > CLASSES
        )
        sides = [(side, np.searchsorted(periods, side.periods)) for side in (left, right)]

        def added(read: Any, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
            whole: NDArray[Any] = np.zeros(shape, dtype)
            for side, at in sides:
                part = read(side)
                if part is not None:
                    whole[at] += part
            return whole

        p, c = len(periods), len(self.names)
        labels = [] if overflow else sorted(left.classes.keys() | right.classes.keys())
        return replace(
            left,
            periods=periods,
            rows=added(lambda side: side.rows, (p,), np.int64),
            missing=added(lambda side: side.missing, (p, c), np.int64),
            finite=added(lambda side: side.finite, (p, c), np.int64),
            sums=added(lambda side: side.sums, (p, c), np.float64),
            classes={
                label: added(lambda side, key=label: side.classes.get(key), (p,), np.int64)
                for label in labels
            },
            overflow=overflow,
        )

    def _coarse(self, grain: Grain) -> Self:
        return self if grain == self.grain else self.by(coarser(self.periods, self.grain, grain), grain)

    def by(self, group: NDArray[np.int64], grain: Grain) -> Self:
        """Return the sums over groups of periods; `group`, ascending, is the number of each period's group."""
        if not len(group):
            return replace(self, grain=grain)
        starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        return replace(
            self,
            grain=grain,
            periods=group[starts],
            rows=np.add.reduceat(self.rows, starts),
            missing=np.add.reduceat(self.missing, starts, axis=0),
            finite=np.add.reduceat(self.finite, starts, axis=0),
            sums=np.add.reduceat(self.sums, starts, axis=0),
            classes={label: np.add.reduceat(part, starts) for label, part in self.classes.items()},
        )

    def starts(self) -> NDArray[np.datetime64]:
        """Return when each period begins, shape (p,), to the second."""
        held = self.periods.astype(f"datetime64[{_CODES[self.grain]}]")
        return held.astype("datetime64[s]")

    def result(self) -> dict[str, Any]:
        """Return the grain, and for each period its start, rows, missing shares, means and rows by class."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.sums / self.finite
            shares = self.missing / self.rows[:, None]
        return {
            "grain": self.grain,
            "start": self.starts().astype(str).tolist(),
            "rows": self.rows,
            "missing": {name: shares[:, j] for j, name in enumerate(self.names)},
            "mean": {name: means[:, j] for j, name in enumerate(self.names) if self.finite[:, j].any()},
            "classes": self.classes,
        }

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        arrays = ("periods", "rows", "missing", "finite", "sums")
        return {
            "names": list(self.names),
            "grain": self.grain,
            **{key: encode_array(getattr(self, key)) for key in arrays},
            "classes": {label: encode_array(part) for label, part in self.classes.items()},
            "overflow": self.overflow,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        arrays = {key: decode_array(state[key]) for key in ("periods", "rows", "missing", "finite", "sums")}
        classes = {label: decode_array(part) for label, part in state["classes"].items()}
        return cls(
            tuple(state["names"]), state["grain"], classes=classes, overflow=state["overflow"], **arrays
        )


def coarser(periods: NDArray[np.int64], grain: Grain, wanted: Grain) -> NDArray[np.int64]:
    """Return the period of a coarser grain in which each period lies.

    Examples
    --------
    >>> coarser(np.array([-1, 0, 31, 59]), "day", "month").tolist()
    [-1, 0, 1, 2]
    """
    moments = periods.astype(f"datetime64[{_CODES[grain]}]")
    return moments.astype(f"datetime64[{_CODES[wanted]}]").astype(np.int64)


def _periods(hours: NDArray[np.int64]) -> tuple[Grain, NDArray[np.int64], NDArray[np.int64]]:
    """Return the grain, the periods, and the place of each row's among them."""
    low, high = int(hours.min()), int(hours.max())
    if high - low < max(_SPARSE * len(hours), 1 << 12):
        places = hours - low
        present = np.flatnonzero(np.bincount(places, minlength=1))
        lookup = np.zeros(int(present[-1]) + 1, dtype=np.int64)
        fine = present + low
    else:
        fine, places = np.unique(hours, return_inverse=True)
        present, lookup = np.arange(len(fine)), np.zeros(len(fine), dtype=np.int64)
    for grain in GRAINS:
        found = fine if grain == "hour" else coarser(fine, "hour", grain)
        periods, at = np.unique(found, return_inverse=True)
        if len(periods) <= PERIODS or grain == GRAINS[-1]:
            break
    lookup[present] = at
    return grain, periods, lookup[places]
