"""The zeroth pass: what Parquet footers say about files, read in parallel and remembered."""

from __future__ import annotations

import functools
import threading
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.data.ranges import fetch, read_tail
from headrace.data.retrying import failures
from headrace.data.schemas import Extremes, is_text, leaves, logical_type
from headrace.data.storage import ask, is_local, open_filesystem, storage_error
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS = 16
REMEMBERED = 20_000
MAGIC = b"PAR1"
COPY_AGAIN = "copy or write the file again"
LEAVE_OUT = "remove it, or give a glob that leaves it out, such as 'DIR/*.parquet'; headrace ingest makes Parquet of CSV, JSON and Excel"


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """One top-level column of one row group."""

    bytes: int
    """Compressed bytes."""
    memory: int
    """Estimated bytes once decoded, strings as dictionary codes."""
    nulls: int | None
    """Null values; None when the footer does not say."""
    extremes: Extremes
    """Smallest and largest value; None when the footer does not say."""


@dataclass(frozen=True)
class RowGroup:
    """One row group of a file."""

    rows: int
    """Rows."""
    bytes: int
    """Compressed column bytes."""
    memory: int
    """Estimated bytes of all columns once decoded, strings as dictionary codes."""
    offset: int
    """Where its first column chunk lies in the file."""
    columns: dict[str, GroupColumn] = field(default_factory=dict, repr=False)
    """By name."""


@dataclass(frozen=True)
class FooterColumn:
    """One top-level column of a file, over all its row groups."""

    type: pa.DataType
    """Its Arrow type in this file, dictionaries replaced by their values."""
    nulls: int | None
    """Null values; None when the footer does not say."""
    extremes: Extremes
    """Smallest and largest value; None when the footer does not say."""
    bytes: int
    """Compressed bytes."""


@dataclass(frozen=True)
class Footer:
    """What the footer of one file says."""

    rows: int
    """Rows in all row groups."""
    row_groups: tuple[RowGroup, ...]
    """In the order of the file."""
    columns: dict[str, FooterColumn]
    """By name, in the order of the file."""
    metadata: dict[str, str]
    """The schema metadata that is text."""


@dataclass(frozen=True)
class Listed:
    """A file as the storage lists it."""

    path: str
    """Path inside its file system."""
    size: int
    """Bytes."""
    stamp: str
    """Changes when the content does: etag or time of the last change."""


class _Memory:
    """The footers read so far by this process, the least recently used forgotten first."""

    def __init__(self) -> None:
        self.footers: OrderedDict[tuple[Any, ...], Footer] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Footer | None:
        with self.lock:
            if key in self.footers:
                self.footers.move_to_end(key)
            return self.footers.get(key)

    def put(self, key: tuple[Any, ...], footer: Footer) -> None:
        with self.lock:
            self.footers[key] = footer
            while len(self.footers) > REMEMBERED:
                self.footers.popitem(last=False)


_MEMORY = _Memory()


def listed(path: str, info: dict[str, Any]) -> Listed:
    """Make a `Listed` of what fsspec tells about a file."""
    names = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
    stamp = next((info[name] for name in names if info.get(name) is not None), "")
    if isinstance(stamp, datetime):  # in a listing it may be a number
        stamp = stamp.timestamp()
    return Listed(path, int(info.get("size") or 0), str(stamp))


def file_state(url: str) -> Listed:
    """Look at one file again, whatever was listed before: its size, and what changes with its content.

    Raises
    ------
    StorageError
        It cannot be looked at.
    """
    filesystem, path = open_filesystem(url)

    def look() -> Listed:
        filesystem.invalidate_cache(path)
        return listed(path, filesystem.info(path))

    return ask(url, filesystem, look)


def read_footers(filesystem: Any, files: Sequence[Listed]) -> list[Footer]:
    """Read the footers of many files in threads, none twice in one process.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        Where the files are.
    files : sequence of Listed
        The files.

    Returns
    -------
    list of Footer
        In the order of `files`.

    Raises
    ------
    DataError
        A file is not Parquet, is truncated, or names two columns alike.
    StorageError
        A file cannot be read.
    """
    with ThreadPoolExecutor(max(1, min(THREADS, len(files)))) as pool:
        return list(pool.map(functools.partial(_remembered_footer, filesystem), files))


def _remembered_footer(filesystem: Any, file: Listed) -> Footer:
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    key = (protocol, file.path, file.size, file.stamp)
    footer = _MEMORY.get(key) if file.stamp else None
    if footer is None:
        footer = _parse(_read_metadata(filesystem, file), file.path)
        _MEMORY.put(key, footer)
    return footer


def _read_metadata(filesystem: Any, file: Listed) -> pq.FileMetaData:
    if file.size == 0:
        raise DataError(
            "is not a Parquet file (0 bytes)", where=file.path, mend="remove it or write it again"
        )
    try:
        if is_local(filesystem):
            return pq.read_metadata(file.path)
        return read_tail(filesystem, file.path, file.size)
    except (pa.ArrowException, *failures()) as error:
        # Arrow tells that a file is none of its format by an error of the operating system without a number.
        arrows = isinstance(error, pa.ArrowException) or (type(error) is OSError and error.errno is None)
        if not arrows:
            raise storage_error(error, file.path) from error
        if fetch(filesystem, file.path, [(0, min(4, file.size))]) == [MAGIC]:
            what = "is a truncated or damaged Parquet file (its footer cannot be read)"
            raise DataError(what, where=file.path, mend=COPY_AGAIN) from error
        raise DataError("is not a Parquet file", where=file.path, mend=LEAVE_OUT) from error


