"""Sums by value: counts and further sums for each of very many values, bounded, with the error of what was let go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from headrace.accumulators.encoding import decode_array, encode_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class GroupedSums:
    """Rows and sums of each value of a column.

    At most `capacity` values are held after a merge. When there are more, those that occur at most t times go, t being the
    (capacity + 1)-th largest count, and t is added to `error`: lossy counting after Manku and Motwani (2002). A value that is held has lost
    at most `error` rows, with their sums, and one that is not held has at most `error` rows. Totals are exact whatever goes. Exact
    while no more than `capacity` values are distinct. About 8 (k + 3) bytes a value beside its text.

    Attributes
    ----------
    capacity : int
    values : pyarrow.Array of large_string or float64, length c
        Distinct, in no particular order.
    counts : ndarray of int64, shape (c,)
        Rows of each.
    names : tuple of str, length k
        What is summed, ascending; both sides of a merge may have others.
    sums : ndarray of float64, shape (c, k)
    rows : int
        Of all values.
    totals : ndarray of float64, shape (k,)
        Sums of all values.
    error : int
        Rows that one value may have lost.

    Examples
    --------
    >>> a = GroupedSums.of(10, pa.array(["x", "y", "x"]), {"y": np.array([1.0, 2.0, 3.0])})
    >>> a.merge(GroupedSums.of(10, pa.array(["y"]), {"y": np.array([5.0])})).result()
    [('x', 2, [4.0]), ('y', 2, [7.0])]
    """

    capacity: int
    values: pa.Array
    counts: NDArray[np.int64]
    names: tuple[str, ...]
    sums: NDArray[np.float64]
    rows: int
    totals: NDArray[np.float64]
    error: int = 0

    @classmethod
    def empty(cls, capacity: int, *, numbers: bool = False) -> Self:
        """Nothing seen."""
        values = pa.array([], pa.float64() if numbers else pa.large_string())
        return cls(capacity, values, np.empty(0, np.int64), (), np.empty((0, 0)), 0, np.empty(0))

    @classmethod
    def of(cls, capacity: int, values: pa.Array, sums: Mapping[str, NDArray[Any]]) -> Self:
        """Count rows.

        Parameters
        ----------
        capacity : int
            Values that are held at most.
        values : pyarrow.Array, length n
            Strings or numbers, dictionary-encoded or plain; nulls are left out.
        sums : mapping of str to ndarray, shape (n,)
            What is summed.
        """
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        words = values.dictionary
        numbers = not _is_string(words.type)
        codes = values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        held = words.cast(pa.float64() if numbers else pa.large_string(), safe=False)
        if held.null_count:
            present = held.is_valid().to_numpy(zero_copy_only=False)
            codes = np.where((codes >= 0) & present[codes], codes, -1)
        return cls.of_codes(capacity, held, codes, sums)

    @classmethod
    def of_codes(
        cls,
        capacity: int,
        values: pa.Array,
        codes: NDArray[np.int64],
        sums: Mapping[str, NDArray[Any]],
        weights: NDArray[np.int64] | None = None,
    ) -> Self:
        """Count rows by the place of their value among `values`, which are distinct; -1 is left out."""
        kept = codes >= 0
        codes = codes[kept]
        width = len(values)
        weight = None if weights is None else weights[kept]
        counts = np.bincount(codes, weights=weight, minlength=width).astype(np.int64)
        names = tuple(sorted(sums))
        table = np.zeros((width, len(names)))
        for j, name in enumerate(names):
            table[:, j] = np.bincount(codes, weights=np.asarray(sums[name], float)[kept], minlength=width)
        some = np.flatnonzero(counts)
        whole = cls(
            capacity,
            values.take(pa.array(some)),
            counts[some],
            names,
            table[some],
            int(counts.sum()),
            table.sum(axis=0),
        )
        return whole.bounded()

    def merge(self, other: Self) -> Self:
        """Return the sums of both."""
        if not other.rows:
            return self
        if not self.rows:
            return other
        names = tuple(sorted({*self.names, *other.names}))
        encoded = pa.concat_arrays([self.values, other.values]).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        width = len(encoded.dictionary)
        first, second = codes[: len(self.values)], codes[len(self.values) :]
        counts, sums = np.zeros(width, np.int64), np.zeros((width, len(names)))
        totals = np.zeros(len(names))
        for side, at in ((self, first), (other, second)):
            columns = [names.index(name) for name in side.names]
            counts[at] += side.counts
            sums[np.ix_(at, columns)] += side.sums
            totals[columns] += side.totals
        return type(self)(
            self.capacity,
            encoded.dictionary,
            counts,
            names,
            sums,
            self.rows + other.rows,
            totals,
            self.error + other.error,
        ).bounded()

    def bounded(self, capacity: int | None = None) -> Self:
        """Return at most so many values."""
        most = self.capacity if capacity is None else capacity
        if len(self.counts) <= most:
            return self
        least = int(np.partition(self.counts, len(self.counts) - most - 1)[len(self.counts) - most - 1])
        stay = np.flatnonzero(self.counts > least)
        return type(self)(
            self.capacity,
            self.values.take(pa.array(stay)),
            self.counts[stay],
            self.names,
            self.sums[stay],
            self.rows,
            self.totals,
            self.error + least,
        )

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the sums of one name, shape (c,); zeros when it was never given."""
        if name not in self.names:
            return np.zeros(len(self.counts))
        return self.sums[:, self.names.index(name)]

    def total(self, name: str) -> float:
        """Sum of one name over all values."""
        return float(self.totals[self.names.index(name)]) if name in self.names else 0.0

    def ordered(self) -> Self:
        """Return the same with the values in ascending order."""
        order = np.array(
            sorted(range(len(self.counts)), key=self.values.to_pylist().__getitem__), dtype=np.int64
        )
        return type(self)(
            self.capacity,
            self.values.take(pa.array(order)),
            self.counts[order],
            self.names,
            self.sums[order],
            self.rows,
            self.totals,
            self.error,
        )

    def result(self) -> list[tuple[Any, int, list[float]]]:
        """Return (value, rows, sums) in ascending order of the values."""
        rows = zip(self.values.to_pylist(), self.counts.tolist(), self.sums.tolist(), strict=True)
        return sorted(rows, key=lambda row: row[0])

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        numbers = not _is_string(self.values.type)
        return {
            "capacity": self.capacity,
            "values": encode_array(self.values.to_numpy(zero_copy_only=False))
            if numbers
            else self.values.to_pylist(),
            "counts": encode_array(self.counts),
            "names": list(self.names),
            "sums": encode_array(self.sums),
            "rows": self.rows,
            "totals": encode_array(self.totals),
            "error": self.error,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        held: Sequence[Any] | dict[str, Any] = state["values"]
        values = (
            pa.array(decode_array(held), pa.float64())
            if isinstance(held, dict)
            else pa.array(held, pa.large_string())
        )
        return cls(
            state["capacity"],
            values,
            decode_array(state["counts"]),
            tuple(state["names"]),
            decode_array(state["sums"]),
            state["rows"],
            decode_array(state["totals"]),
            state["error"],
        )


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
