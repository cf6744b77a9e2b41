"""A Parquet file opened for some columns: on this machine as it is, on a store by the ranges that they take."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.data.footers import arrow_schema, file_state, leaf_spans
from headrace.data.prefetching import prefetched
from headrace.data.ranges import GAP, RangesFile, coalesced, column_ranges, fetch, read_tail
from headrace.data.schemas import is_text, logical_type
from headrace.data.storage import is_local, open_filesystem
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


@dataclass(frozen=True)
class Fetched:
    """What is wanted of an object on a store."""

    metadata: pq.FileMetaData
    """Its footer."""
    ranges: list[tuple[int, int]]
    """First byte and end of each range that is held."""
    parts: list[bytes]
    """What they hold."""
    size: int
    """Bytes of the object."""


@contextmanager
def fetched_ahead(pieces: Sequence[Piece], wanted: pa.Schema) -> Iterator[Iterator[Fetched | None]]:
    """Fetch what is wanted of some pieces of one dataset, each while those before it are decoded.

    Yields
    ------
    iterator
        One item for each piece, as `open_parquet` takes it; None for what is read where it is. Raises what is raised
        while a piece is fetched, `DataError` when its file has changed.
    """
    filesystem, _ = open_filesystem(pieces[0].path)
    if is_local(filesystem):
        yield itertools.repeat(None)
        return
    with prefetched([(partial(_fetch, piece, wanted), piece.size) for piece in pieces]) as ahead:
        yield ahead


@contextmanager
def open_parquet(
    piece: Piece, wanted: pa.Schema, fetched: Fetched | None, *, checked: bool = False
) -> Iterator[pq.ParquetFile]:
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
    fetched : Fetched or None
        What `fetched_ahead` gives for the piece.
    checked : bool, optional
        Whether its pages were checked before: those of a file of this machine are not again.

    Yields
    ------
    pyarrow.parquet.ParquetFile
        Pages are checked where the writer left a sum of them.

    Raises
    ------
    DataError
        The file has changed.
    """
    if fetched is not None:
        with (
            RangesFile(fetched.ranges, fetched.parts, fetched.size) as file,
            _parquet(file, fetched.metadata, wanted, 0) as it,
        ):
            yield it
        return
    filesystem, path = open_filesystem(piece.path)
    if is_local(filesystem):
        with (
            pa.OSFile(path) as file,
            _parquet(
                file,
                pq.read_metadata(file),
                wanted,
                0 if piece.within is None else BUFFER,
                checked=checked,
            ) as it,
        ):
            yield it
    else:
        with (
            filesystem.open(path, "rb", cache_type="none") as file,
            _parquet(file, _footer(filesystem, path, piece), wanted, REQUEST) as it,
        ):
            yield it
    require_same(piece)


def _fetch(piece: Piece, wanted: pa.Schema) -> Fetched | None:
    if piece.within is not None:
        return None
    filesystem, path = open_filesystem(piece.path)
    get = partial(fetch, filesystem, path, stamp=piece.stamp, require_same=partial(require_same, piece))
    # One request for all of a small file costs less than one for its footer and one for its columns.
    if 0 < piece.size <= GAP:
        ranges = [(0, piece.size)]
        parts = get(ranges)
        return Fetched(pq.read_metadata(RangesFile(ranges, parts, piece.size)), ranges, parts, piece.size)
    metadata = _footer(filesystem, path, piece)
    spans = leaf_spans(arrow_schema(metadata))
    leaves = [
        leaf
        for name in wanted.names
        if name in spans
        for leaf in range(*spans[name].indices(metadata.num_columns))
    ]
    groups = [number for number in piece.row_groups if number < metadata.num_row_groups]
    size = piece.size or file_state(piece.path).size
    ranges = coalesced(column_ranges(metadata, groups, leaves), size)
    return Fetched(metadata, ranges, get(ranges), size)


def _footer(filesystem: Any, path: str, piece: Piece) -> pq.FileMetaData:
    if not piece.stamp:
        return read_tail(filesystem, path, file_state(piece.path).size)
    return _remembered(piece.path, piece.size, piece.stamp)


def require_same(piece: Piece) -> None:
    """Refuse what was read of a file that is not the one whose footer the piece is from.

    Raises
    ------
    DataError
        Its size, its etag or the time of its last change is another.
    """
    _require_state(piece.path, piece.size, piece.stamp)


def has_changed(path: str) -> DataError:
    """Make the error of a file that changed under a run."""
    return DataError(
        "has changed since its footer was read",
        where=f"file {path}",
        mend="start again on files at rest",
    )


def _require_state(path: str, size: int, stamp: str) -> None:
    if stamp:
        now = file_state(path)
        if (now.size, now.stamp) != (size, stamp):
            raise has_changed(path)


@lru_cache(maxsize=REMEMBERED)
def _remembered(url: str, size: int, stamp: str) -> pq.FileMetaData:
    filesystem, path = open_filesystem(url)
    same = partial(_require_state, url, size, stamp)
    return read_tail(filesystem, path, size, stamp=stamp, require_same=same)


def _parquet(
    source: Any, metadata: pq.FileMetaData, wanted: pa.Schema, buffer: int, *, checked: bool = False
) -> pq.ParquetFile:
    held = {field.name: logical_type(field.type) for field in arrow_schema(metadata)}
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
        page_checksum_verification=not checked,
    )
