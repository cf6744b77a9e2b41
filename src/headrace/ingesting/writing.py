"""Batches to Parquet files of wanted row groups, in folders by value when asked; bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.data.files import HIVE_NULL
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.ingesting.options import WriteOptions

HELD = 128 << 20
"""Bytes of rows that wait for their row group to be full, in all folders together."""
MOST_FOLDERS = 1000


@dataclass
class _Waiting:
    """Rows of one folder that are not written yet."""

    tables: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    writer: pq.ParquetWriter | None = None
    file_rows: int = 0
    files: int = 0


class Parts:
    """Writes the rows of one unit.

    Parameters
    ----------
    directory : pathlib.Path
        Where the files go.
    schema : pyarrow.Schema
        Of the rows.
    options : WriteOptions
        Sizes, codec, folders.
    prefix : str
        Begins the name of every file.
    """

    def __init__(self, directory: Path, schema: pa.Schema, options: WriteOptions, prefix: str) -> None:
        for name in options.partition_by:
            if name not in schema.names:
                raise DataError(
                    f"no column {name}",
                    where="write.partition_by",
                    mend=f"columns: {', '.join(schema.names)}",
                )
        self._directory = directory
        self._options = options
        self._prefix = prefix
        self._schema = pa.schema([each for each in schema if each.name not in options.partition_by])
        self._folders: dict[str, _Waiting] = {}

    def write(self, table: pa.Table) -> None:
        """Take rows."""
        for folder, rows in self._dealt(table):
            waiting = self._folders.setdefault(folder, _Waiting())
            if len(self._folders) > MOST_FOLDERS:
                raise DataError(
                    f"more than {MOST_FOLDERS} folders",
                    where="write.partition_by",
                    mend="choose columns with fewer values",
                )
            waiting.tables.append(rows)
            waiting.rows += rows.num_rows
            waiting.bytes += rows.nbytes
            if waiting.rows >= self._options.row_group:
                self._flush(folder, waiting, whole_groups=True)
        while sum(waiting.bytes for waiting in self._folders.values()) > HELD:
            folder = max(self._folders, key=lambda each: self._folders[each].bytes)
            self._flush(folder, self._folders[folder], whole_groups=False)

    def close(self) -> None:
        """Write what waits and end the files."""
        for folder, waiting in self._folders.items():
            self._flush(folder, waiting, whole_groups=False)
            if waiting.writer is not None:
                waiting.writer.close()

    def _flush(self, folder: str, waiting: _Waiting, *, whole_groups: bool) -> None:
        if not waiting.rows:
            return
        table = pa.concat_tables(waiting.tables)
        group = self._options.row_group
        place = 0
        end = table.num_rows - table.num_rows % group if whole_groups else table.num_rows
        while place < end:
            room = self._options.file - waiting.file_rows
            count = min(group, room, end - place)
            self._writer(folder, waiting).write_table(table.slice(place, count), row_group_size=group)
            place += count
            waiting.file_rows += count
            if waiting.file_rows >= self._options.file and waiting.writer is not None:
                waiting.writer.close()
                waiting.writer, waiting.file_rows = None, 0
        rest = table.slice(place)
        # A slice keeps all of its table alive: what is left is small, and is copied.
        waiting.tables = [rest.take(pa.array(np.arange(rest.num_rows)))] if rest.num_rows else []
        waiting.rows, waiting.bytes = rest.num_rows, sum(each.nbytes for each in waiting.tables)

    def _writer(self, folder: str, waiting: _Waiting) -> pq.ParquetWriter:
        if waiting.writer is None:
            directory = self._directory / folder
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{self._prefix}-{waiting.files}.parquet"
            waiting.writer = pq.ParquetWriter(
                path, self._schema, compression=self._options.compression, write_page_checksum=True
            )
            waiting.files += 1
        return waiting.writer

    def _dealt(self, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """Deal rows to their folders, keeping their order."""
        names = self._options.partition_by
        if not names or not table.num_rows:
            if table.num_rows:
                yield "", table
            return
        folders = pa.array([""] * table.num_rows)
        for name in names:
            keys = pc.dictionary_encode(table[name].combine_chunks(), null_encoding="encode")
            if isinstance(keys, pa.ChunkedArray):
                keys = keys.combine_chunks()
            texts = pa.array([f"{quote(name, safe='')}={_shown(value)}" for value in keys.dictionary])
            folders = pc.binary_join_element_wise(folders, texts.take(keys.indices), "/")
        rest = table.drop_columns(list(names))
        coded = folders.dictionary_encode()
        codes = np.asarray(coded.indices)
        order = np.argsort(codes, kind="stable")
        edges = np.searchsorted(codes[order], np.arange(len(coded.dictionary) + 1))
        for number, folder in enumerate(coded.dictionary.to_pylist()):
            yield folder.strip("/"), rest.take(pa.array(order[edges[number] : edges[number + 1]]))


def _shown(value: pa.Scalar) -> str:
    return quote(str(value.as_py()), safe="") if value.is_valid else HIVE_NULL
