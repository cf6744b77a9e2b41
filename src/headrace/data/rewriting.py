"""A Parquet file without the rows of some keys, put in the place of the old one in one step."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.data.footers import file_state
from headrace.data.localfiles import make_durable
from headrace.data.storage import ask, is_local, open_filesystem, remove_tree, storage_error
from headrace.errors import DataError

ASIDE = ".erasing-"
"""How the names of folders begin in which files are written on a disk; readers of datasets pass over them."""
BATCH = 65_536
"""Rows of a file that are decoded at once."""
ROOM = 256 << 20
"""Bytes of a row group that are held at most before they are written; a larger one becomes several."""


def rewrite(path: str, column: str, values: tuple[str | int, ...], rows: int, *, whole: bool) -> None:
    """Take the rows with some values out of a file: readers see the old file or the new one.

    The order of rows, row groups and the schema stay; compression is that of the first column.

    Parameters
    ----------
    path : str
        Path or URL of the file.
    column : str
        Where the values are.
    values : tuple of str or int
    rows : int
        How many rows are to go.
    whole : bool
        All rows are to go: their value is that of a directory.

    Raises
    ------
    DataError
        It cannot be read, holds another number of such rows, or was changed meanwhile; it stays as it is.
    StorageError
        It cannot be read or written; it stays as it is.
    """
    filesystem, place = open_filesystem(path)
    local = is_local(filesystem)
    # On a disk the new file lies beside the old one: rows about persons leave for no other place.
    above = str(Path(place).parent) if local else None
    before = file_state(path)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=above) as folder:
        aside = Path(folder) / "file"
        try:
            with filesystem.open(place, "rb") as source, pq.ParquetFile(source) as file:
                gone = _copy(file, aside, column, values, whole=whole)
        except pa.ArrowException as error:
            raise DataError(f"cannot be read ({error})", where=f"file {path}") from error
        except OSError as error:
            raise storage_error(error, path) from error
        if gone != rows or file_state(path) != before:
            raise DataError(
                f"held {gone} rows to go, and {rows} when they were counted" if gone != rows else "was changed",
                where=f"file {path}", mend="nothing of it was changed here; erase data at rest",
            )  # fmt: skip
        if local:
            # Who may read the old file may read the new one, and nobody else.
            shutil.copymode(place, aside)
            try:
                make_durable(aside)
                aside.replace(place)
                make_durable(Path(place).parent)
            except OSError as error:
                raise storage_error(error, path) from error
        else:
            ask(path, filesystem, partial(filesystem.put_file, str(aside), place))


def clear_aside(path: str) -> None:
    """Remove what a process that was killed while it rewrote a file has left beside it on a disk."""
    filesystem, place = open_filesystem(path)
    if is_local(filesystem):
        for left in Path(place).parent.glob(f"{ASIDE}*"):
            remove_tree(str(left))


def _copy(
    file: pq.ParquetFile, aside: Path, column: str, values: tuple[str | int, ...], *, whole: bool
) -> int:
    """Copy a file without the rows that are to go; return how many these were."""
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    codec = groups[0].column(0).compression if groups else "SNAPPY"
    gone = 0
    with pq.ParquetWriter(
        aside,
        file.schema_arrow,
        compression="NONE" if codec == "UNCOMPRESSED" else codec,
        write_page_checksum=True,
    ) as writer:
        for i, group in enumerate(groups):
            held: list[pa.RecordBatch] = []
            for batch in file.iter_batches(BATCH, row_groups=[i], use_threads=False):
                kept = batch.slice(0, 0) if whole else _kept(batch, column, values)
                gone += batch.num_rows - kept.num_rows
                held.append(kept)
                if sum(each.nbytes for each in held) > ROOM:
                    _write_group(writer, held)
                    held = []
            if group.num_rows:
                _write_group(writer, held)
    return gone


def _kept(batch: pa.RecordBatch, column: str, values: tuple[str | int, ...]) -> pa.RecordBatch:
    held = batch.column(column)
    if pa.types.is_dictionary(held.type):
        held = held.cast(held.type.value_type)
    return batch.filter(pc.invert(pc.is_in(held, value_set=pa.array(values).cast(held.type))))


def _write_group(writer: pq.ParquetWriter, batches: list[pa.RecordBatch]) -> None:
    rows = sum(batch.num_rows for batch in batches)
    if rows:
        writer.write_table(pa.Table.from_batches(batches), row_group_size=rows)
