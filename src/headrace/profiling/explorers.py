"""What exploration looks for beside the profile: a sample of rows, products, trends, and what is missing together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.absences import Absences
from headrace.accumulators.gram import Gram
from headrace.accumulators.hashing import hash_strings
from headrace.accumulators.leaves import kind_of, plain_numbers
from headrace.accumulators.rowsample import RowSample
from headrace.accumulators.trends import Trend
from headrace.engine.order import TRAIN, row_keys
from headrace.profiling.classes import class_codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.engine.splits import Splitter

ALL = 2**64 - 1
"""A key that no row exceeds."""
_BLOCK = 1 << 13
"""Rows of which products are taken at a time."""
_SECONDS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True)
class SampleFinder:
    """Keeps a uniform sample of rows: those with the smallest keys.

    Numbers are kept as they are, times in the unit of their column, booleans as 0 and 1, strings as the upper 53 bits of
    their hash (see `word_code`), missing values as NaN.
    """

    name: ClassVar[str] = "explored sample"
    finding: ClassVar[type[RowSample]] = RowSample
    columns: tuple[str, ...]
    size: int
    """Rows that are kept at most."""
    most: int = ALL
    """Rows with a larger key are not looked at; chosen so that more than `size` are left of all rows."""

    def find(self, table: pa.Table, chunk: Chunk) -> RowSample:
        """Keep rows of one chunk."""
        return self.look(table, row_keys(chunk))

    def look(self, table: pa.Table, keys: NDArray[np.uint64]) -> RowSample:
        """Keep rows of a table, given the key of each."""
        found = RowSample(len(self.columns), self.size)
        places = np.flatnonzero(keys <= np.uint64(self.most))
        places = places[found.picks(keys[places])]
        if len(places):
            at = pa.array(places)
            values = np.stack([_encoded(table[name].take(at)) for name in self.columns], axis=1)
            found.update(keys[places], values)
        return found


@dataclass(frozen=True)
class ProductFinder:
    """Measures the cross products of numeric columns, of which correlation and principal components come.

    Of all rows they are exact; of very many rows a share is chosen by key, see `most`.
    """

    name: ClassVar[str] = "explored products"
    finding: ClassVar[type[Gram]] = Gram
    columns: tuple[str, ...]
    most: int = ALL
    """Rows with a larger key are not looked at."""

    def find(self, table: pa.Table, chunk: Chunk) -> Gram:
        """Measure one chunk."""
        return self.look(table, row_keys(chunk))

    def look(self, table: pa.Table, keys: NDArray[np.uint64]) -> Gram:
        """Measure a table, given the key of each row."""
        found = Gram.empty(self.columns)
        table = table.select(list(self.columns))
        if self.most < ALL:
            table = table.take(pa.array(np.flatnonzero(keys <= np.uint64(self.most))))
        for start in range(0, table.num_rows, _BLOCK):
            rows = table.slice(start, _BLOCK)
            # A row for each column: what is written and read then lies side by side.
            found = found.update(np.stack([_floats(column) for column in rows.columns]).T)
        return found


@dataclass(frozen=True)
class AbsenceFinder:
    """Counts which columns are missing together."""

    name: ClassVar[str] = "explored absences"
    finding: ClassVar[type[Absences]] = Absences
    columns: tuple[str, ...]

    def find(self, table: pa.Table, _chunk: Chunk) -> Absences:
        """Count one chunk."""
        return self.look(table)

    def look(self, table: pa.Table, _keys: NDArray[np.uint64] | None = None) -> Absences:
        """Count a table."""
        missing = {name: gone for name in self.columns if (gone := _missing(table[name])) is not None}
        return Absences.of(self.columns, table.num_rows, missing)


@dataclass(frozen=True)
class TrendFinder:
    """Counts rows, missing values, means and classes over time."""

    name: ClassVar[str] = "explored trend"
    finding: ClassVar[type[Trend]] = Trend
    time: str
    """A column of dates or timestamps; rows without a time are left out."""
    watched: tuple[str, ...]
    """Columns whose missing values and means are followed."""
    target: str | None = None
    """Column whose labels are counted."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it looks at."""
        target = () if self.target is None else (self.target,)
        return tuple(dict.fromkeys((self.time, *self.watched, *target)))

    def find(self, table: pa.Table, _chunk: Chunk) -> Trend:
        """Follow one chunk."""
        return self.look(table)

    def look(self, table: pa.Table, _keys: NDArray[np.uint64] | None = None) -> Trend:
        """Follow a table."""
        gone = _missing(table[self.time])
        kept = None if gone is None else ~gone

        def rows(values: NDArray[Any]) -> NDArray[Any]:
            return values if kept is None else values[kept]

        values: dict[str, NDArray[Any]] = {}
        absent: dict[str, NDArray[np.bool_]] = {}
        for name in self.watched:
            kind = kind_of(table.schema.field(name).type)
            if kind in {"numeric", "boolean"}:
                values[name] = rows(_floats(table[name]))
            elif (empty := _missing(table[name])) is not None:
                absent[name] = rows(empty)
        labels = None if self.target is None else class_codes(table[self.target])
        classes = None if labels is None else (rows(labels[0]), labels[1])
        overflow = self.target is not None and labels is None
        return Trend.of(
            rows(_hours(table[self.time])), self.watched, values, absent, classes, overflow=overflow
        )


