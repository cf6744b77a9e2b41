"""Stable 64-bit hashes of numbers and strings, the same on every machine and in every process."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xxhash

from headrace.accumulators.native import wanted_loops

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 15
"""Values hashed at a time: few enough to stay in the cache, enough to hide the cost of a call."""
_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
"""Factors of `hash_numbers`: 2^64 divided by the golden ratio, and an odd number without a pattern."""
_NEGATIVE_ZERO = np.uint64(1 << 63)
"""The word of -0.0."""
_WORDS = (np.float64, np.int64, np.uint64)
"""Types whose bytes are the words that are hashed."""


def splitmix64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit words by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), a bijection.

    Parameters
    ----------
    words : ndarray of uint64, shape (n,)

    Returns
    -------
    ndarray of uint64, shape (n,)

    Examples
    --------
    >>> [hex(word) for word in splitmix64(np.array([0, 1], dtype=np.uint64)).tolist()]
    ['0xe220a8397b1dcdaf', '0x910a2dec89025cc1']
    """
    mixed = np.empty(len(words), dtype=np.uint64)
    loops = wanted_loops()
    if loops is not None:
        loops.mix_words(words, mixed)
        return mixed
    scratch = np.empty(min(len(words), _BLOCK), dtype=np.uint64)
    for start in range(0, len(words), _BLOCK):
        block = mixed[start : start + _BLOCK]
        block[:] = words[start : start + _BLOCK]
        _mix(block, scratch[: len(block)])
    return mixed


def _mix(word: NDArray[np.uint64], shifted: NDArray[np.uint64]) -> None:
    """SplitMix64 in place; `shifted` is scratch of the same length."""
    np.add(word, np.uint64(0x9E3779B97F4A7C15), out=word)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(word, np.uint64(shift), out=shifted)
        np.bitwise_xor(word, shifted, out=word)
        np.multiply(word, np.uint64(factor), out=word)
    np.right_shift(word, np.uint64(31), out=shifted)
    np.bitwise_xor(word, shifted, out=word)


def hash_numbers(values: NDArray[Any], *, below: int = 1 << 64) -> NDArray[np.uint64]:
    """Hash numbers so that equal values of one column have equal hashes.

    Integers are hashed as int64 (uint64 as itself), floats as float64, with -0.0 as 0.0; so float32 and
    float64 of one value agree, an integer and a float do not.

    A word x becomes ``(y ^ (y >> 32)) * b`` with ``y = x * a``: a bijection, so numbers never collide, at a third of
    the cost of `splitmix64`. Only the high bits are well mixed; a count of the smallest hashes needs no others. On 525
    families of values (steps, fractions, powers, times, few bits) its estimates were no further off than chance.

    Parameters
    ----------
    values : ndarray of numbers, shape (n,)
        Without NaN.
    below : int
        Return only the hashes below this bound.

    Returns
    -------
    ndarray of uint64, shape (n,), or fewer when `below` is given
    """
    loops = wanted_loops()
    if loops is not None and values.dtype in _WORDS:
        # Hashes are spread evenly: of so many there is room for all but for a chance of about 1e-9.
        share = below / 2.0**64 * len(values)
        room = len(values) if below >= 1 << 64 else int(share + 6 * math.sqrt(share)) + 64
        low = np.empty(room, dtype=np.uint64)
        zero = _NEGATIVE_ZERO if values.dtype.kind == "f" else np.uint64(0)
        words = np.ascontiguousarray(values).view(np.uint64)
        count = loops.low_hashes(words, zero, *_ODD, np.uint64(below - 1), low)
        if count <= len(low):
            return low if count == len(low) else low[:count].copy()
    kept = []
    words = np.empty(min(len(values), _BLOCK), dtype=np.uint64)
    scratch = np.empty_like(words)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        word, shifted = words[: len(block)], scratch[: len(block)]
        if values.dtype.kind == "f":
            np.add(block, 0.0, out=word.view(np.float64))  # turns -0.0 into 0.0
        elif values.dtype == np.uint64:
            word[:] = block
        else:
            word.view(np.int64)[:] = block
        np.multiply(word, _ODD[0], out=word)
        np.right_shift(word, np.uint64(32), out=shifted)
        np.bitwise_xor(word, shifted, out=word)
        np.multiply(word, _ODD[1], out=word)
        kept.append(word.copy() if below >= 1 << 64 else word[word < np.uint64(below)])
    return np.concatenate(kept) if kept else np.empty(0, dtype=np.uint64)


def hash_strings(values: pa.Array) -> NDArray[np.uint64]:
    """Hash strings by XXH3 of their UTF-8 bytes, without making Python strings of them.

    Parameters
    ----------
    values : pyarrow string or large_string array, length n
        Nulls are hashed as the empty string.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    if not pa.types.is_large_string(values.type):
        values = values.cast(pa.large_string())
    if not len(values):
        return np.empty(0, dtype=np.uint64)
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[values.offset : values.offset + len(values) + 1].tolist()
    text = memoryview(data) if data is not None else memoryview(b"")
    digest = xxhash.xxh3_64_intdigest
    hashes = (digest(text[start:stop]) for start, stop in pairwise(bounds))
    return np.fromiter(hashes, dtype=np.uint64, count=len(values))
