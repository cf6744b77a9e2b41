"""A Parquet file opened for some columns: on this machine as it is, on a store by the ranges that they take."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.data.footers import file_state, leaf_spans
from headrace.data.ranges import RangesFile, coalesced, column_ranges, fetch, read_tail
from headrace.data.schemas import is_text, logical_type
from headrace.data.storage import is_local, open_filesystem
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.data.chunks import Piece

LEAST_BUFFER, BUFFER, BUFFERS = 1 << 12, 1 << 18, 1 << 25
"""Bytes of each column that are read ahead of a row group that is read in slices: as many as all columns share, within
bounds."""

REQUEST = 1 << 22
"""The upper of these bounds on a store, where each read is a request."""

REMEMBERED = 64
"""Footers that a process keeps, for the chunks of a file are read one after another."""

CODED = pa.dictionary(pa.int32(), pa.string())
"""Type of every text column that is read as codes."""


@contextmanager
def open_parquet(piece: Piece, wanted: pa.Schema) -> Iterator[pq.ParquetFile]:
    """Open the file of a piece so that text which is wanted as codes is never decoded to strings.

    Of an object on a store the column chunks that are wanted are fetched at once and held. A row group that is read in
    slices is too large for that, and is streamed. What was read is of the file whose footer the piece is from, or an
    error is raised, at the latest when the context ends.

    Parameters
    ----------
    piece : Piece
        What will be read of it.
    wanted : pyarrow.Schema
        Columns, with text that is wanted as codes of type `CODED`; those that the file does not hold are passed over.

    Yields
    ------
    pyarrow.parquet.ParquetFile
        Pages are checked where the writer left a sum of them.

    Raises
    ------
    DataError
        The file has changed.
    """
    filesystem, path = open_filesystem(piece.path)
    sliced = piece.within is not None
    if is_local(filesystem):
        with (
            pa.OSFile(path) as file,
            _parquet(file, pq.read_metadata(file), wanted, BUFFER if sliced else 0) as it,
        ):
            yield it
        require_same(piece)
        return
    if not piece.stamp:
        metadata = read_tail(filesystem, path, file_state(piece.path).size)
    else:
        metadata = _remembered(piece.path, piece.size, piece.stamp)
    if sliced:
        with (
            filesystem.open(path, "rb", cache_type="none") as file,
            _parquet(file, metadata, wanted, REQUEST) as it,
        ):
            yield it
        require_same(piece)
        return
    spans = leaf_spans(metadata.schema.to_arrow_schema())
    leaves = [
        leaf
        for name in wanted.names
        if name in spans
        for leaf in range(*spans[name].indices(metadata.num_columns))
    ]
    groups = [number for number in piece.row_groups if number < metadata.num_row_groups]
    size = piece.size or file_state(piece.path).size
    ranges = coalesced(column_ranges(metadata, groups, leaves), size)
    parts = fetch(filesystem, path, ranges, stamp=piece.stamp, require_same=partial(require_same, piece))
    with (
        RangesFile(ranges, parts, size) as file,
        _parquet(file, metadata, wanted, 0) as it,
    ):
        yield it


def require_same(piece: Piece) -> None:
    """Refuse what was read of a file that is not the one whose footer the piece is from.

    Raises
    ------
    DataError
        Its size, its etag or the time of its last change is another.
    """
    if piece.stamp:
        now = file_state(piece.path)
        if (now.size, now.stamp) != (piece.size, piece.stamp):
            raise has_changed(piece)


def has_changed(piece: Piece) -> DataError:
    """Make the error of a file that changed under a run."""
    return DataError(
        "has changed since its footer was read",
        where=f"file {piece.path}",
        mend="start again on files at rest",
    )


@lru_cache(maxsize=REMEMBERED)
def _remembered(url: str, size: int, _stamp: str) -> pq.FileMetaData:
    filesystem, path = open_filesystem(url)
    return read_tail(filesystem, path, size)


def _parquet(source: Any, metadata: pq.FileMetaData, wanted: pa.Schema, buffer: int) -> pq.ParquetFile:
    held = {field.name: logical_type(field.type) for field in metadata.schema.to_arrow_schema()}
    coded = [
        field.name
        for field in wanted
        if field.type == CODED and field.name in held and is_text(held[field.name])
    ]
    return pq.ParquetFile(
        source,
        metadata=metadata,
        read_dictionary=coded,
        pre_buffer=False,
        # A large row group is streamed: its compressed columns are never in memory as a whole.
        buffer_size=max(LEAST_BUFFER, min(buffer, BUFFERS // max(1, len(wanted)))) if buffer else 0,
        page_checksum_verification=True,
    )
