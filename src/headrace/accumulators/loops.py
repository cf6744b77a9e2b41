"""Loops over values as plain Python, slow as they stand: numba compiles them where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANES, STRIPE = 8, 128
"""What numpy adds up: values in so many sums in turn, and so many of them before two such sums are added."""


def block_moments(  # noqa: C901, PLR0912 - one nest of loops: compiled on its own it can call no other
    values: NDArray[Any],
    sums: NDArray[np.float64],
    found: NDArray[np.float64],
    pooled: NDArray[np.float64],
) -> None:
    """Measure values as `headrace.accumulators.moments` does by numpy, adding up in its order, to the same bits.

    Parameters
    ----------
    values : ndarray of numbers, shape (n,)
        Finite; n > 0.
    sums : ndarray, shape (3, size // STRIPE, LANES)
        Scratch; its shape says the size of a block, a power of two.
    found : ndarray, shape (blocks, 5)
        Scratch: n, mean, m2, m3 and m4 of each; the last block may be shorter.
    pooled : ndarray, shape (5,)
        Is told those of all.
    """
    size = sums.shape[1] * STRIPE
    for b in range(found.shape[0]):
        block = values[b * size : (b + 1) * size]
        n = block.shape[0]
        stripes = 1
        while stripes * STRIPE < n:
            stripes *= 2
        first, offset = np.float64(block[0]), 0.0
        for powers in (1, 3):  # the sum of deviations from the first value, then those from the mean
            sums[:, :stripes] = 0.0
            for stripe in range(stripes):
                seconds, thirds, fourths = sums[0, stripe], sums[1, stripe], sums[2, stripe]
                end = min(n, (stripe + 1) * STRIPE)
                full = end - end % LANES
                for start in range(stripe * STRIPE, full, LANES):
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
                for i in range(max(full, stripe * STRIPE), end):
                    x, lane = (np.float64(block[i]) - first) - offset, i % LANES
                    square = x * x
                    seconds[lane] += x if powers == 1 else square
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
                offset = sums[0, 0, 0] / n
        found[b, 0] = n
        found[b, 1] = first + offset
        for power in range(3):
            found[b, 2 + power] = sums[power, 0, 0]
    total, first = np.float64(values.shape[0]), found[0, 1]
    shift = 0.0
    for b in range(found.shape[0]):
        shift += (found[b, 1] - first) * (found[b, 0] / total)
    centre = first + shift
    pooled[:] = 0.0
    for b in range(found.shape[0]):
        n, m2, m3, m4 = found[b, 0], found[b, 2], found[b, 3], found[b, 4]
        delta = found[b, 1] - centre
        square = delta * delta
        pooled[2] += m2 + n * square
        pooled[3] += m3 + 3 * delta * m2 + n * square * delta
        pooled[4] += m4 + 4 * delta * m3 + 6 * square * m2 + n * square * square
    pooled[0], pooled[1] = total, centre


def look_over(values: NDArray[Any], told: NDArray[np.int64]) -> None:
    """Tell of ascending numbers what `headrace.accumulators.ascending.Look` holds, in its order."""
    low, numbers = 0, values.shape[0]
    while numbers > 0 and values[numbers - 1] != values[numbers - 1]:
        numbers -= 1
    while low < numbers and values[low] == -np.inf:
        low += 1
    high = numbers
    while high > low and values[high - 1] == np.inf:
        high -= 1
    distinct = zeros = negatives = 0
    if high > low:
        distinct, zeros, negatives = 1, int(values[low] == 0), int(values[low] < 0)
    for i in range(low + 1, high):
        distinct += values[i] != values[i - 1]
        zeros += values[i] == 0
        negatives += values[i] < 0
    told[0], told[1], told[2], told[3], told[4], told[5] = low, high, numbers, distinct, zeros, negatives


def first_places(values: NDArray[Any], places: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """Tell where each of the distinct values of an ascending array begins, and how often it occurs; there is a place for each."""
    places[0] = 0
    count = 1
    for i in range(1, values.shape[0]):
        if values[i] != values[i - 1]:
            places[count] = i
            counts[count - 1] = i - places[count - 1]
            count += 1
    counts[count - 1] = values.shape[0] - places[count - 1]


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
    highest: np.uint64,
    kept: NDArray[np.uint64],
) -> int:
    """Hash words as `headrace.accumulators.hashing.hash_numbers` does, and keep the hashes up to a bound.

    Parameters
    ----------
    words : ndarray of uint64, shape (n,)
    zero : uint64
        A word that stands for 0.
    first, second : uint64
        Odd factors.
    highest : uint64
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
        if word <= highest:
            if count < kept.shape[0]:
                kept[count] = word
            count += 1
    return count


def unite_smallest(left: NDArray[Any], right: NDArray[Any], kept: NDArray[Any]) -> int:
    """Merge two ascending arrays of distinct values into one, as far as there is room, and return its length."""
    i = j = count = 0
    # Without a branch on which is less, which a processor cannot foresee.
    while count < kept.shape[0] and i < left.shape[0] and j < right.shape[0]:
        first, second = left[i], right[j]
        kept[count] = min(first, second)
        i += first <= second
        j += second <= first
        count += 1
    while count < kept.shape[0] and i < left.shape[0]:
        kept[count] = left[i]
        i += 1
        count += 1
    while count < kept.shape[0] and j < right.shape[0]:
        kept[count] = right[j]
        j += 1
        count += 1
    return count


def sum_counts(
    left: NDArray[Any],
    left_counts: NDArray[np.int64],
    right: NDArray[Any],
    right_counts: NDArray[np.int64],
    values: NDArray[Any],
    counts: NDArray[np.int64],
) -> int:
    """Merge two ascending arrays of distinct values, add up the counts of those in both, and return how many there are."""
    i = j = count = 0
    # Without a branch on which is less, which a processor cannot foresee.
    while i < left.shape[0] and j < right.shape[0]:
        first, second = left[i], right[j]
        mine, yours = first <= second, second <= first
        values[count] = first if mine else second
        counts[count] = mine * left_counts[i] + yours * right_counts[j]
        i += mine
        j += yours
        count += 1
    while i < left.shape[0]:
        values[count], counts[count] = left[i], left_counts[i]
        i += 1
        count += 1
    while j < right.shape[0]:
        values[count], counts[count] = right[j], right_counts[j]
        j += 1
        count += 1
    return count


def choose_ranks(
    values: NDArray[Any],
    heads: NDArray[np.int64],
    ends: NDArray[np.int64],
    shares: NDArray[np.float64],
    step: float,
    points: NDArray[Any],
) -> None:
    """Choose the values at evenly spaced ranks from the union of ascending buffers.

    Parameters
    ----------
    values : ndarray of numbers
        Of all buffers, one after another.
    heads, ends : ndarray of int64, shape (buffers,)
        Where each begins and ends; `heads` is used up.
    shares : ndarray of float64, shape (buffers,)
        Rows that a value stands for.
    step : float
        From one rank to the next, the first being half a step.
    points : ndarray, shape (m,)
        Is told the values.
    """
    rank, chosen = 0.0, 0
    for _ in range(values.shape[0]):
        least = -1
        for b in range(heads.shape[0]):
            if heads[b] < ends[b] and (least < 0 or values[heads[b]] < values[heads[least]]):
                least = b
        rank += shares[least]
        value = values[heads[least]]
        heads[least] += 1
        while chosen < points.shape[0] and rank > (chosen + 0.5) * step:
            points[chosen] = value
            chosen += 1
