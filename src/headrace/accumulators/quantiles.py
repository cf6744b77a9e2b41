"""Quantiles by a deterministic mergeable summary with a proved rank error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.documents import decode_number, encode_number
from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.native import wanted_loops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

POINTS = 2048
"""Points of a buffer."""
STORED_POINTS = 512
"""Points of a sketch that is stored."""


@dataclass(frozen=True)
class Buffer:
    """Sorted points that stand for `weight` rows together, each for ``weight / len(values)`` of them.

    Attributes
    ----------
    values : ndarray of numbers, shape (p,)
        Ascending.
    weight : int
        Rows; the buffer is exact when it equals p.
    """

    values: NDArray[Any]
    weight: int

    @property
    def exact(self) -> bool:
        """Whether each point is a row."""
        return len(self.values) == self.weight

    @property
    def level(self) -> int:
        """Base-4 logarithm of the weight, rounded down."""
        return (self.weight.bit_length() - 1) // 2


@dataclass(frozen=True)
class QuantileSketch:
    r"""Quantiles of finite numbers, after Agarwal, Cormode, Huang, Phillips, Wei and Yi, "Mergeable summaries" (2012).

    A *buffer* holds at most m = 2048 sorted points. A chunk of n rows is kept whole when n <= m; else its points are
    the values at the ranks (i + 1/2) n / m. Then the estimate R(x) = (n / m) #{points <= x} of the number of rows <= x
    is wrong by at most n / (2 m) for every x. Several buffers of W rows in all become one by the same choice from
    their union by cumulative weight, which adds at most W / (2 m) to the sum of their errors. The sum of all that was
    added is carried along as `error`; `rank_error` is `error` / n and is proved, not expected.

    Buffers whose weights lie in [4^l, 4^(l+1)) are on level l. They are fused as soon as they hold 4^(l+1) rows
    together, so at most three stay on a level, a fused row rises at least one level, and a sequential fold is as good
    as a balanced tree. Rows below 4^5 are on levels that are fused without loss. For N rows from chunks of any size,
    each row is fused with loss at most once on each of the levels 5 .. L where 4^L <= N, and chosen at most once in
    its chunk in place of the levels below the chunk's: for N = 10^9, L = 14, so at most 10 / (2 m) = 0.25 %, with
    `compact` (1 / 1024) 0.35 %; for N = 10^12, L = 19: 0.47 %. (The paper fuses in pairs, at powers of two; powers of
    four halve the error for one more buffer a level.)

    At most 3 buffers of 16 kB on each level above 5: 0.5 MB for 10^9 rows in the worst order, 16 to 50 kB after a
    balanced tree, 4 kB after `compact`.

    Attributes
    ----------
    points : int
        m.
    buffers : tuple of Buffer
        In order of level.
    error : float
        Proved bound on abs(R(x) - true number of rows <= x) for every x, in rows.
    minimum, maximum : float
        Extremes, exact; NaN when empty.

    Examples
    --------
    >>> left, right = QuantileSketch.of_sorted(np.arange(50_000)), QuantileSketch.of_sorted(np.arange(50_000, 100_000))
    >>> both = left.merge(right)
    >>> bool(abs(both.quantile(0.5) - 50_000) <= both.error), both.rank_error < 0.005
    (True, True)
    """

    points: int = POINTS
    buffers: tuple[Buffer, ...] = field(default=())
    error: float = 0.0
    minimum: float = math.nan
    maximum: float = math.nan

    @classmethod
    def of_sorted(cls, values: NDArray[Any], *, points: int = POINTS) -> Self:
        """Summarise finite numbers in ascending order.

        Parameters
        ----------
        values : ndarray of numbers, shape (n,)
            Ascending, without NaN; keeps its dtype. Not held on to.
        points : int
            m, at least 16.
        """
        n = len(values)
        if not n:
            return cls(points)
        first, last = values[0].item(), values[-1].item()
        if n <= points:
            return cls(points, (Buffer(values.copy(), n),), 0.0, first, last)
        return cls(points, (Buffer(values.take(_ranks(n, points)), n),), n / (2 * points), first, last)

    @classmethod
    def of_counts(cls, values: NDArray[Any], counts: NDArray[np.int64], *, points: int = POINTS) -> Self:
        """Summarise ascending distinct numbers and how often each occurs, as `of_sorted` does the repeated ones."""
        upto = np.cumsum(counts)
        n = int(upto[-1]) if len(upto) else 0
        if n <= points:
            return cls.of_sorted(np.repeat(values, counts), points=points)
        held = values[np.searchsorted(upto, _ranks(n, points), side="right")]
        return cls(points, (Buffer(held, n),), n / (2 * points), values[0].item(), values[-1].item())

    def update(self, values: NDArray[Any]) -> Self:
        """Return the sketch with further finite values, in any order."""
        return self.merge(self.of_sorted(np.sort(values), points=self.points))

    @property
    def n(self) -> int:
        """Rows seen."""
        return sum(buffer.weight for buffer in self.buffers)

    @property
    def exact(self) -> bool:
        """Whether every row is held."""
        return all(buffer.exact for buffer in self.buffers)

    @property
    def rank_error(self) -> float:
        """Proved bound on the error of any rank, as a fraction of n."""
        return self.error / self.n if self.buffers else 0.0

    def merge(self, other: Self) -> Self:
        """Return the sketch of both."""
        if not other.buffers:
            return self
        if not self.buffers:
            return other
        points = min(self.points, other.points)
        error = self.error + other.error
        levels: dict[int, list[Buffer]] = {}
        for buffer in _join_exact((*self.buffers, *other.buffers), points):
            levels.setdefault(buffer.level, []).append(buffer)
        kept: list[Buffer] = []
        while levels:
            level = min(levels)
            buffers = levels.pop(level)
            if sum(buffer.weight for buffer in buffers) < 4 ** (level + 1):
                kept += buffers
                continue
            fused, added = _fuse(buffers, points)
            error += added
            levels.setdefault(fused.level, []).append(fused)
        extremes = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        return type(self)(points, tuple(kept), error, *extremes)

    def quantile(self, q: ArrayLike) -> Any:
        """Return the value below which a share `q` of the rows lies.

        Exact (linear interpolation, as `numpy.quantile`) while every row is held; else a value of the data whose
        rank is within `rank_error` of `q`. The quantiles 0 and 1 are the extremes; of nothing, NaN.

        Parameters
        ----------
        q : float or array_like of float
            Shares in [0, 1].

        Returns
        -------
        float or ndarray of float64, shaped like `q`
        """
        shares = np.asarray(q, dtype=np.float64)
        if not self.buffers:
            found = np.full(shares.shape, math.nan)
        elif self.exact:
            found = np.asarray(np.quantile(np.concatenate([b.values for b in self.buffers]), shares))
        else:
            values, ranks = _union(self.buffers)
            index = np.searchsorted(ranks, shares * self.n, side="right")
            found = values[np.minimum(index, len(values) - 1)].astype(np.float64)
            found = np.where(shares <= 0, self.minimum, np.where(shares >= 1, self.maximum, found))
        return found.item() if found.ndim == 0 else found.astype(np.float64, copy=False)

    def cdf(self, x: ArrayLike) -> Any:
        """Return the share of rows <= `x`, within `rank_error`; NaN of nothing.

        Parameters
        ----------
        x : float or array_like of float

        Returns
        -------
        float or ndarray of float64, shaped like `x`
        """
        at = np.asarray(x)
        if not self.buffers:
            share = np.full(at.shape, math.nan)
        else:
            values, ranks = _union(self.buffers)
            below = np.concatenate([[0.0], ranks])[np.searchsorted(values, at, side="right")]
            share = np.where(at >= self.maximum, 1.0, np.where(at < self.minimum, 0.0, below / self.n))
        return share.item() if share.ndim == 0 else share

    def compact(self, points: int = STORED_POINTS) -> Self:
        """Return one buffer of at most `points` points, for storing; adds at most n / (2 `points`) to `error`."""
        if sum(len(buffer.values) for buffer in self.buffers) <= points:
            return self
        fused, added = _fuse(self.buffers, points)
        return type(self)(self.points, (fused,), self.error + added, self.minimum, self.maximum)

    def result(self) -> dict[str, float]:
        """Return the usual percentiles by name and the rank error."""
        percents = (1, 5, 25, 50, 75, 95, 99)
        found = self.quantile(np.array(percents) / 100)
        named = {f"p{percent:02d}": value for percent, value in zip(percents, found.tolist(), strict=True)}
        return {**named, "rank_error": self.rank_error}

    def state(self) -> dict[str, Any]:
        """Everything held, as JSON."""
        return {
            "points": self.points,
            "error": self.error,
            "minimum": encode_number(self.minimum),
            "maximum": encode_number(self.maximum),
            "buffers": [{"weight": b.weight, "values": encode_array(b.values)} for b in self.buffers],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        buffers = tuple(Buffer(decode_array(held["values"]), held["weight"]) for held in state["buffers"])
        extremes = decode_number(state["minimum"]), decode_number(state["maximum"])
        return cls(state["points"], buffers, state["error"], *extremes)


@lru_cache(maxsize=64)
def _ranks(n: int, points: int) -> NDArray[np.int64]:
    """floor((i + 1/2) n / m) in integers; kept, for columns without missing values have the same."""
    ranks = (2 * np.arange(points, dtype=np.int64) + 1) * n // (2 * points)
    ranks.flags.writeable = False
    return ranks


def _join_exact(buffers: Sequence[Buffer], points: int) -> list[Buffer]:
    """Join the exact buffers into one when they fit, which loses nothing."""
    exact = [buffer for buffer in buffers if buffer.exact]
    if len(exact) < 2 or sum(buffer.weight for buffer in exact) > points:
        return list(buffers)
    return [_fuse(exact, points)[0], *(buffer for buffer in buffers if not buffer.exact)]


def _union(buffers: Sequence[Buffer]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """All points in ascending order and the estimated number of rows up to and including each."""
    values = np.concatenate([buffer.values for buffer in buffers])
    share = np.concatenate([np.full(len(b.values), b.weight / len(b.values)) for b in buffers])
    order = np.argsort(values, kind="stable")  # merges the sorted runs
    return values[order], np.cumsum(share[order])


def _fuse(buffers: Sequence[Buffer], points: int) -> tuple[Buffer, float]:
    """One buffer in place of several, and the rows that this adds to the error."""
    weight = sum(buffer.weight for buffer in buffers)
    size = sum(len(buffer.values) for buffer in buffers)
    if size <= points and (len(buffers) == 1 or all(buffer.exact for buffer in buffers)):
        return Buffer(_union(buffers)[0], weight), 0.0
    step = weight / points
    loops = wanted_loops()
    if loops is not None:
        values = np.concatenate([buffer.values for buffer in buffers])
        ends = np.cumsum([len(buffer.values) for buffer in buffers])
        heads = ends - [len(buffer.values) for buffer in buffers]
        shares = np.array([buffer.weight / len(buffer.values) for buffer in buffers])
        chosen = np.empty(points, dtype=values.dtype)
        loops.choose_ranks(values, heads, ends, shares, step, chosen)
        return Buffer(chosen, weight), weight / (2 * points)
    values, ranks = _union(buffers)
    # The last rank is the weight up to rounding; targets lie half a step below it at the most.
    targets = (np.arange(points) + 0.5) * step
    return Buffer(values[np.searchsorted(ranks, targets, side="right")], weight), weight / (2 * points)
