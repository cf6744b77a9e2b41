"""Dataset: schema, chunks, counts from footers alone; to_dask()."""

from __future__ import annotations

import difflib
import hashlib
import html
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.data.chunks import Chunk, FileInfo, Piece, cut_chunks
from headrace.data.files import file_url, find_files
from headrace.data.footers import read_footers
from headrace.data.reading import read_chunk, wanted_type
from headrace.data.storage import open_filesystem
from headrace.data.unified import ColumnInfo, unify_files
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import dask.dataframe as dd
    import pandas as pd

__all__ = ["Chunk", "ColumnInfo", "Dataset", "FileInfo", "Piece"]

GIB = 1 << 30


class Dataset:
    """Parquet files at a URL, known from their footers alone.

    Parameters
    ----------
    url : str
        A file, a directory (with hive partitions such as ``month=1`` or without), or a glob; a local path
        or any URL that fsspec knows. Names that begin with ``_`` or ``.`` are ignored.
    memory : int, default 1 GiB
        Bytes that a worker may use; chunks are sized from it.

    Attributes
    ----------
    url : str
        As given.
    schema : pyarrow.Schema
        Columns of all files, then hive partition columns; dictionaries appear as their values.
    rows : int
        Rows in all files.
    bytes : int
        Compressed bytes of all columns.
    files : tuple of FileInfo
        In the order of the rows.
    columns : dict of str to ColumnInfo
        What the footers say about each column.
    chunks : tuple of Chunk
        Runs of whole row groups; chunk ``i`` is partition ``i`` of `to_dask`.
    notes : tuple of str
        What was done to read differing files as one: promotions, missing columns, files without rows.
    metadata : dict of str to str
        Schema metadata on which all files agree.
    fingerprint : str
        SHA-256 over the name, size, rows and row-group offsets of every file.

    Raises
    ------
    DataError
        Nothing is there, a file is not Parquet or damaged, or files do not fit each other.
    StorageError
        The storage cannot be read.
    """

    def __init__(self, url: str, *, memory: int = GIB) -> None:
        self.url = os.fspath(url)
        filesystem, path = open_filesystem(self.url)
        found = find_files(filesystem, path, self.url)
        footers = read_footers(filesystem, [each.listed for each in found])
        paths = [file_url(filesystem, each.listed.path) for each in found]
        unified = unify_files(paths, footers, [each.partition for each in found])
        self.schema = unified.schema
        self.columns = unified.columns
        self.notes = unified.notes
        self.metadata = unified.metadata
        self.files = tuple(
            FileInfo(path, each.key, each.listed.size, footer.rows, footer.row_groups, partition)
            for path, each, footer, partition in zip(paths, found, footers, unified.partitions, strict=True)
        )
        self.rows = sum(file.rows for file in self.files)
        self.bytes = sum(column.bytes for column in self.columns.values())
        if self.rows == 0:
            raise DataError(
                f"holds no rows in {len(self.files)} file(s)", where=self.url, mend="give data with rows"
            )
        self.chunks = cut_chunks(self.files, memory)
        self.fingerprint = _fingerprint(self.files)

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
        function = _ReadPartition(self.schema, dictionary)
        # the frame is Arrow-backed already; conversion would add a task that hides the projection
        with dask.config.set({"dataframe.convert-string": False}):
            frame: dd.DataFrame = dd.from_map(
                function, self.chunks, columns=names, meta=function.empty(), label="read-chunk"
            )
        return frame

    def head(self, n: int = 5) -> pd.DataFrame:
        """Return the first `n` rows (fewer when the first row group has fewer), Arrow-backed."""
        piece = self.chunks[0].pieces[0]
        file = next(file for file in self.files if file.path == piece.path)
        group = file.row_groups[piece.row_groups[0]]
        first = Piece(
            piece.path, piece.key, piece.row_groups[:1], group.rows, piece.first_row, piece.partition
        )
        chunk = Chunk(0, (first,), group.rows, group.bytes, group.memory)
        table = read_chunk(chunk, self.schema, self.schema.names, dictionary=False)
        return _to_pandas(table.slice(0, n))

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


@dataclass(frozen=True)
class _ReadPartition:
    """Reads one chunk as a partition; `columns` has no default, so that Dask always passes it."""

    schema: pa.Schema
    dictionary: bool

    def __call__(self, chunk: Chunk, columns: Sequence[str]) -> pd.DataFrame:
        import pandas as pd

        table = read_chunk(chunk, self.schema, list(columns), dictionary=self.dictionary)
        if not table.column_names:  # what Dask asks for when it counts rows
            return pd.DataFrame(index=pd.RangeIndex(table.num_rows))
        return _to_pandas(table)

    def empty(self) -> pd.DataFrame:
        """Return the partition without rows."""
        fields = [
            pa.field(field.name, wanted_type(field.type, dictionary=self.dictionary)) for field in self.schema
        ]
        return _to_pandas(pa.schema(fields).empty_table())


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _fingerprint(files: Sequence[FileInfo]) -> str:
    digest = hashlib.sha256()
    for file in files:
        entry = [file.key, file.size, file.rows, [group.offset for group in file.row_groups]]
        digest.update(json.dumps(entry).encode() + b"\n")
    return digest.hexdigest()


def _listing(names: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _described(column: ColumnInfo) -> tuple[str, ...]:
    nulls = "" if column.nulls is None else f"{column.nulls:,}"
    extremes = ("" if bound is None else str(bound)[:40] for bound in (column.minimum, column.maximum))
    return (column.name, str(column.type), nulls, *extremes)
