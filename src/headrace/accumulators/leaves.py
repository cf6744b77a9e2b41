"""An Arrow column of one chunk to one summary per group of rows, without a Python object per row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.columns import ColumnSummary, Kind
from headrace.accumulators.hashing import hash_strings
from headrace.accumulators.hitters import COUNTERS, EXACT
from headrace.accumulators.native import wanted_loops
from headrace.accumulators.validity import null_mask
from headrace.freeing import release_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 15
"""Rows counted at a time, so that their joint codes stay in the cache."""
_LONG = 256
"""Bytes from which a string is held by its beginning and its hash."""


@dataclass(frozen=True)
class Groups:
    """Which group each row of a chunk belongs to.

    Attributes
    ----------
    count : int
        Groups, at least 1.
    codes : ndarray of uint8, shape (rows,), or None
        Group of each row; None when there is one group.
    order : ndarray of int64, shape (rows,), or None
        Rows sorted by group, in their own order within a group.
    bounds : tuple of int, length count + 1
        Group g is ``order[bounds[g]:bounds[g + 1]]``.
    """

    count: int
    codes: NDArray[np.uint8] | None
    order: NDArray[np.int64] | None
    bounds: tuple[int, ...]

    @classmethod
    def single(cls, rows: int) -> Self:
        """All rows in one group."""
        return cls(1, None, None, (0, rows))

    @classmethod
    def of(cls, codes: NDArray[np.uint8], count: int) -> Self:
        """Group by codes below `count`."""
        if count == 1:
            return cls.single(len(codes))
        if count <= 16:  # a scan for each is faster than the radix sort, and counts them as well
            scans = [np.flatnonzero(codes == code) for code in range(count)]
            order, sizes = np.concatenate(scans), [len(scan) for scan in scans]
        else:
            order = np.argsort(codes, kind="stable")
            sizes = np.bincount(codes, minlength=count).tolist()
        return cls(count, codes, order, (0, *accumulate(sizes)))

    def split(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """Cut values by group; all may be views of one fresh array, or of `values` when there is one group."""
        if self.order is None:
            return [values]
        gathered = values.take(self.order)  # a third faster than indexing
        return [gathered[a:b] for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True)]

    def tally(self, codes: NDArray[Any], width: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Count small integers per group: for each group the codes that occur, ascending, and their counts."""
        if self.codes is None:
            tables = np.bincount(codes, minlength=width)[None]
        elif self.count * width <= max(len(codes) // 8, 1 << 12):
            tables = _tables(self.codes, self.count, codes, width)
        else:
            return [_runs(np.sort(part)) for part in self.split(codes)]
        return [(present := np.flatnonzero(table), table[present]) for table in tables]


def _tables(groups: NDArray[np.uint8], count: int, codes: NDArray[Any], width: int) -> NDArray[np.int64]:
    """Rows of each group with each code, shape (count, width)."""
    tables = np.zeros((count, width), dtype=np.int64)
    loops = wanted_loops()
    if loops is not None:
        loops.tally_codes(groups, codes, tables)
        return tables
    flat = tables.reshape(-1)
    for start in range(0, len(codes), _BLOCK):
        joint = np.multiply(groups[start : start + _BLOCK], width, dtype=np.int64)
        joint += codes[start : start + _BLOCK]
        flat += np.bincount(joint, minlength=len(flat))
    return tables


def _runs(ascending: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct values of a sorted array and their counts."""
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]])[: len(ascending)])
    return ascending[starts].astype(np.int64), np.diff(starts, append=len(ascending))


def kind_of(logical: pa.DataType) -> Kind:
    """Return how a column of this Arrow type is summarised."""
    types = pa.types
    if types.is_dictionary(logical):
        logical = logical.value_type
    if types.is_boolean(logical):
        return "boolean"
    if types.is_integer(logical) or types.is_floating(logical) or types.is_decimal(logical):
        return "numeric"
    if types.is_string(logical) or types.is_large_string(logical) or types.is_string_view(logical):
        return "string"
    return "datetime" if types.is_date(logical) or types.is_timestamp(logical) else "other"


def summarize(column: pa.ChunkedArray, groups: Groups) -> list[ColumnSummary]:
    """Summarise a column of a chunk.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Of any type; dictionaries of strings are counted by code, other dictionaries are decoded.
    groups : Groups
        Of the same rows.

    Returns
    -------
    list of ColumnSummary
        One per group.
    """
    kind = kind_of(column.type)
    if kind == "string":
        coded = _dictionary(column)
        summaries = _strings(coded, groups)
        release_texts(len(coded.dictionary))
        return summaries
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if kind == "boolean":
        return _booleans(array, groups)
    if kind == "other":
        nulls = _nulls(array, groups)
        sizes = np.diff(groups.bounds).tolist()
        return [ColumnSummary("other", rows=n, nulls=k) for n, k in zip(sizes, nulls, strict=True)]
    return _numbers(kind, array, groups)


def _nulls(array: pa.Array, groups: Groups) -> list[int]:
    if groups.codes is None or not array.null_count:
        return [array.null_count] * groups.count
    counts: list[int] = _tables(groups.codes, groups.count, null_mask(array).view(np.uint8), 2)[:, 1].tolist()
    return counts


def plain_numbers(array: pa.Array) -> pa.Array:
    """Decimals and half floats as floats, dates and timestamps as integers in their unit; others as they are."""
    if pa.types.is_decimal(array.type):
        return array.cast(pa.float64())
    if pa.types.is_float16(array.type):
        return array.cast(pa.float32())
    if pa.types.is_date32(array.type):
        return array.view(pa.int32())
    if pa.types.is_date64(array.type) or pa.types.is_timestamp(array.type):
        return array.view(pa.int64())
    return array


def _numbers(kind: Kind, array: pa.Array, groups: Groups) -> list[ColumnSummary]:
    nulls = _nulls(array, groups)
    array = plain_numbers(array)
    counted = _counted(kind, array, groups, nulls)
    if counted is not None:
        return counted
    if array.null_count and pa.types.is_integer(array.type):
        array = array.fill_null(np.iinfo(str(array.type)).max)
    # A null becomes the value that sorts last, NaN of floats, so that each group drops its nulls by cutting its end.
    values = array.to_numpy(zero_copy_only=False)
    found = []
    for part, absent in zip(groups.split(values), nulls, strict=True):
        ascending = part
        if not _in_order(part):
            if groups.order is None:
                ascending = np.sort(part)
            else:
                ascending.sort()  # gathered above, so it is ours
        found.append(ColumnSummary.of_sorted(kind, ascending[: len(part) - absent], nulls=absent))
    return found


def _in_order(values: NDArray[Any]) -> bool:
    """Whether values are in order, as times often are, without NaN; looks at a few before it looks at all."""
    few = values[:16].tolist()
    return all(a <= b for a, b in pairwise(few)) and bool((values[1:] >= values[:-1]).all())


def _counted(kind: Kind, array: pa.Array, groups: Groups, nulls: list[int]) -> list[ColumnSummary] | None:
    """Summarise integers of a narrow range by counting, several times faster than by sorting; None: not narrow."""
    if not pa.types.is_integer(array.type) or array.null_count == len(array):
        return None
    extremes = pc.min_max(array)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    width = high - low + 1
    sizes = [size - absent for size, absent in zip(np.diff(groups.bounds).tolist(), nulls, strict=True)]
    if width > min(EXACT, *(size // 4 for size in sizes if size)):
        return None
    dtype = np.dtype(str(array.type)).type
    if array.null_count:
        array = array.fill_null(low)
    codes = array.to_numpy(zero_copy_only=True)
    if dtype != np.uint64:
        codes = codes.astype(np.int64)  # the difference of two int8 may not be one
    codes = (codes - dtype(low) if dtype == np.uint64 else codes - low).astype(np.int64, copy=False)
    found = []
    for (tallied, tally), absent in zip(groups.tally(codes, width), nulls, strict=True):
        # Missing values were counted as the lowest one.
        less = tally - absent * (tallied == 0) if absent else tally
        present, counts = (tallied[less > 0], less[less > 0]) if absent else (tallied, tally)
        if not len(present):
            found.append(replace(ColumnSummary.empty(kind), rows=absent, nulls=absent))
            continue
        keys = present.astype(dtype) + dtype(low) if dtype == np.uint64 else (present + low).astype(dtype)
        found.append(ColumnSummary.of_counts(kind, keys, counts, nulls=absent))
    return found


def _booleans(array: pa.Array, groups: Groups) -> list[ColumnSummary]:
    codes = array.cast(pa.uint8()).fill_null(2).to_numpy(zero_copy_only=True)
    found = []
    for present, counts in groups.tally(codes, 3):
        false, true, nulls = (int(counts[present == code].sum()) for code in range(3))
        found.append(ColumnSummary.of_booleans(false, true, nulls=nulls))
    return found


def _dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One array of codes into one dictionary of large strings."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    if column.num_chunks == 1:
        return column.chunk(0)
    return (
        pa.concat_arrays(column.unify_dictionaries().chunks)
        if column.num_chunks
        else pa.array([], column.type)
    )


def _strings(array: pa.DictionaryArray, groups: Groups) -> list[ColumnSummary]:
    words = array.dictionary.cast(pa.large_string())
    width = len(words)
    codes = array.indices
    if codes.null_count or codes.type == pa.uint64():
        codes = codes.cast(pa.int64()).fill_null(width)
    tallies = groups.tally(codes.to_numpy(zero_copy_only=True), width + 1)
    # A dictionary may hold words that no row of the chunk has, a null, and (legally) one word twice.
    occurs = np.zeros(width + 1, dtype=bool)
    for present, _ in tallies:
        occurs[present] = True
    used = np.flatnonzero(occurs[:width])
    taken = words.take(pa.array(used))
    absent = taken.is_null().to_numpy(zero_copy_only=False)
    lengths = pc.utf8_length(taken).fill_null(0).to_numpy(zero_copy_only=True).astype(np.int64)
    hashes = hash_strings(taken)
    ascending = np.sort(hashes[~absent])
    if (ascending[1:] == ascending[:-1]).any():
        return _strings(array.cast(pa.large_string()).dictionary_encode(), groups)
    known = _texts(taken, hashes) if len(used) <= EXACT else []
    found = []
    for present, counts in tallies:
        nulls = int(counts[-1]) if len(present) and present[-1] == width else 0
        rows = counts[:-1] if nulls else counts
        at = np.searchsorted(used, present[: len(rows)])
        if absent.any():
            nulls += int(rows[absent[at]].sum())
            at, rows = at[~absent[at]], rows[~absent[at]]
        undercount = len(at) // (COUNTERS + 1) if len(at) > EXACT else 0
        held = at[rows > undercount]
        texts = (
            [known[i] for i in held.tolist()] if known else _texts(taken.take(pa.array(held)), hashes[held])
        )
        summary = ColumnSummary.of_strings(
            texts, rows, lengths[at], hashes[at], undercount=undercount, nulls=nulls
        )
        found.append(summary)
    return found


def _texts(words: pa.Array, hashes: NDArray[np.uint64]) -> list[str]:
    """Strings as they are held in counters: long ones by beginning and hash."""
    long = pc.greater_equal(pc.binary_length(words), _LONG)
    if not pc.any(long).as_py():
        shown: list[str] = words.to_pylist()
        return shown
    shown = pc.if_else(long, pc.utf8_slice_codeunits(words, 0, 64), words).to_pylist()
    for i in np.flatnonzero(long.fill_null(False).to_numpy(zero_copy_only=False)).tolist():
        shown[i] = f"{shown[i]}… #{hashes[i]:016x}"
    return shown
