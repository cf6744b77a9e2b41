"""One chunk to Arrow; the only place that decodes Parquet and counts what is read."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.data.files import HIVE_NULL
from headrace.data.footers import COPY_AGAIN, leaf_spans
from headrace.data.schemas import is_text, logical_type
from headrace.data.storage import is_local, open_filesystem, storage_error
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.data.chunks import Chunk, Piece

CODED = pa.dictionary(pa.int32(), pa.string())
"""Type of every text column that is read as codes."""


@dataclass
class ReadCount:
    """What one read has decoded."""

    chunks: int = 0
    """Chunks."""
    rows: int = 0
    """Rows."""
    bytes: int = 0
    """Compressed bytes of the columns that were read."""


class _Last(threading.local):
    def __init__(self) -> None:
        self.count = ReadCount()


_LAST = _Last()


def last_read() -> ReadCount:
    """Return what the last `read_chunk` of this thread has read."""
    return _LAST.count


def read_chunk(chunk: Chunk, schema: pa.Schema, columns: Sequence[str], *, dictionary: bool) -> pa.Table:
    """Decode some columns of a chunk and count what was read; `last_read` tells.

    Parameters
    ----------
    chunk : Chunk
        A chunk of a dataset.
    schema : pyarrow.Schema
        Schema of that dataset; every file is promoted to it.
    columns : sequence of str
        Names in the schema; the table has them in this order.
    dictionary : bool
        Leave text as ``dictionary<int32, string>``; else text is plain strings.

    Returns
    -------
    pyarrow.Table
        ``chunk.rows`` rows, each column in one piece of memory.

    Raises
    ------
    DataError
        A row group is damaged, or the file is no longer the one that the footers described.
    StorageError
        A file cannot be read.
    """
    wanted = pa.schema([_wanted_field(schema.field(name), dictionary) for name in columns])
    count = ReadCount(chunks=1)
    tables = [_read_piece(piece, wanted, count) for piece in chunk.pieces]
    if wanted.names:
        table = pa.concat_tables(tables)
        table = (table.unify_dictionaries() if dictionary else table).combine_chunks()
    else:  # a table without columns forgets its rows when concatenated
        table = pa.table({"rows": pa.nulls(count.rows)}).select([])
    _LAST.count = count
    return table


def wanted_type(data_type: pa.DataType, *, dictionary: bool) -> pa.DataType:
    """Return the type that `read_chunk` gives a column of `data_type`."""
    return CODED if dictionary and is_text(data_type) else data_type


def _wanted_field(field: pa.Field, dictionary: bool) -> pa.Field:
    return pa.field(field.name, wanted_type(field.type, dictionary=dictionary))


def _read_piece(piece: Piece, wanted: pa.Schema, count: ReadCount) -> pa.Table:
    filesystem, path = open_filesystem(piece.path)
    try:
        local = is_local(filesystem)
        source = pa.OSFile(path) if local else filesystem.open(path, "rb")
        with source, _open_parquet(source, wanted, coalesce=not local) as file:
            decoded = _decode(file, piece, wanted.names, count)
    except pa.ArrowException as error:
        raise DataError(f"cannot be read ({error})", where=piece.path, mend=COPY_AGAIN) from error
    except OSError as error:
        raise storage_error(error, piece.path) from error
    count.rows += decoded.num_rows
    if not wanted.names:
        return decoded
    partition = dict(piece.partition)
    held = dict(zip(decoded.column_names, decoded.columns, strict=True))
    conformed = [_conformed(held.get(field.name), field, partition, piece) for field in wanted]
    return pa.Table.from_arrays(conformed, schema=wanted)


def _open_parquet(source: Any, wanted: pa.Schema, *, coalesce: bool) -> pq.ParquetFile:
    """Open a file so that text which is wanted as codes is never decoded to strings.

    Many small reads become few large ones where each costs a round trip; pages are checked where the
    writer left a sum of them.
    """
    metadata = pq.read_metadata(source)
    held = {field.name: logical_type(field.type) for field in metadata.schema.to_arrow_schema()}
    coded = [
        field.name
        for field in wanted
        if field.type == CODED and field.name in held and is_text(held[field.name])
    ]
    return pq.ParquetFile(
        source, metadata=metadata, read_dictionary=coded, pre_buffer=coalesce, page_checksum_verification=True
    )


def _decode(file: pq.ParquetFile, piece: Piece, names: Sequence[str], count: ReadCount) -> pa.Table:
    metadata = file.metadata
    groups = list(piece.row_groups)
    rows = sum(metadata.row_group(i).num_rows for i in groups if i < metadata.num_row_groups)
    if groups[-1] >= metadata.num_row_groups or rows != piece.rows:
        raise _changed(piece)
    spans = leaf_spans(file.schema_arrow)
    present = [name for name in names if name in spans]
    leaf_numbers = [i for name in present for i in range(*spans[name].indices(metadata.num_columns))]
    count.bytes += sum(
        metadata.row_group(i).column(j).total_compressed_size for i in groups for j in leaf_numbers
    )
    try:
        table = file.read_row_groups(groups, columns=present, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(file, piece, present, error) from error
    if table.num_rows != piece.rows:
        raise _changed(piece)
    return table


def _changed(piece: Piece) -> DataError:
    return DataError(
        "has changed since its footer was read",
        where=f"file {piece.path}",
        mend="start again on files at rest",
    )


def _damaged(file: pq.ParquetFile, piece: Piece, names: Sequence[str], error: Exception) -> DataError:
    """Name the first row group that cannot be decoded."""
    number = piece.row_groups[0]
    for number in piece.row_groups:
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
