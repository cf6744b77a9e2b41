"""One chunk to Arrow; the only place that decodes Parquet and counts what is read."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.data.chunks import bytes_up_to
from headrace.data.files import HIVE_NULL
from headrace.data.filters import columns_of
from headrace.data.footers import COPY_AGAIN, leaf_spans
from headrace.data.matching import bind
from headrace.data.parquetfiles import CODED, fetched_ahead, has_changed, open_parquet, require_same
from headrace.data.pii import treat
from headrace.data.retrying import failures, passes
from headrace.data.schemas import is_text
from headrace.data.storage import open_filesystem, storage_error
from headrace.errors import DataError
from headrace.freeing import release_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from headrace.data.chunks import Chunk, Piece
    from headrace.data.filters import Filter
    from headrace.data.parquetfiles import Fetched

Places: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"

BATCH = 65_536
"""Rows that are decoded at once of a row group that is read in slices."""

AT_ONCE = 16 << 20
"""Bytes, not compressed, of the columns that are read at once of several row groups; or one column."""


@dataclass
class ReadCount:
    """What one read has decoded."""

    chunks: int = 0
    """Chunks."""
    rows: int = 0
    """Rows."""
    bytes: int = 0
    """Compressed bytes of the columns that were read."""
    kept: int = 0
    """Rows that the filter of the chunk kept; all of them where it has none."""


class _Last(threading.local):
    def __init__(self) -> None:
        self.count = ReadCount()
        self.kept: Places | None = None


_LAST = _Last()


def last_read() -> ReadCount:
    """Return what the last `read_chunk` of this thread has read."""
    return _LAST.count


def last_kept() -> Places | None:
    """Return the places, within its chunk, of the rows that the last `read_chunk` of this thread kept; None: of all."""
    return _LAST.kept


def read_columns(columns: Iterable[str], where: Filter | None) -> list[str]:
    """Name the columns that are decoded to offer some and to filter by others."""
    return list(dict.fromkeys([*columns, *(columns_of(where) if where is not None else ())]))


def read_chunk(
    chunk: Chunk, schema: pa.Schema, columns: Sequence[str], *, dictionary: bool, checked: bool = False
) -> pa.Table:
    """Decode some columns of a chunk and count what was read; `last_read` tells.

    Parameters
    ----------
    chunk : Chunk
        A chunk of a dataset.
    schema : pyarrow.Schema
        Schema of that dataset; every file is promoted to it, but for the columns that ``chunk.treatments`` turns into it.
    columns : sequence of str
        Names in the schema; the table has them in this order.
    dictionary : bool
        Leave text as ``dictionary<int32, string>``; else text is plain strings.
    checked : bool, optional
        Whether the sums that a writer left of its pages were checked by an earlier pass: it takes a fifth of a decode, and
        is not done again where the files are of this machine.

    Returns
    -------
    pyarrow.Table
        ``chunk.rows`` rows, or of these the ones that ``chunk.where`` keeps, each column in one piece of memory.

    Raises
    ------
    DataError
        A row group is damaged, or the file is no longer the one that the footers described.
    StorageError
        A file cannot be read.
    """
    decoded = read_columns(columns, chunk.where)
    treatments = chunk.treatments
    schema = schema if treatments is None else treatments.before(schema)
    wanted = pa.schema([_wanted_field(schema.field(name), dictionary) for name in decoded])
    matcher = None if chunk.where is None else bind(chunk.where, schema)
    count = ReadCount(chunks=1)
    tables: list[pa.Table] = []
    places: list[Places] = []
    with fetched_ahead(chunk.pieces, wanted) as ahead:
        for piece in chunk.pieces:
            before = count.rows
            table = _read_piece(piece, ahead, wanted, count, checked=checked)
            if matcher is not None:
                mask = pc.fill_null(matcher.mask(table), False).combine_chunks()
                table = table.filter(mask).select(list(columns))
                places.append(np.flatnonzero(mask.to_numpy(zero_copy_only=False)) + before)
            if treatments is not None:
                table = treat(table, treatments.each, dictionary=dictionary)
            tables.append(table)
    _LAST.kept = np.concatenate(places) if places else None
    count.kept = count.rows if _LAST.kept is None else len(_LAST.kept)
    if columns:
        table = pa.concat_tables(tables)
        table = (table.unify_dictionaries() if dictionary else table).combine_chunks()
        coded = (column for column in table.columns if column.type == CODED and column.num_chunks)
        release_texts(max((len(column.chunk(0).dictionary) for column in coded), default=0))
    else:  # a table without columns forgets its rows when concatenated
        table = pa.table({"rows": pa.nulls(count.kept)}).select([])
    _LAST.count = count
    return table


def wanted_type(data_type: pa.DataType, *, dictionary: bool) -> pa.DataType:
    """Return the type that `read_chunk` gives a column of `data_type`."""
    return CODED if dictionary and is_text(data_type) else data_type


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a table as an Arrow-backed frame."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def row_group_of(path: str, row: int) -> int:
    """Say in which row group of a file a row is, by its number in the file.

    Raises
    ------
    StorageError
        The file cannot be read.
    """
    filesystem, place = open_filesystem(path)
    try:
        with filesystem.open(place, "rb") as source:
            metadata = pq.read_metadata(source)
    except OSError as error:
        raise storage_error(error, path) from error
    ends = np.cumsum([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)])
    return int(np.searchsorted(ends, row, side="right"))


def _wanted_field(field: pa.Field, dictionary: bool) -> pa.Field:
    return pa.field(field.name, wanted_type(field.type, dictionary=dictionary))


def _read_piece(
    piece: Piece, ahead: Iterator[Fetched | None], wanted: pa.Schema, count: ReadCount, *, checked: bool
) -> pa.Table:
    try:
        with open_parquet(piece, wanted, next(ahead), checked=checked) as file:
            decoded = _decode(file, piece, wanted.names, count)
    except failures() as error:
        if not passes(error):
            require_same(piece)
        raise storage_error(error, piece.path) from error
    except (pa.ArrowException, DataError) as error:
        require_same(piece)  # another file in its place may seem damaged
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot be read ({error})", where=piece.path, mend=COPY_AGAIN) from error
    count.rows += decoded.num_rows
    if not wanted.names:
        return decoded
    partition = dict(piece.partition)
    held = dict(zip(decoded.column_names, decoded.columns, strict=True))
    conformed = [_conformed(held.get(field.name), field, partition, piece) for field in wanted]
    return pa.Table.from_arrays(conformed, schema=wanted)


def _decode(file: pq.ParquetFile, piece: Piece, names: Sequence[str], count: ReadCount) -> pa.Table:
    metadata = file.metadata
    groups = list(piece.row_groups)
    rows = sum(metadata.row_group(i).num_rows for i in groups if i < metadata.num_row_groups)
    fits = rows == piece.rows if piece.within is None else rows >= piece.within[1]
    if groups[-1] >= metadata.num_row_groups or not fits:
        raise has_changed(piece.path)
    spans = leaf_spans(file.schema_arrow)
    present = [name for name in names if name in spans]
    for i in groups:
        group = metadata.row_group(i)
        for name in present:
            leaves = range(*spans[name].indices(metadata.num_columns))
            size = sum(group.column(j).total_compressed_size for j in leaves)
            count.bytes += bytes_up_to(size, piece.within, group.num_rows)
    try:
        wanted = {name: spans[name] for name in present}
        if piece.within is None:
            table = _groups(file, groups, wanted)
        else:
            table = _slice(file, groups[0], piece.within, wanted)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(file, piece, present, error) from error
    if table.num_rows != piece.rows:
        raise has_changed(piece.path)
    return table


def _groups(file: pq.ParquetFile, groups: list[int], spans: Mapping[str, slice]) -> pa.Table:
    """Decode row groups, some columns at a time: what a column has in each lies apart only until it is put together."""
    if len(groups) == 1 or not spans:
        return file.read_row_groups(groups, columns=list(spans), use_threads=False)
    columns: dict[str, pa.ChunkedArray] = {}
    for names in _parted(file.metadata, groups, spans, AT_ONCE):
        part = file.read_row_groups(groups, columns=names, use_threads=False).combine_chunks()
        columns |= {name: part[name] for name in part.column_names}
    return pa.table(columns)


def _slice(file: pq.ParquetFile, group: int, within: tuple[int, int], spans: Mapping[str, slice]) -> pa.Table:
    """Decode a row group up to the end of a run of rows, some columns at a time, and keep those of the run."""
    if not spans:  # batches without columns forget their rows when sliced
        return pa.table({"rows": pa.nulls(within[1] - within[0])}).select([])
    # While its batches are decoded, each column holds a page and its dictionary, which may be the whole of it: those that
    # are read at once take no more in all rows than all columns take in the run.
    metadata = file.metadata
    held = sum(_sizes(metadata, [group], spans).values())
    room = held * (within[1] - within[0]) // metadata.row_group(group).num_rows
    parts = [_run(file, group, within, names) for names in _parted(metadata, [group], spans, room)]
    columns = {name: part[name] for part in parts for name in part.column_names}
    return pa.table(columns)


def _sizes(metadata: pq.FileMetaData, groups: Sequence[int], spans: Mapping[str, slice]) -> dict[str, int]:
    """Bytes of each column in some row groups, not compressed."""
    return {
        name: sum(
            metadata.row_group(i).column(j).total_uncompressed_size
            for i in groups
            for j in range(*span.indices(metadata.num_columns))
        )
        for name, span in spans.items()
    }


def _parted(
    metadata: pq.FileMetaData, groups: Sequence[int], spans: Mapping[str, slice], room: int
) -> list[list[str]]:
    """Part columns so that those of one part take no more than so many bytes together, or are one."""
    parts: list[list[str]] = []
    held = 0
    for name, size in _sizes(metadata, groups, spans).items():
        if not parts or held + size > room:
            parts.append([])
            held = 0
        parts[-1].append(name)
        held += size
    return parts


def _run(file: pq.ParquetFile, group: int, within: tuple[int, int], names: list[str]) -> pa.Table:
    """Decode columns in batches up to the end of a run of rows, and keep those of the run."""
    first, end = within
    kept: list[pa.RecordBatch] = []
    start = 0
    # Batches divide the run about evenly: what is decoded beside the run is a small part of it.
    size = max(1, min(BATCH, -(-(end - first) // 4)))
    for batch in file.iter_batches(size, row_groups=[group], columns=names, use_threads=False):
        stop = start + batch.num_rows
        if stop > first:
            run = batch.slice(max(0, first - start), min(end, stop) - max(first, start))
            # A slice refers to all of its batch, which is let go of when the run has its own copy.
            kept.append(
                run if run.num_rows == batch.num_rows else run.take(pa.array(np.arange(run.num_rows)))
            )
        start = stop
        if start >= end:
            break
    table = pa.Table.from_batches(kept)
    for i, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            chunks = [_used(array) for array in column.chunks]
            table = table.set_column(i, table.field(i), pa.chunked_array(chunks, column.type))
    return table


def _used(array: pa.DictionaryArray) -> pa.DictionaryArray:
    """Leave out the values that no code refers to: a slice has the dictionary of its whole row group."""
    if len(array.dictionary) <= len(array):
        return array
    used = array.indices.unique().drop_null()
    codes = pc.index_in(array.indices, value_set=used, skip_nulls=True).cast(array.indices.type)
    return pa.DictionaryArray.from_arrays(codes, array.dictionary.take(used))


def _damaged(file: pq.ParquetFile, piece: Piece, names: Sequence[str], error: Exception) -> DataError:
    """Name the first row group that cannot be decoded."""
    number = piece.row_groups[0]
    for number in piece.row_groups:
        if piece.within is not None:
            break
        try:
            file.read_row_group(number, columns=names, use_threads=False)
        except (pa.ArrowException, OSError) as own:
            error = own
            break
    return DataError(f"row group {number} is damaged ({error})", where=f"file {piece.path}", mend=COPY_AGAIN)


def _conformed(
    column: pa.ChunkedArray | None, field: pa.Field, partition: dict[str, str], piece: Piece
) -> pa.ChunkedArray:
    """Return a column in the type that is wanted, wherever it comes from."""
    if column is None:
        return _constant(partition.get(field.name, HIVE_NULL), field.type, piece.rows)
    try:
        return _cast(column, field.type)
    except pa.ArrowInvalid as error:
        what = f"column {field.name!r} of type {column.type} does not fit {field.type} ({error})"
        raise DataError(what, where=f"file {piece.path}", mend="write the column in one type") from error


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    if pa.types.is_dictionary(column.type):
        if wanted == CODED:
            return pa.chunked_array([_coded(chunk) for chunk in column.chunks], type=CODED)
        return _cast(column.cast(column.type.value_type), wanted)
    if wanted == CODED:
        return column.cast(pa.string()).dictionary_encode()
    return column.cast(wanted)


def _coded(array: pa.DictionaryArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), array.dictionary.cast(pa.string()))


def _constant(text: str, wanted: pa.DataType, rows: int) -> pa.ChunkedArray:
    """`rows` times the value that a hive directory names."""
    if text == HIVE_NULL:
        if wanted == CODED:
            codes, values = pa.nulls(rows, pa.int32()), pa.array([], pa.string())
            return pa.chunked_array([pa.DictionaryArray.from_arrays(codes, values)])
        return pa.chunked_array([pa.nulls(rows, wanted)])
    if wanted == CODED:
        zeros = pa.array(np.zeros(rows, np.int32))
        return pa.chunked_array([pa.DictionaryArray.from_arrays(zeros, pa.array([text]))])
    value = int(text) if pa.types.is_integer(wanted) else text
    return pa.chunked_array([pa.repeat(pa.scalar(value, wanted), rows)])
