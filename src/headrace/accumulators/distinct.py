"""Number of distinct values from the smallest hashes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.hashing import hash_numbers
from headrace.accumulators.native import wanted_loops

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 4096
"""Hashes that are kept."""
STORED_SIZE = 1024
"""Hashes that are stored."""


def _no_hashes() -> NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


@dataclass(frozen=True)
class DistinctCount:
    """Distinct values by the k smallest 64-bit hashes (Bar-Yossef et al. 2002; Beyer et al. 2007).

    Below k = 4096 distinct values the count is exact (but for collisions, at most 2^-40 likely). Beyond, with u the
    k-th smallest hash divided by 2^64, (k - 1) / u is unbiased with relative standard error 1 / sqrt(k - 2) = 1.6 %.
    The k smallest of a union are those of the two sets of k smallest, so any merge tree gives the same hashes.
    At most 32 kB, 8 kB stored.

    Attributes
    ----------
    size : int
        k.
    hashes : ndarray of uint64, at most k
        The smallest distinct hashes, ascending.

    Examples
    --------
    >>> once, twice = DistinctCount().update(np.arange(10)), DistinctCount().update(np.arange(5, 15))
    >>> once.merge(twice).estimate()
    15.0
    """

    size: int = SIZE
    hashes: NDArray[np.uint64] = field(default_factory=_no_hashes)

    @classmethod
    def of_hashes(cls, hashes: NDArray[np.uint64]) -> Self:
        """Take the smallest of `hashes`, in any order and with repetitions.

        Parameters
        ----------
        hashes : ndarray of uint64, shape (n,)
        """
        return cls(SIZE, _smallest(hashes, SIZE))

    @classmethod
    def of_numbers(cls, values: NDArray[Any], *, distinct: int = 0) -> Self:
        """Hash numbers and take the smallest hashes.

        Parameters
        ----------
        values : ndarray of numbers, shape (n,)
            Without NaN.
        distinct : int, optional
            How many are distinct, when that is known: spares keeping most of the hashes, and looking for repeated ones.
        """
        if distinct > 4 * SIZE:
            # The k-th smallest hash lies below this bound but for a chance of about 1e-9.
            bound = int((SIZE + 6 * math.sqrt(SIZE)) / distinct * 2.0**64)
            found = cls.of_hashes(hash_numbers(values, below=bound))
            if not found.exact:
                return found
        hashes = hash_numbers(values)
        if distinct == len(values):  # so are their hashes
            hashes.sort()
            return cls(SIZE, hashes[:SIZE].copy() if len(hashes) > SIZE else hashes)
        return cls.of_hashes(hashes)

    def update(self, values: NDArray[Any]) -> Self:
        """Return the count with further numbers, without NaN."""
        return self.merge(self.of_numbers(values))

    @property
    def exact(self) -> bool:
        """Whether every hash is held."""
        return len(self.hashes) < self.size

    @property
    def relative_error(self) -> float:
        """Relative standard error of `estimate`; 0 when exact."""
        return 0.0 if self.exact else 1.0 / math.sqrt(self.size - 2)

    def estimate(self) -> float:
        """Return the number of distinct values."""
        if self.exact:
            return float(len(self.hashes))
        return (self.size - 1) / (max(int(self.hashes[-1]), 1) / 2.0**64)

    def merge(self, other: Self) -> Self:
        """Return the count of both."""
        size = min(self.size, other.size)
        loops = wanted_loops()
        if loops is not None:
            kept = np.empty(min(size, len(self.hashes) + len(other.hashes)), dtype=np.uint64)
            count = loops.unite_smallest(self.hashes, other.hashes, kept)
            return type(self)(size, kept[:count].copy())
        if not other.exact and not self.exact:
            bound = min(self.hashes[-1], other.hashes[-1])
            both = [
                side.hashes[: np.searchsorted(side.hashes, bound, side="right")] for side in (self, other)
            ]
        else:
            both = [self.hashes, other.hashes]
        return type(self)(size, _smallest(np.concatenate(both), size, merged=True))

    def compact(self, size: int = STORED_SIZE) -> Self:
        """Return the count from the `size` smallest hashes, for storing (1,024: relative error 3.1 %)."""
        return type(self)(size, self.hashes[:size].copy()) if len(self.hashes) > size else self

    def result(self) -> float:
        """Return `estimate`."""
        return self.estimate()

    def state(self) -> dict[str, Any]:
        """Everything held, as JSON; hashes as base64 of little-endian 64-bit words."""
        return {"size": self.size, "hashes": encode_array(self.hashes)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls(state["size"], decode_array(state["hashes"]))


def _smallest(hashes: NDArray[np.uint64], size: int, *, merged: bool = False) -> NDArray[np.uint64]:
    """Up to `size` distinct hashes in ascending order, in memory of their own."""
    ascending = np.sort(hashes, kind="stable" if merged else None)  # "stable" merges sorted runs
    first = np.ones(len(ascending), dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    return ascending[first][:size].copy()