def arrow_schema(metadata: pq.FileMetaData) -> pa.Schema:
    """Return the columns that a footer tells of, as Arrow types.

    ``metadata.schema`` would tie the footer to itself: that of 10,000 columns then holds 90 MiB until garbage is collected.

    Raises
    ------
    ArrowException or NotImplementedError
        For types that Arrow has not.
    """
    return pq.ParquetSchema(metadata).to_arrow_schema()


def _parse(metadata: pq.FileMetaData, path: str) -> Footer:
    try:
        schema = arrow_schema(metadata)
    except (pa.ArrowException, NotImplementedError) as error:  # Arrow raises it for types it has not
        raise DataError(f"has a schema that Arrow cannot read ({error})", where=path) from error
    for name, times in Counter(schema.names).items():
        if times > 1:
            mend = "rename one of them and write the file again"
            raise DataError(f"has {times} columns named {name!r}", where=path, mend=mend)
    spans = leaf_spans(schema)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [[group.column(j) for j in range(metadata.num_columns)] for group in groups]
    columns = {
        each.name: _column(each.type, [leaf for group in chunks for leaf in group[spans[each.name]]])
        for each in schema
    }
    row_groups = tuple(
        _row_group(schema, spans, group.num_rows, leaf_chunks)
        for group, leaf_chunks in zip(groups, chunks, strict=True)
    )
    return Footer(metadata.num_rows, row_groups, columns, _text_metadata(schema.metadata))


def _row_group(schema: pa.Schema, spans: dict[str, slice], rows: int, leaf_chunks: Sequence[Any]) -> RowGroup:
    columns = {}
    for each in schema:
        leaves_of = leaf_chunks[spans[each.name]]
        whole = _column(each.type, leaves_of)
        memory = _decoded_bytes(each.type, rows, leaves_of)
        columns[each.name] = GroupColumn(whole.bytes, memory, whole.nulls, whole.extremes)
    return RowGroup(
        rows=rows,
        bytes=sum(column.bytes for column in columns.values()),
        memory=sum(column.memory for column in columns.values()),
        offset=_first_offset(leaf_chunks[0]) if leaf_chunks else 0,
        columns=columns,
    )


def leaf_spans(schema: pa.Schema) -> dict[str, slice]:
    """Map each top-level column to the run of Parquet columns that store it."""
    spans = {}
    start = 0
    for each in schema:
        stop = start + leaves(each.type)
        spans[each.name] = slice(start, stop)
        start = stop
    return spans


def _text_metadata(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    text = {}
    for key, value in (metadata or {}).items():
        try:
            text[key.decode()] = value.decode()
        except UnicodeDecodeError:
            continue
    return text


def _first_offset(leaf: Any) -> int:
    return int(leaf.dictionary_page_offset or leaf.data_page_offset)


def _decoded_bytes(data_type: pa.DataType, rows: int, leaf_chunks: Sequence[Any]) -> int:
    bitmap = (rows + 7) // 8
    value = logical_type(data_type)
    uncompressed = sum(leaf.total_uncompressed_size for leaf in leaf_chunks)
    if is_text(value) or pa.types.is_binary(value) or pa.types.is_large_binary(value):
        return int(4 * rows + uncompressed + bitmap)
    try:
        return int(rows * value.bit_width // 8 + bitmap)
    except ValueError:  # nested types have no fixed width: values plus offsets of each leaf
        return int(uncompressed + sum(8 * leaf.num_values for leaf in leaf_chunks) + bitmap)


def _column(data_type: pa.DataType, leaf_chunks: Sequence[Any]) -> FooterColumn:
    value = logical_type(data_type)
    compressed = sum(leaf.total_compressed_size for leaf in leaf_chunks)
    if pa.types.is_nested(value):
        return FooterColumn(value, None, Extremes(), compressed)
    if pa.types.is_null(value):
        return FooterColumn(value, sum(leaf.num_values for leaf in leaf_chunks), Extremes(), compressed)
    statistics = [leaf.statistics for leaf in leaf_chunks if leaf.num_values]
    known = all(each is not None and each.has_null_count for each in statistics)
    nulls = sum(each.null_count for each in statistics) if known else None
    return FooterColumn(value, nulls, _extremes(value, statistics), compressed)


def _extremes(value: pa.DataType, statistics: Sequence[Any]) -> Extremes:
    if pa.types.is_float16(value):  # given as raw bytes
        return Extremes()
    bounds = []
    for each in statistics:
        if each is None:
            return Extremes()
        if each.has_min_max:
            bounds.append(Extremes(each.min, each.max))
        elif not each.has_null_count or each.num_values:  # values without known extremes, NaN perhaps
            return Extremes()
    return merge_extremes(bounds)


def merge_extremes(bounds: Sequence[Extremes]) -> Extremes:
    """Return the extremes over several runs of values, each of which has some."""
    if not bounds:
        return Extremes()
    return Extremes(min(each.minimum for each in bounds), max(each.maximum for each in bounds))
