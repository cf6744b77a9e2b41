"""Dataset: schema, chunks, counts from footers alone; to_dask()."""

from __future__ import annotations

import copy
import difflib
import html
import itertools
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.data.chunks import Chunk, FileInfo, Piece, bytes_up_to, cut_chunks, fingerprint_of
from headrace.data.files import HIVE_NULL, file_url, find_files
from headrace.data.filters import Filter, parse_filter
from headrace.data.footers import read_footers
from headrace.data.matching import FALSE, TRUE, UNKNOWN, WHERE, Matcher, Span, at_or_after, bind, spans_of
from headrace.data.partitions import ReadPartition
from headrace.data.pii import bind_treatments
from headrace.data.reading import read_chunk, read_columns, to_pandas
from headrace.data.storage import open_filesystem
from headrace.data.unified import ColumnInfo, unify_files
from headrace.data.urls import refuse_secret
from headrace.errors import DataError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import dask.dataframe as dd
    import pandas as pd

    from headrace.data.footers import RowGroup
    from headrace.data.matching import Spans
    from headrace.data.pii import Treatment, Treatments

__all__ = ["Chunk", "ColumnInfo", "Dataset", "FileInfo", "Piece"]

GIB = 1 << 30

MOST_TRIED = 16
"""Row groups that `Dataset.head` reads at most to find rows that a filter keeps."""


