"""One schema for files that differ: safe promotions, missing columns, hive columns, each noted (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.data.files import HIVE_NULL
from headrace.data.footers import merge_extremes
from headrace.data.schemas import Extremes, promote
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.data.footers import Footer, FooterColumn

Partition = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ColumnInfo:
    """What the footers of all files say about one column."""

    name: str
    """Its name."""
    type: pa.DataType
    """Its type after promotion."""
    nulls: int | None
    """Nulls, missing columns counted; None when a footer does not say."""
    minimum: Any
    """Smallest value (NaN aside); None when a footer does not say."""
    maximum: Any
    """Largest value (NaN aside); None when a footer does not say."""
    bytes: int
    """Compressed bytes; 0 for hive columns."""


@dataclass(frozen=True)
class Unified:
    """Several files seen as one table."""

    schema: pa.Schema
    columns: dict[str, ColumnInfo]
    partitions: tuple[Partition, ...]
    """Of each file; only hive columns of the schema."""
    notes: tuple[str, ...]
    metadata: dict[str, str]


def unify_files(paths: Sequence[str], footers: Sequence[Footer], partitions: Sequence[Partition]) -> Unified:
    """Find the schema that holds the values of all files.

    Parameters
    ----------
    paths : sequence of str
        Names of the files, for notes and errors.
    footers : sequence of Footer
        One a file.
    partitions : sequence of tuple
        One a file: column and value of each hive directory.

    Raises
    ------
    DataError
        Two files hold a column in types that no type can hold both.
    """
    notes: list[str] = []
    empty = [path for path, footer in zip(paths, footers, strict=True) if footer.rows == 0]
    if empty:
        notes.append(f"{_some(empty)}: no rows")
    names = list(dict.fromkeys(name for footer in footers for name in footer.columns))
    columns = {name: _unified_column(name, paths, footers, notes) for name in names}
    hive = _hive_columns(paths, partitions, names, notes)
    for name, values in hive.items():
        columns[name] = _hive_column(name, values, [footer.rows for footer in footers])
    return Unified(
        schema=pa.schema([pa.field(column.name, column.type) for column in columns.values()]),
        columns=columns,
        partitions=tuple(tuple(pair for pair in partition if pair[0] in hive) for partition in partitions),
        notes=tuple(notes),
        metadata=_agreed_metadata(footers),
    )


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - 1
    return f"{paths[0]} and {more} more file{'s' if more > 1 else ''}" if more else paths[0]


def _unified_column(
    name: str, paths: Sequence[str], footers: Sequence[Footer], notes: list[str]
) -> ColumnInfo:
    held = [
        (path, footer.columns[name], footer.rows)
        for path, footer in zip(paths, footers, strict=True)
        if name in footer.columns
    ]
    data_type, extremes = _promoted(name, held)
    for own in dict.fromkeys(column.type for _, column, _ in held if column.type != data_type):
        files = [path for path, column, _ in held if column.type == own]
        notes.append(f"{_some(files)}: column {name!r} promoted from {own} to {data_type}")
    lacking = [
        (path, footer.rows)
        for path, footer in zip(paths, footers, strict=True)
        if name not in footer.columns and footer.rows
    ]
    if lacking:
        notes.append(f"{_some([path for path, _ in lacking])}: no column {name!r}, read as nulls")
    nulls = [column.nulls for _, column, _ in held if column.nulls is not None]
    known = len(nulls) == len(held)
    return ColumnInfo(
        name=name,
        type=data_type,
        nulls=sum(nulls) + sum(rows for _, rows in lacking) if known else None,
        minimum=extremes.minimum,
        maximum=extremes.maximum,
        bytes=sum(column.bytes for _, column, _ in held),
    )


def _promoted(name: str, held: Sequence[tuple[str, FooterColumn, int]]) -> tuple[pa.DataType, Extremes]:
    """Fold the types of one column over its files, and its extremes with them."""
    first_path, first, _ = held[0]
    data_type, whole = first.type, _Range(first.extremes, _has_values(held[0]))
    for each in held[1:]:
        path, column, _ = each
        own = _Range(column.extremes, _has_values(each))
        promoted = promote(data_type, column.type, (whole.for_promotion(), own.for_promotion()))
        if promoted is None:
            raise DataError(
                f"column {name!r} is {column.type} here and {data_type} in {first_path}",
                where=f"file {path}",
                mend="write the column in one type",
            )
        whole = whole.joined(own)
        data_type = promoted
    return data_type, whole.extremes


def _has_values(held: tuple[str, FooterColumn, int]) -> bool:
    _, column, rows = held
    return column.nulls is None or column.nulls < rows


@dataclass(frozen=True)
class _Range:
    """Extremes of some files, and whether these hold any value at all."""

    extremes: Extremes
    values: bool

    def joined(self, other: _Range) -> _Range:
        if not (self.values and other.values):
            return self if self.values else other
        bounds = (self.extremes, other.extremes)
        if any(each.minimum is None for each in bounds):
            return _Range(Extremes(), values=True)
        return _Range(merge_extremes(bounds), values=True)

    def for_promotion(self) -> Extremes:
        """Return the extremes that decide about a promotion: a column without values fits any range."""
        return self.extremes if self.values else Extremes(0, 0)


def _hive_columns(
    paths: Sequence[str], partitions: Sequence[Partition], names: Sequence[str], notes: list[str]
) -> dict[str, list[str]]:
    """Columns that directories name, each with its value for every file."""
    keys = list(dict.fromkeys(key for partition in partitions for key, _ in partition))
    hive: dict[str, list[str]] = {}
    for key in keys:
        values = [dict(partition).get(key) for partition in partitions]
        if key in names:
            notes.append(f"column {key!r}: the files hold it, so the directories {key}=... are not used")
            continue
        bare = [path for path, value in zip(paths, values, strict=True) if value is None]
        if bare:
            raise DataError(
                f"is not below a directory {key}=..., as other files are",
                where=f"file {bare[0]}",
                mend="move it there, or give a glob that leaves it out",
            )
        hive[key] = [value for value in values if value is not None]
    return hive


def _hive_column(name: str, values: Sequence[str], rows: Sequence[int]) -> ColumnInfo:
    present = [value for value in values if value != HIVE_NULL]
    whole = bool(present) and all(_is_int64(value) for value in present)
    typed: list[Any] = [int(value) for value in present] if whole else list(present)
    return ColumnInfo(
        name=name,
        type=pa.int64() if whole else pa.string(),
        nulls=sum(count for value, count in zip(values, rows, strict=True) if value == HIVE_NULL),
        minimum=min(typed, default=None),
        maximum=max(typed, default=None),
        bytes=0,
    )


def _is_int64(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and -(1 << 63) <= int(text) < 1 << 63


def _agreed_metadata(footers: Sequence[Footer]) -> dict[str, str]:
    first, *others = [footer for footer in footers if footer.rows] or list(footers)
    return {
        key: value
        for key, value in first.metadata.items()
        if all(other.metadata.get(key) == value for other in others)
    }
