"""128-bit hashes of rows, and how many rows stand more than once, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import xxhash

from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.hashing import splitmix64
from headrace.accumulators.validity import null_mask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LIMIT = 1 << 19
"""Distinct rows up to which counts are exact: 12 MB."""
ROW_BYTES = 24
"""Bytes of one distinct row: both halves of its hash, and its count."""
_BLOCK = 1 << 15
"""Rows taken in at a time, so that they stay in the cache."""
# Fractions of the golden ratio and of square roots: words without a pattern of their own.
_SEEDS = np.uint64(0x6A09E667F3BCC908), np.uint64(0xBB67AE8584CAA73B)
_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_MISSING = np.uint64(0x3C6EF372FE94F82B)


def _none() -> NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


def _no_counts() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class RepeatedRows:
    """How often each distinct row occurs: of all of them up to a limit, beyond it of a sample by hash.

    A sample at level l holds the rows whose hash is below 2^128 / 2^l, each with its exact count. The level is the
    smallest at which at most `limit` distinct rows are held, so that it depends on the set of distinct rows alone, not on
    chunks or merge trees (adaptive sampling, Flajolet 1990). Totals are those of the sample times 2^l
    (Horvitz-Thompson). That two different rows share a hash has a chance of n^2 / 2^129.

    Attributes
    ----------
    limit : int
        Distinct rows that are held at most.
    level : int
    rows : int
        Rows that were counted.
    skipped : int
        Rows that were left out: keys with a missing part.
    high, low : ndarray of uint64, shape (distinct rows held,)
        Halves of the hashes, ascending.
    counts : ndarray of int64, shape (distinct rows held,)
        How often each occurs.

    Examples
    --------
    >>> words = np.array([7, 7, 9], dtype=np.uint64)
    >>> RepeatedRows().update(words, words).result()["extra"]
    1
    """

    limit: int = LIMIT
    level: int = 0
    rows: int = 0
    skipped: int = 0
    high: NDArray[np.uint64] = field(default_factory=_none)
    low: NDArray[np.uint64] = field(default_factory=_none)
    counts: NDArray[np.int64] = field(default_factory=_no_counts)

    def update(self, high: NDArray[np.uint64], low: NDArray[np.uint64], *, skipped: int = 0) -> Self:
        """Return the counts with further rows.

        Parameters
        ----------
        high, low : ndarray of uint64, shape (rows,)
            From `hash_rows`.
        skipped : int
            Rows without a hash.
        """
        ones = np.ones(len(high), dtype=np.int64)
        found = type(self)(self.limit, 0, len(high), skipped, *_counted(high, low, ones))
        return self.merge(found)

    @property
    def exact(self) -> bool:
        """Whether every distinct row is held."""
        return self.level == 0

    @property
    def repeated(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Halves of the hashes held that occur more than once."""
        twice = self.counts > 1
        return self.high[twice], self.low[twice]

    def merge(self, other: Self) -> Self:
        """Return the counts of both."""
        level = max(self.level, other.level)
        sides = [side._at(level) for side in (self, other)]  # noqa: SLF001 - of its own class
        held = _counted(*(np.concatenate(pair) for pair in zip(*sides, strict=True)), merged=True)
        merged = replace(
            self,
            level=level,
            rows=self.rows + other.rows,
            skipped=self.skipped + other.skipped,
            high=held[0],
            low=held[1],
            counts=held[2],
        )
        while len(merged.high) > merged.limit:
            high, low, counts = merged._at(merged.level + 1)  # noqa: SLF001 - of its own class
            merged = replace(merged, level=merged.level + 1, high=high, low=low, counts=counts)
        return merged

    def _at(self, level: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        """Return what is held at this level: the smallest hashes, so a beginning of the arrays."""
        end = len(self.high)
        if level > self.level:
            end = int(np.searchsorted(self.high, np.uint64(1 << (64 - level))))
        return self.high[:end], self.low[:end], self.counts[:end]

    def result(self) -> dict[str, Any]:
        """Return what is known of repetitions.

        Returns
        -------
        dict
            ``rows`` that were counted and ``skipped``; ``distinct`` rows, ``groups`` of equal rows and rows that are
            ``extra``, beyond the first of their group: each exact, or an estimate with one standard ``error`` of
            `extra`, for which ``exact`` is False.
        """
        scale = 1 << self.level
        beyond = self.counts - 1
        # Var = (1 - p) / p^2 * sum of y^2 over a sample in which each group is with chance p
        error = math.sqrt((1 - 1 / scale) * float((beyond.astype(float) ** 2).sum())) * scale
        return {
            "rows": self.rows,
            "skipped": self.skipped,
            "distinct": len(self.high) * scale,
            "groups": int(np.count_nonzero(beyond)) * scale,
            "extra": min(self.rows, int(beyond.sum()) * scale),
            "exact": self.exact,
            "error": error,
            "share_held": 1 / scale,
        }

    def state(self) -> dict[str, Any]:
        """Everything held, as JSON; of counts those above 1."""
        above = np.flatnonzero(self.counts > 1)
        return {
            "limit": self.limit,
            "level": self.level,
            "rows": self.rows,
            "skipped": self.skipped,
            "high": encode_array(self.high),
            "low": encode_array(self.low),
            "above": encode_array(above),
            "counts": encode_array(self.counts[above]),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        high, low = decode_array(state["high"]), decode_array(state["low"])
        counts = np.ones(len(high), dtype=np.int64)
        counts[decode_array(state["above"])] = decode_array(state["counts"])
        return cls(state["limit"], state["level"], state["rows"], state["skipped"], high, low, counts)


def _counted(
    high: NDArray[np.uint64], low: NDArray[np.uint64], counts: NDArray[np.int64], *, merged: bool = False
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    """Sort hashes, and add the counts of equal ones."""
    order = np.argsort(
        high, kind="stable" if merged else None
    )  # "stable" merges runs that are sorted already
    ordered, rest = high[order], low[order]
    same = ordered[1:] == ordered[:-1]
    if (same & (rest[1:] != rest[:-1])).any():
        order = np.lexsort((low, high))
        ordered, rest = high[order], low[order]
        same = ordered[1:] == ordered[:-1]
    starts = np.flatnonzero(np.concatenate([[True], ~(same & (rest[1:] == rest[:-1]))])[: len(ordered)])
    summed = np.add.reduceat(counts[order], starts) if len(starts) else counts
    return ordered[starts], rest[starts], summed


def hash_rows(columns: Iterable[pa.ChunkedArray], rows: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash rows so that equal rows have equal hashes.

    Each value is two 64-bit words: numbers, times and booleans themselves twice, texts and bytes their XXH3-128, a
    dictionary's once for each of its values. Each half of a row's hash takes in the words of its columns one after
    another, ``h = (h ^ word) * odd; h ^= h >> 32``, a bijection of the word, and is mixed by SplitMix64 at the end. Missing
    equals missing, NaN is missing, and -0.0 is 0.0.

    Parameters
    ----------
    columns : iterable of pyarrow.ChunkedArray
        Of any type. Their order counts, not how they are encoded or cut.
    rows : int
        Length of each.

    Returns
    -------
    high, low : ndarray of uint64, shape (rows,)
    """
    halves = [np.full(rows, seed, dtype=np.uint64) for seed in _SEEDS]
    for column in columns:
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(array, pa.ChunkedArray):  # of no chunks, or dictionaries too large to be one array
            array = pa.concat_arrays(array.cast(_decoded(array.type)).chunks or [pa.nulls(0, pa.int64())])
        for half, (words, missing), odd in zip(halves, _words(array), _ODD, strict=True):
            _take_in(half, words, missing, odd)
    return splitmix64(halves[0]), splitmix64(halves[1])


def _take_in(
    half: NDArray[np.uint64], words: NDArray[np.uint64], missing: NDArray[np.bool_] | None, odd: np.uint64
) -> None:
    shifted = np.empty(min(len(half), _BLOCK), dtype=np.uint64)
    for start in range(0, len(half), _BLOCK):
        block, word = half[start : start + _BLOCK], words[start : start + _BLOCK]
        if missing is not None:
            word = np.where(missing[start : start + _BLOCK], _MISSING, word)
        scratch = shifted[: len(block)]
        np.bitwise_xor(block, word, out=block)
        np.multiply(block, odd, out=block)
        np.right_shift(block, np.uint64(32), out=scratch)
        np.bitwise_xor(block, scratch, out=block)


Words = tuple["NDArray[np.uint64]", "NDArray[np.bool_] | None"]


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _words(array: pa.Array) -> tuple[Words, Words]:
    """Two words for each value, and which are missing."""
    if pa.types.is_dictionary(array.type):
        (one, absent), (other, _) = _words(array.dictionary)
        codes = array.indices
        missing = _nulls(codes)
        at = codes.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        if not len(one):
            one = other = np.zeros(1, dtype=np.uint64)
        if absent is not None and len(absent):
            gone = absent[at]
            missing = gone if missing is None else missing | gone
        return (one[at], missing), (other[at], missing)
    missing = _nulls(array)
    words = _numbers(array)
    if words is not None:
        if pa.types.is_floating(array.type):
            nan = np.isnan(words.view(np.float64))
            missing = nan if missing is None else missing | nan
        return (words, missing), (words, missing)
    one, other = _digests(array)
    return (one, missing), (other, missing)


def _nulls(array: pa.Array) -> NDArray[np.bool_] | None:
    return null_mask(array) if array.null_count else None


def _numbers(array: pa.Array) -> NDArray[np.uint64] | None:
    """Values of a type of at most 64 bits as words; None of another."""
    types, kind = pa.types, array.type
    if types.is_boolean(kind):
        plain = array.cast(pa.uint8())
    elif types.is_float16(kind):
        plain = array.cast(pa.float32())
    elif types.is_integer(kind) or types.is_floating(kind):
        plain = array
    elif types.is_temporal(kind) and kind.bit_width in {32, 64}:
        plain = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
    else:
        return None
    values: NDArray[Any] = plain.fill_null(pa.scalar(0, plain.type)).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        values = values.astype(np.float64) + 0.0
    elif values.dtype != np.uint64:
        values = values.astype(np.int64)
    words: NDArray[np.uint64] = values.view(np.uint64)
    return words


def _digests(array: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """XXH3-128 of texts and bytes; of other values by how Python writes them."""
    types, kind = pa.types, array.type
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if not (is_text or is_bytes):
        written = [repr(value) for value in array.to_pylist()]
        array, is_text = pa.array(written, pa.large_string()), True
    array = array.cast(pa.large_string() if is_text else pa.large_binary())
    if not len(array):
        return _none(), _none()
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1].tolist()
    text = memoryview(data) if data is not None else memoryview(b"")
    digest = xxhash.xxh3_128_digest
    joined = b"".join([digest(text[start:stop]) for start, stop in pairwise(bounds)])
    words = np.frombuffer(joined, dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