class Dataset:
    """Parquet files at a URL, known from their footers alone.

    Parameters
    ----------
    url : str
        A file, a directory (with hive partitions such as ``month=1`` or without), or a glob; a local path
        or any URL that fsspec knows. Names that begin with ``_`` or ``.`` are ignored.
    memory : int, default 1 GiB
        Bytes that a worker may use; chunks are sized from it.
    where : str, optional
        Which rows are wanted, such as ``country == "DE" and age >= 18``; see `where`.

    Attributes
    ----------
    url : str
        As given.
    schema : pyarrow.Schema
        Columns of all files, then hive partition columns; dictionaries appear as their values.
    rows : int
        Rows that are read: those of all files, but for row groups that `where` leaves out. How many of them it
        keeps is known once they are read.
    bytes : int
        Compressed bytes of all columns of these.
    files : tuple of FileInfo
        In the order of the rows.
    columns : dict of str to ColumnInfo
        What the footers say about each column.
    chunks : tuple of Chunk
        Runs of row groups; chunk ``i`` is partition ``i`` of `to_dask`.
    notes : tuple of str
        What was done to read differing files as one (promotions, missing columns, files without rows), row groups
        that are read in slices, and those that `where` leaves out.
    metadata : dict of str to str
        Schema metadata on which all files agree.
    fingerprint : str
        SHA-256 over the name, size, rows and row-group offsets of every file, the filter, and what `treated` does.

    Raises
    ------
    DataError
        Nothing is there, a file is not Parquet or damaged, or files do not fit each other.
    WorkflowError
        `where` cannot be understood, or does not fit the columns.
    StorageError
        The storage cannot be read.
    """

    def __init__(self, url: str, *, memory: int = GIB, where: str | None = None) -> None:
        self.url = refuse_secret(os.fspath(url))
        filesystem, path = open_filesystem(self.url)
        found = find_files(filesystem, path, self.url)
        footers = read_footers(filesystem, [each.listed for each in found])
        paths = [file_url(filesystem, each.listed.path) for each in found]
        unified = unify_files(paths, footers, [each.partition for each in found])
        self.schema = self._stored = unified.schema
        self.columns = unified.columns
        self._unified_notes = unified.notes
        self.metadata = unified.metadata
        self.files = tuple(
            FileInfo(
                path, each.key, each.listed.size, footer.rows, footer.row_groups, partition, each.listed.stamp
            )
            for path, each, footer, partition in zip(paths, found, footers, unified.partitions, strict=True)
        )
        self.memory = memory
        self._by_path = {file.path: file for file in self.files}
        if not any(file.rows for file in self.files):
            raise DataError(
                f"holds no rows in {len(self.files)} file(s)", where=self.url, mend="give data with rows"
            )
        self._border: Matcher | None = None
        self._filter: Filter | None = None if where is None else _parsed(where)
        self._treatments: Treatments | None = None
        self._beside = 0
        self._cut()

    def where(self, text: str | Filter) -> Dataset:
        """Return the dataset with only the rows that fulfil a condition.

        Row groups in which no row can fulfil it, as their statistics and hive directories tell, are not read.

        Parameters
        ----------
        text : str or Filter
            Comparisons of a column with a value, ``in [..]``, ``is null``, joined by ``and``, ``or``, ``not``; see
            `headrace.data.filters.parse_filter`. A comparison with a missing value (null or NaN) is not true. It
            takes the place of an earlier condition.

        Raises
        ------
        WorkflowError
            It cannot be understood, a column is not there or holds something else, or no row can fulfil it.
        """
        return self._cut_anew(_filter=_parsed(text) if isinstance(text, str) else text)

    def cut_at(self, column: str, moment: object) -> Dataset:
        """Return the dataset with chunks that end, where the row groups allow, before the first time at `moment`."""
        return self._cut_anew(_border=at_or_after(column, self.schema.field(column).type, moment))

    def treated(self, treatments: Sequence[Treatment]) -> Dataset:
        """Return the dataset with columns about persons treated as they are read; only `where` sees them as they are.

        Raises
        ------
        WorkflowError
            A column is not there, or not of a type with which that can be done.
        """
        if not treatments:
            return self
        bound = bind_treatments(treatments, self._stored)
        schema = bound.after(self._stored)
        columns = {name: self.columns[name] for name in schema.names}
        for name in {*bound.names} & {*columns}:
            columns[name] = replace(columns[name], type=schema.field(name).type, minimum=None, maximum=None)
        return self._cut_anew(_treatments=bound, schema=schema, columns=columns)

    def widened(self, row_bytes: int) -> Dataset:
        """Return the dataset with chunks that leave room for so many bytes a row that are made of its columns."""
        return self._cut_anew(_beside=row_bytes)

    def sides(self, chunk: Chunk) -> tuple[bool, bool]:
        """Tell whether a chunk can hold rows before the border of `cut_at`, and at or after it."""
        sides = [
            self._side(self._by_path[piece.path], number)
            for piece in chunk.pieces
            for number in piece.row_groups
        ]
        return any(side & (FALSE | UNKNOWN) for side in sides), any(side & TRUE for side in sides)

    def spans(self, column: str, chunks: Iterable[Chunk]) -> list[tuple[Any, Any, int]]:
        """Smallest and largest value of a column and rows, of each row group of some chunks whose footer tells."""
        if self._treatments is not None and column in self._treatments.names:
            return []  # the footers tell of the values before
        found = {
            (piece.path, number): (group.columns[column].extremes, group.rows)
            for chunk in chunks
            for piece in chunk.pieces
            for number in piece.row_groups
            if column in (group := self._by_path[piece.path].row_groups[number]).columns
        }
        return [
            (extremes.minimum, extremes.maximum, rows)
            for extremes, rows in found.values()
            if extremes.minimum is not None
        ]

    def column_bytes(self, columns: Iterable[str], chunks: Iterable[Chunk] | None = None) -> int:
        """Compressed bytes that are read for some columns of some chunks, those of the filter included."""
        names = read_columns(columns, self._filter)
        return sum(
            bytes_up_to(column.bytes, piece.within, group.rows)
            for chunk in (self.chunks if chunks is None else chunks)
            for piece, group in self._groups(chunk)
            for name in names
            if (column := group.columns.get(name)) is not None
        )

    def column_memory(self, columns: Iterable[str], chunk: Chunk) -> int:
        """Estimated bytes of some columns of a chunk once decoded, those of the filter included."""
        names = read_columns(columns, self._filter)
        total = 0
        for piece, group in self._groups(chunk):
            held = [group.columns[name].memory for name in names if name in group.columns]
            # A column that the file does not hold is made: codes or values of 8 bytes.
            total += (
                (sum(held) + 8 * group.rows * (len(names) - len(held)))
                * (piece.rows if piece.within else group.rows)
                // group.rows
            )
        return total

    def _groups(self, chunk: Chunk) -> Iterator[tuple[Piece, RowGroup]]:
        for piece in chunk.pieces:
            for number in piece.row_groups:
                yield piece, self._by_path[piece.path].row_groups[number]

    def _cut_anew(self, **changes: Any) -> Dataset:
        other = copy.copy(self)
        vars(other).update(changes)
        other._cut()  # noqa: SLF001 its own class
        return other

    def _cut(self) -> None:
        """Cut the chunks by filter and border, and count what they hold."""
        matcher = None if self._filter is None else bind(self._filter, self._stored)
        wanted = None if matcher is None else lambda file, i: matcher.may_hold(self._spans(file, i))
        side = None if self._border is None else self._side
        cut = partial(cut_chunks, self.files, where=self._filter, treatments=self._treatments)
        self._cut_chunks = partial(cut, wanted=wanted, side=side)
        held = sum(group.memory for file in self.files for group in file.row_groups)
        made = self._beside * sum(file.rows for file in self.files)
        self.chunks = self._cut_chunks(self.memory, share=1 + made / max(1, held))
        self.rows = sum(chunk.rows for chunk in self.chunks)
        self.bytes = self.column_bytes(self.schema.names)
        self.fingerprint = fingerprint_of(self.files, self._filter, self._treatments)
        self.notes = (*self._unified_notes, *self._notes())
        if not self.chunks:
            raise WorkflowError(
                "no row can fulfil it, as the footers of the files tell",
                where=WHERE,
                mend="widen the condition",
            )

    def _side(self, file: FileInfo, number: int) -> int:
        return 0 if self._border is None else self._border.outcomes(self._spans(file, number))

    def _spans(self, file: FileInfo, number: int) -> Spans:
        group = file.row_groups[number]
        known = {
            name: Span(group.rows, column.nulls, column.extremes.minimum, column.extremes.maximum)
            for name, column in group.columns.items()
        }
        for name, text in file.partition:
            if text != HIVE_NULL:
                value = int(text) if pa.types.is_integer(self._stored.field(name).type) else text
                known[name] = Span(group.rows, 0, value, value)
        return spans_of(known, group.rows)

    def _notes(self) -> Iterator[str]:
        if self._filter is not None:
            every = sum(file.rows for file in self.files)
            yield f"data.where: {every - self.rows:,} of {every:,} rows lie in row groups that are not read"
        sliced: dict[tuple[str, int], int] = {}
        for chunk in self.chunks:
            for piece in chunk.pieces:
                if piece.within is not None:
                    place = (piece.path, piece.row_groups[0])
                    sliced[place] = sliced.get(place, 0) + 1
        for (path, number), slices in sliced.items():
            memory = self._by_path[path].row_groups[number].memory
            yield (
                f"file {path}: row group {number} takes {memory / (1 << 20):,.0f} MiB and is read in {slices} slices, "
                f"each of which decodes what is before it: some {(slices + 1) / 2:g} times its bytes in every pass"
            )

    def chunks_for(self, columns: Iterable[str]) -> tuple[Chunk, ...]:
        """Cut chunks for a pass that reads some of very many columns: each takes the memory that one of all columns does."""
        names = list(columns)
        own = sum(self.column_memory(names, chunk) for chunk in self.chunks)
        return self._cut_chunks(self.memory, share=own / max(1, sum(chunk.memory for chunk in self.chunks)))

    def check_columns(self, names: Iterable[str]) -> None:
        """Refuse names that are not columns, with the nearest name that is.

        Raises
        ------
        DataError
            Names the unknown column.
        """
        for name in names:
            if name not in self.columns:
                near = difflib.get_close_matches(str(name), self.columns, n=1, cutoff=0.5)
                mend = f"did you mean {near[0]!r}?" if near else f"it has {_listing(list(self.columns))}"
                raise DataError(f"has no column {name!r}", where=self.url, mend=mend)

    def to_dask(self, columns: Sequence[str] | None = None, *, dictionary: bool = False) -> dd.DataFrame:
        """Return the Dask DataFrame: partition ``i`` is chunk ``i``, columns are Arrow-backed.

        Columns that later steps do not use are not read.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to offer; all by default.
        dictionary : bool, default False
            Leave text as Arrow dictionaries.

        Returns
        -------
        dask.dataframe.DataFrame
            Each partition has its own index from 0.

        Raises
        ------
        DataError
            A column is not known.
        """
        import dask
        import dask.dataframe as dd

        names = list(self.schema.names if columns is None else columns)
        self.check_columns(names)
        function = ReadPartition(self.schema, dictionary)
        # the frame is Arrow-backed already; conversion would add a task that hides the projection
        with dask.config.set({"dataframe.convert-string": False}):
            frame: dd.DataFrame = dd.from_map(
                function, self.chunks, columns=names, meta=function.empty(), label="read-chunk"
            )
        return frame

    def head(self, n: int = 5) -> pd.DataFrame:
        """Return the first `n` rows (fewer when the first row group that has any has fewer), Arrow-backed."""
        table = self.schema.empty_table()
        for piece, number in itertools.islice(self._places(), MOST_TRIED):
            group = self._by_path[piece.path].row_groups[number]
            rows = piece.rows if piece.within else group.rows
            first = replace(piece, row_groups=(number,), rows=rows)
            chunk = Chunk(0, (first,), rows, group.bytes, group.memory, self._filter, self._treatments)
            table = read_chunk(chunk, self.schema, self.schema.names, dictionary=False)
            if table.num_rows:
                break
        return to_pandas(table.slice(0, n))

    def _places(self) -> Iterator[tuple[Piece, int]]:
        for chunk in self.chunks:
            for piece in chunk.pieces:
                for number in piece.row_groups:
                    yield piece, number

    def __repr__(self) -> str:
        return (
            f"Dataset({self.url!r}: {self.rows:,} rows, {len(self.columns)} columns, "
            f"{len(self.files)} files, {len(self.chunks)} chunks, {self.bytes / 1e6:,.1f} MB)"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in _described(column)) + "</tr>"
            for column in self.columns.values()
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f"<p>{html.escape(repr(self))}</p><table><thead><tr><th>column</th><th>type</th><th>nulls</th>"
            f"<th>minimum</th><th>maximum</th></tr></thead><tbody>{rows}</tbody></table>"
            + (f"<ul>{notes}</ul>" if notes else "")
        )


def _parsed(text: str) -> Filter:
    try:
        return parse_filter(text)
    except ValueError as error:
        what, _, mend = str(error).partition("; ")
        raise WorkflowError(what, where=WHERE, mend=mend) from None


def _listing(names: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _described(column: ColumnInfo) -> tuple[str, ...]:
    nulls = "" if column.nulls is None else f"{column.nulls:,}"
    extremes = ("" if bound is None else str(bound)[:40] for bound in (column.minimum, column.maximum))
    return (column.name, str(column.type), nulls, *extremes)
