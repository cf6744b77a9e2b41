"""Count, mean and central moments to order 4, with extremes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.documents import decode_number, encode_number
from headrace.accumulators.loops import LANES, STRIPE
from headrace.accumulators.native import wanted_loops

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 8192
"""Values in a block: enough to hide the cost of a call, few enough to stay in the cache; a power of two, see `block_moments`."""
_TOGETHER = 8
"""Blocks that are measured by one call: in cache, and enough to hide the cost of a call."""


@dataclass(frozen=True)
class Moments:
    r"""Moments of finite numbers: :math:`M_p = \sum_i w_i (x_i - \bar x)^p` for p = 2, 3, 4.

    Blocks of 8192 values are centred on their own mean and merged by the formulas of Chan, Golub and LeVeque (1983)
    and Pebay (2008): with :math:`\delta` the mean of a block less the mean of all,

    .. math:: M_3 = \sum (m_3 + 3 \delta m_2 + n \delta^3), \quad
              M_4 = \sum (m_4 + 4 \delta m_3 + 6 \delta^2 m_2 + n \delta^4).

    What overflows becomes inf or NaN, without a warning. About 0.1 kB.

    Attributes
    ----------
    n : int
        Values, with their counts.
    mean, m2, m3, m4 : float
        The mean and the sums of powers of deviations from it; the mean of nothing is NaN.
    minimum, maximum : float
        Extremes, integers for integer columns; NaN when n is 0.

    Examples
    --------
    >>> left, right = Moments.of(np.array([1.0, 2.0])), Moments.of(np.array([3.0, 6.0]))
    >>> both = left.merge(right)
    >>> both.n, both.mean, both.variance(), both.maximum
    (4, 3.0, 3.5, 6.0)
    """

    n: int = 0
    mean: float = math.nan
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0
    minimum: float = math.nan
    maximum: float = math.nan

    @classmethod
    def of(cls, values: NDArray[Any], counts: NDArray[Any] | None = None, *, ascending: bool = False) -> Self:
        """Measure finite numbers.

        Parameters
        ----------
        values : ndarray of numbers, shape (n,)
            Finite; any integer or float dtype.
        counts : ndarray of positive integers, shape (n,), optional
            How many times each value occurs.
        ascending : bool, optional
            Whether the values are known to be in order: spares looking for the extremes.
        """
        if not len(values):
            return cls()
        lowest, highest = (values[0], values[-1]) if ascending else (values.min(), values.max())
        found = _compiled(values) if counts is None else None
        if found is None:
            with np.errstate(all="ignore"):
                found = _pool(_measured(values, counts))
        return cls(*found, lowest.item(), highest.item())

    def update(self, values: NDArray[Any], counts: NDArray[Any] | None = None) -> Self:
        """Return the moments with further finite values, as in `of`."""
        return self.merge(self.of(values, counts))

    def merge(self, other: Self) -> Self:
        """Return the moments of both."""
        if not self.n:
            return other
        if not other.n:
            return self
        n = self.n + other.n
        mean = self.mean + (other.mean - self.mean) * (other.n / n)  # exact when the means are equal
        if not math.isfinite(mean):
            mean = self.mean * (self.n / n) + other.mean * (other.n / n)
        m2 = m3 = m4 = 0.0
        for side in (self, other):
            delta = side.mean - mean
            square = delta * delta
            m2 += side.m2 + side.n * square
            m3 += side.m3 + 3 * delta * side.m2 + side.n * square * delta
            m4 += side.m4 + 4 * delta * side.m3 + 6 * square * side.m2 + side.n * square * square
        return type(self)(
            n, mean, m2, m3, m4, min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        )

    def variance(self, ddof: int = 0) -> float:
        """M2 / (n - ddof); NaN when n <= ddof."""
        return self.m2 / (self.n - ddof) if self.n > ddof else math.nan

    @property
    def std(self) -> float:
        """Square root of the population variance."""
        return math.sqrt(self.variance())

    @property
    def skewness(self) -> float:
        """Third standardised moment (biased, as `scipy.stats.skew`); NaN for a constant."""
        return self.m3 / self.n / self.std / self.std / self.std if self.m2 > 0 else math.nan

    @property
    def kurtosis(self) -> float:
        """Excess kurtosis (biased, as `scipy.stats.kurtosis`); NaN for a constant."""
        variance = self.variance()
        return self.m4 / self.n / variance / variance - 3.0 if self.m2 > 0 else math.nan

    def result(self) -> dict[str, float]:
        """Return n, mean, std, skewness, kurtosis, minimum and maximum."""
        names = ("n", "mean", "std", "skewness", "kurtosis", "minimum", "maximum")
        return {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        return {name: encode_number(value) for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls(**{name: decode_number(value) for name, value in state.items()})  # type: ignore[arg-type]  # n is an integer in the document


def _compiled(values: NDArray[Any]) -> tuple[int, float, float, float, float] | None:
    """Measure by compiled loops; None where there are none, or the mean or the way to it overflows."""
    loops = wanted_loops()
    if loops is None:
        return None
    blocks, pooled = np.empty((math.ceil(len(values) / _BLOCK), 5)), np.empty(5)
    loops.block_moments(values, np.empty((3, _BLOCK // STRIPE, LANES)), blocks, pooled)
    # One block is not pooled, as in `_pool`: a sum of cubes that overflowed, times a distance of 0, would be NaN.
    _, mean, m2, m3, m4 = (blocks[0] if len(blocks) == 1 else pooled).tolist()
    return (len(values), mean, m2, m3, m4) if math.isfinite(mean) else None


def _measured(values: NDArray[Any], counts: NDArray[Any] | None) -> NDArray[np.float64]:
    """Rows (n, mean, m2, m3, m4), one a block."""
    if counts is not None:
        cuts = [slice(start, start + _BLOCK) for start in range(0, len(values), _BLOCK)]
        return np.array([_weighted_block(values[cut], counts[cut]) for cut in cuts])
    whole = len(values) // _BLOCK * _BLOCK
    blocks = values[:whole].reshape(-1, _BLOCK)
    found = [_blocks(blocks[start : start + _TOGETHER]) for start in range(0, len(blocks), _TOGETHER)]
    if whole < len(values):
        found.append(np.array([_block(values[whole:])]))
    return np.concatenate(found)


def _weighted_block(values: NDArray[Any], counts: NDArray[Any]) -> tuple[float, ...]:
    """(n, mean, m2, m3, m4) of one block of values that occur so many times."""
    x = values.astype(np.float64)
    weights = counts.astype(np.float64)
    n = float(weights.sum())
    # Deviations from the first value: those of a constant are exactly 0, so its variance is.
    first = float(x[0])
    x -= first
    offset = float(weights @ x) / n
    if not math.isfinite(offset):  # a deviation or the sum overflowed; the mean need not
        x, first = values.astype(np.float64), 0.0
        offset = float((x * (weights / n)).sum())
    x -= offset
    square = x * x
    weighted = square * weights
    return n, first + offset, float(weighted.sum()), float(weighted @ x), float(weighted @ square)


def _block(values: NDArray[Any]) -> tuple[float, ...]:
    """(n, mean, m2, m3, m4) of one block, added up as if zeros filled a power of two of stripes."""
    n, size = len(values), STRIPE
    while size < n:
        size *= 2
    x = np.zeros(size)
    x[:n] = values
    first = float(x[0])
    x[:n] -= first
    offset = float(x.sum()) / n
    if not math.isfinite(offset):  # a deviation or the sum overflowed; the mean need not
        x[:n], first = values, 0.0
        offset = float((x / n).sum())
    x[:n] -= offset
    square = x * x
    # No dot product: BLAS adds up in another order on each kind of processor.
    thirds, fourths = float((square * x).sum()), float((square * square).sum())
    return float(n), first + offset, float(square.sum()), thirds, fourths


def _blocks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Rows (n, mean, m2, m3, m4) of full blocks, shape (blocks, _BLOCK), as `_block` measures them."""
    first = values[:, :1].astype(np.float64)
    x = np.subtract(values, first, dtype=np.float64)
    offset = x.sum(axis=1, keepdims=True) / _BLOCK
    if not np.isfinite(offset).all():
        return np.array([_block(block) for block in values])
    x -= offset
    square = x * x
    found = np.empty((len(values), 5))
    found[:, 0] = _BLOCK
    found[:, 1:2] = first + offset
    found[:, 2] = square.sum(axis=1)
    # No dot product: BLAS adds up in another order on each kind of processor.
    found[:, 3] = np.multiply(square, x, out=x).sum(axis=1)
    found[:, 4] = np.multiply(square, square, out=x).sum(axis=1)
    return found


def _pool(blocks: NDArray[np.float64]) -> tuple[int, float, float, float, float]:
    """Merge the rows (n, mean, m2, m3, m4) of all blocks at once."""
    if len(blocks) == 1:
        first, *rest = blocks[0].tolist()
        return (int(first), *rest)
    n, mean, m2, m3, m4 = blocks.T
    total = n.sum()
    centre = mean[0] + _total((mean - mean[0]) * (n / total))
    if not np.isfinite(centre):
        centre = _total(mean * (n / total))
    delta = mean - centre
    square = delta * delta
    return (
        int(total),
        float(centre),
        _total(m2 + n * square),
        _total(m3 + 3 * delta * m2 + n * square * delta),
        _total(m4 + 4 * delta * m3 + 6 * square * m2 + n * square * square),
    )


def _total(terms: NDArray[np.float64]) -> float:
    """Add up one after another, as a compiled loop does."""
    return float(np.cumsum(terms)[-1])
