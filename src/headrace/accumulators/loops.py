"""Loops over values as plain Python, slow as they stand: numba compiles them where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANES, STRIPE = 8, 128
"""What numpy adds up: values in so many sums in turn, and so many of them before two such sums are added."""


def block_moments(  # noqa: C901, PLR0912 - one nest of loops: compiled on its own it can call no other
    values: NDArray[Any], sums: NDArray[np.float64], found: NDArray[np.float64]
) -> None:
    """Measure full blocks as `headrace.accumulators.moments` does by numpy, adding up in its order, to the same bits.

    Parameters
    ----------
    values : ndarray of numbers, shape (blocks * size,)
        Finite; the size of a block is that of `sums` times `STRIPE`, a power of two.
    sums : ndarray, shape (3, size // STRIPE, LANES)
        Scratch.
    found : ndarray, shape (blocks, 5)
        Is told n, mean, m2, m3 and m4 of each.
    """
    stripes = sums.shape[1]
    size = stripes * STRIPE
    for b in range(found.shape[0]):
        block = values[b * size : (b + 1) * size]
        first, offset = np.float64(block[0]), 0.0
        for powers in (1, 3):  # the sum of deviations from the first value, then those from the mean
            sums[:] = 0.0
            for stripe in range(stripes):
                seconds, thirds, fourths = sums[0, stripe], sums[1, stripe], sums[2, stripe]
                for start in range(stripe * STRIPE, (stripe + 1) * STRIPE, LANES):
                    some = block[start : start + LANES]
                    for lane in range(LANES):
                        x = (np.float64(some[lane]) - first) - offset
                        if powers == 1:
                            seconds[lane] += x
                        else:
                            square = x * x
                            seconds[lane] += square
                            thirds[lane] += square * x
                            fourths[lane] += square * square
            for power in range(powers):
                parts, count = sums[power], stripes
                for stripe in range(count):
                    s = parts[stripe]
                    s[0] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
                while count > 1:
                    count //= 2
                    for stripe in range(count):
                        parts[stripe, 0] = parts[2 * stripe, 0] + parts[2 * stripe + 1, 0]
            if powers == 1:
                offset = sums[0, 0, 0] / size
        found[b, 0] = size
        found[b, 1] = first + offset
        for power in range(3):
            found[b, 2 + power] = sums[power, 0, 0]


def mix_words(words: NDArray[np.uint64], mixed: NDArray[np.uint64]) -> None:
    """Mix 64-bit words as `headrace.accumulators.hashing.splitmix64` does."""
    for i in range(words.shape[0]):
        word = words[i] + np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed[i] = word ^ (word >> np.uint64(31))


def tally_codes(groups: NDArray[np.uint8], codes: NDArray[Any], counts: NDArray[np.int64]) -> None:
    """Count codes, not below 0, in each group: adds to `counts`, shape (groups, codes)."""
    for i in range(codes.shape[0]):
        counts[groups[i], codes[i]] += 1


def low_hashes(
    words: NDArray[np.uint64],
    zero: np.uint64,
    first: np.uint64,
    second: np.uint64,
    below: np.uint64,
    kept: NDArray[np.uint64],
) -> int:
    """Hash words as `headrace.accumulators.hashing.hash_numbers` does, and keep the hashes below a bound.

    Parameters
    ----------
    words : ndarray of uint64, shape (n,)
    zero : uint64
        A word that stands for 0.
    first, second : uint64
        Odd factors.
    below : uint64
    kept : ndarray of uint64
        Is filled as far as it goes.

    Returns
    -------
    int
        How many there are; more than `kept` has places when it is too short.
    """
    count = 0
    for i in range(words.shape[0]):
        word = words[i]
        if word == zero:
            word = np.uint64(0)
        word = word * first
        word = (word ^ (word >> np.uint64(32))) * second
        if word < below:
            if count < kept.shape[0]:
                kept[count] = word
            count += 1
    return count
