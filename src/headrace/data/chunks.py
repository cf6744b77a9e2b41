"""Chunks: runs of whole row groups, sized by the memory budget alone (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.data.footers import RowGroup

SMALLEST = 4 << 20
LARGEST = 256 << 20
SHARE = 16
"""A worker holds this many chunks in its memory budget."""


@dataclass(frozen=True)
class Piece:
    """A run of whole row groups of one file."""

    path: str
    """Where the file is: a local path or a URL."""
    key: str
    """Path relative to the root of the dataset, separated by ``/``."""
    row_groups: tuple[int, ...]
    """Numbers of the row groups, one after another."""
    rows: int
    """Rows, from the footer."""
    first_row: int
    """Number of the first row within its file."""
    partition: tuple[tuple[str, str], ...]
    """Column and value of each hive directory; only columns of the dataset."""


@dataclass(frozen=True)
class Chunk:
    """What one task reads: partition `index` of `Dataset.to_dask`."""

    index: int
    """Number within the dataset."""
    pieces: tuple[Piece, ...]
    """In the order of the rows."""
    rows: int
    """Rows, from the footers."""
    bytes: int
    """Compressed bytes of all columns."""
    memory: int
    """Estimated bytes of all columns once decoded, strings as dictionary codes."""


@dataclass(frozen=True)
class FileInfo:
    """One file of a dataset."""

    path: str
    """Where it is: a local path or a URL."""
    key: str
    """Path relative to the root of the dataset, separated by ``/``."""
    size: int
    """Bytes."""
    rows: int
    """Rows, from the footer."""
    row_groups: tuple[RowGroup, ...]
    """In the order of the file."""
    partition: tuple[tuple[str, str], ...]
    """Column and value of each hive directory; only columns of the dataset."""


def target_memory(memory: int) -> int:
    """Return the decoded bytes that a chunk aims at under a budget of `memory` bytes.

    Examples
    --------
    >>> target_memory(1 << 30) >> 20
    64
    """
    return min(max(memory // SHARE, SMALLEST), LARGEST)


def cut_chunks(files: Sequence[FileInfo], memory: int) -> tuple[Chunk, ...]:
    """Cut files into chunks: neighbours share one while they fit the target, in order and without gaps.

    Parameters
    ----------
    files : sequence of FileInfo
        In the order of the dataset.
    memory : int
        Budget in bytes; see `target_memory`. A row group larger than the target is a chunk by itself.

    Returns
    -------
    tuple of Chunk
        Every row group that has rows, exactly once.
    """
    target = target_memory(memory)
    chunks: list[Chunk] = []
    held: list[tuple[FileInfo, int]] = []
    size = 0
    for file in files:
        for number, group in enumerate(file.row_groups):
            if group.rows == 0:
                continue
            if held and size + group.memory > target:
                chunks.append(_chunk(len(chunks), held))
                held, size = [], 0
            held.append((file, number))
            size += group.memory
    if held:
        chunks.append(_chunk(len(chunks), held))
    return tuple(chunks)


def _chunk(index: int, held: Sequence[tuple[FileInfo, int]]) -> Chunk:
    groups = [file.row_groups[number] for file, number in held]
    return Chunk(
        index=index,
        pieces=tuple(_pieces(held)),
        rows=sum(group.rows for group in groups),
        bytes=sum(group.bytes for group in groups),
        memory=sum(group.memory for group in groups),
    )


def _pieces(held: Sequence[tuple[FileInfo, int]]) -> Iterator[Piece]:
    runs: list[tuple[FileInfo, list[int]]] = []
    for file, number in held:
        if runs and runs[-1][0] is file:
            runs[-1][1].append(number)
        else:
            runs.append((file, [number]))
    for file, numbers in runs:
        yield Piece(
            path=file.path,
            key=file.key,
            row_groups=tuple(numbers),
            rows=sum(file.row_groups[number].rows for number in numbers),
            first_row=sum(group.rows for group in file.row_groups[: numbers[0]]),
            partition=file.partition,
        )