Explorer = SampleFinder | ProductFinder | AbsenceFinder | TrendFinder


@dataclass(frozen=True)
class Chosen:
    """What several explorers have found in the same rows, by their names."""

    found: dict[str, Any]

    def merge(self, other: Self) -> Self:
        """Return what was found in both sets of rows."""
        return replace(self, found={name: mine.merge(other.found[name]) for name, mine in self.found.items()})

    def result(self) -> dict[str, Any]:
        """Return `found`."""
        return self.found

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {name: finding.state() for name, finding in self.found.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls({name: _FINDINGS[name].from_state(held) for name, held in state.items()})


_FINDINGS: dict[str, Any] = {
    kind.name: kind.finding for kind in (SampleFinder, ProductFinder, AbsenceFinder, TrendFinder)
}


@dataclass(frozen=True)
class ChosenRows:
    """Lets explorers look at the training rows of a run alone; of very many, at a share chosen by key.

    The rows are chosen and taken once for all of them: a run is there to train, and its report need not be exact.
    """

    name: ClassVar[str] = "explored"
    finding: ClassVar[type[Chosen]] = Chosen
    explorers: tuple[Explorer, ...]
    splitter: Splitter
    most: int = ALL
    """Rows with a larger key are not looked at."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that any of them looks at."""
        return tuple(dict.fromkeys(name for explorer in self.explorers for name in explorer.columns))

    def find(self, table: pa.Table, chunk: Chunk) -> Chosen:
        """Look at the chosen rows of one chunk."""
        keys = row_keys(chunk)
        places = np.flatnonzero(keys <= np.uint64(self.most))
        places = places[self.splitter.parts(table, chunk)[places] == TRAIN]
        table, keys = table.select(list(self.columns)).take(pa.array(places)), keys[places]
        return Chosen({explorer.name: explorer.look(table, keys) for explorer in self.explorers})


Explorers = tuple[Explorer | ChosenRows, ...]


def word_code(words: pa.Array) -> NDArray[np.float64]:
    """Return what a sample holds of strings, shape (n,): the upper 53 bits of their hash, which a float holds exactly."""
    return (hash_strings(words) >> np.uint64(11)).astype(np.float64)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Numbers, times and booleans as float64, NaN where missing."""
    array = _plain(column)
    array = array.cast(pa.uint8()) if pa.types.is_boolean(array.type) else plain_numbers(array)
    array = array.cast(pa.float64(), safe=False)
    if array.null_count:
        array = array.fill_null(np.nan)
    return np.asarray(array.to_numpy(zero_copy_only=True))


def _encoded(column: pa.ChunkedArray) -> NDArray[np.float64]:
    if kind_of(column.type) != "string":
        return _floats(column)
    if pa.types.is_dictionary(column.type) and column.num_chunks:
        coded = pa.concat_arrays(column.unify_dictionaries().chunks)
        words = coded.dictionary
        if len(words) < len(coded):  # each word is hashed once
            codes = np.append(_word_codes(words), np.nan)
            return np.asarray(codes.take(coded.indices.cast(pa.int64()).fill_null(len(words)).to_numpy()))
    return _word_codes(_plain(column))


def _word_codes(words: pa.Array) -> NDArray[np.float64]:
    codes = word_code(words.cast(pa.large_string()))
    if words.null_count:
        codes[words.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return codes


def _missing(column: pa.ChunkedArray) -> NDArray[np.bool_] | None:
    """Where a column is null or NaN, shape (rows,); None where it never is."""
    logical = column.type
    if pa.types.is_dictionary(logical):
        logical = logical.value_type
        if column.null_count or any(chunk.dictionary.null_count for chunk in column.chunks):
            column = column.cast(logical)
    nulls = column.null_count
    if not pa.types.is_floating(logical):
        return np.asarray(column.is_null().to_numpy()) if nulls else None
    if nulls:
        return np.asarray(column.is_null(nan_is_null=True).to_numpy())
    values = _plain(column).to_numpy(zero_copy_only=False)
    # The sum of numbers one of which is NaN is NaN: one look that allocates nothing.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(np.sum(values)):
            return None
    gone = np.isnan(values)
    return gone if gone.any() else None


def _hours(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Hours since 1970, shape (rows,); of missing times, any."""
    array = _plain(column)
    held = array.type
    if pa.types.is_date32(held):
        days = pc.fill_null(array.cast(pa.int32()), 0).to_numpy(zero_copy_only=True)
        return np.asarray(days.astype(np.int64) * 24)
    unit = "ms" if pa.types.is_date64(held) else held.unit
    instants = array.view(pa.int64())
    if instants.null_count:
        instants = pc.fill_null(instants, 0)
    return np.asarray(instants.to_numpy(zero_copy_only=True) // (3600 * _SECONDS[unit]))


def columns_of(schema: pa.Schema) -> Mapping[str, str]:
    """Return the kind of every column that can be explored, in order."""
    kinds = {field.name: kind_of(field.type) for field in schema}
    return {name: kind for name, kind in kinds.items() if kind != "other"}
