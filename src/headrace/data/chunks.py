"""Chunks: runs of row groups, sized by the memory budget alone (pure)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from headrace.data.filters import Filter
    from headrace.data.footers import RowGroup
    from headrace.data.pii import Treatments

SMALLEST = 4 << 20
LARGEST = 256 << 20
SHARE = 16
"""A worker holds this many chunks in its memory budget."""

MOST_SLICES = 32
"""Slices of one row group at most. Each decodes what is before it again: reading n of them costs (n + 1) / 2 reads."""


@dataclass(frozen=True)
class Piece:
    """A run of whole row groups of one file, or a run of rows inside one row group."""

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
    within: tuple[int, int] | None = None
    """First row and end inside the only row group, when that is too large to be read at once."""
    size: int = 0
    """Bytes of the file."""
    stamp: str = ""
    """What changes with the content of the file, as it was when the footer was read; empty when nothing tells."""


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
    where: Filter | None = None
    """Which of its rows are wanted."""
    treatments: Treatments | None = None
    """What is done with columns about persons before they are offered."""
    kept: Any = field(default=None, compare=False, repr=False)
    """Once it is read with `where`: places of the rows that were kept, shape (rows kept,)."""


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
    stamp: str = ""
    """What changes with its content: etag or time of the last change; empty when nothing tells."""


@dataclass(frozen=True)
class _Unit:
    """What is never divided: a row group, or a slice of a large one."""

    file: FileInfo
    number: int
    within: tuple[int, int] | None = None

    @property
    def group(self) -> RowGroup:
        return self.file.row_groups[self.number]

    @property
    def rows(self) -> int:
        return self.within[1] - self.within[0] if self.within else self.group.rows

    @property
    def bytes(self) -> int:
        return bytes_up_to(self.group.bytes, self.within, self.group.rows)

    @property
    def memory(self) -> int:
        return self.group.memory * self.rows // self.group.rows

    def follows(self, other: _Unit) -> bool:
        """Whether it can be in one piece with the unit before it."""
        whole = self.within is None and other.within is None
        return whole and self.file is other.file and self.number == other.number + 1


def bytes_up_to(size: int, within: tuple[int, int] | None, rows: int) -> int:
    """Bytes that are read of `size` for a run of rows: those of the rows before it are read as well."""
    return size if within is None else size * within[1] // rows


def fingerprint_of(files: Sequence[FileInfo], where: Filter | None, treatments: Treatments | None) -> str:
    """Hash what tells data from other data without reading them: files, filter, and what is done with columns."""
    digest = hashlib.sha256()
    for file in files:
        entry = [file.key, file.size, file.rows, [group.offset for group in file.row_groups]]
        digest.update(json.dumps(entry).encode() + b"\n")
    if where is not None:
        digest.update(repr(where).encode())
    if treatments is not None:
        digest.update(json.dumps([each.to_dict() for each in treatments.each], sort_keys=True).encode())
    return digest.hexdigest()


def target_memory(memory: int) -> int:
    """Return the decoded bytes that a chunk aims at under a budget of `memory` bytes.

    Examples
    --------
    >>> target_memory(1 << 30) >> 20
    64
    """
    return min(max(memory // SHARE, SMALLEST), LARGEST)


def cut_chunks(
    files: Sequence[FileInfo],
    memory: int,
    *,
    where: Filter | None = None,
    treatments: Treatments | None = None,
    wanted: Callable[[FileInfo, int], bool] | None = None,
    side: Callable[[FileInfo, int], int] | None = None,
    share: float = 1.0,
) -> tuple[Chunk, ...]:
    """Cut files into chunks: neighbours share one while they fit the target, in order and without gaps.

    Parameters
    ----------
    files : sequence of FileInfo
        In the order of the dataset.
    memory : int
        Budget in bytes; see `target_memory`. A row group of more than twice the target is cut into slices.
    where : Filter, optional
        Told to every chunk.
    treatments : Treatments, optional
        Told to every chunk.
    wanted : callable, optional
        ``wanted(file, number of the row group)``: whether it is read at all.
    side : callable, optional
        ``side(file, number of the row group)``: on which side of a border it lies. A chunk of at least a quarter of
        the target ends where the side changes, so that a read of one side need not read the other.
    share : float, optional
        Of the memory of a row group, what the columns take that are read.

    Returns
    -------
    tuple of Chunk
        Every row of the row groups that are wanted, exactly once.
    """
    target = int(target_memory(memory) / share)
    chunks: list[Chunk] = []
    held: list[_Unit] = []
    size = 0
    before: int | None = None
    for unit in _units(files, target, wanted):
        here = side(unit.file, unit.number) if side else None
        crosses = here != before and size >= target // 4
        if held and (size + unit.memory > target or crosses):
            chunks.append(_chunk(len(chunks), held, where, treatments))
            held, size = [], 0
        held.append(unit)
        size += unit.memory
        before = here
    if held:
        chunks.append(_chunk(len(chunks), held, where, treatments))
    return tuple(chunks)


def _units(
    files: Sequence[FileInfo], target: int, wanted: Callable[[FileInfo, int], bool] | None
) -> Iterator[_Unit]:
    for file in files:
        for number, group in enumerate(file.row_groups):
            if group.rows == 0 or (wanted is not None and not wanted(file, number)):
                continue
            slices = (
                min(-(-group.memory // target), MOST_SLICES, group.rows) if group.memory > 2 * target else 1
            )
            if slices == 1:
                yield _Unit(file, number)
                continue
            for i in range(slices):
                yield _Unit(file, number, (group.rows * i // slices, group.rows * (i + 1) // slices))


def _chunk(index: int, held: Sequence[_Unit], where: Filter | None, treatments: Treatments | None) -> Chunk:
    return Chunk(
        index=index,
        pieces=tuple(_pieces(held)),
        rows=sum(unit.rows for unit in held),
        bytes=sum(unit.bytes for unit in held),
        memory=sum(unit.memory for unit in held),
        where=where,
        treatments=treatments,
    )


def _pieces(held: Sequence[_Unit]) -> Iterator[Piece]:
    runs: list[list[_Unit]] = []
    for unit in held:
        if runs and unit.follows(runs[-1][-1]):
            runs[-1].append(unit)
        else:
            runs.append([unit])
    for run in runs:
        first = run[0]
        before = sum(group.rows for group in first.file.row_groups[: first.number])
        yield Piece(
            path=first.file.path,
            key=first.file.key,
            row_groups=tuple(unit.number for unit in run),
            rows=sum(unit.rows for unit in run),
            first_row=before + (first.within[0] if first.within else 0),
            partition=first.file.partition,
            within=first.within,
            size=first.file.size,
            stamp=first.file.stamp,
        )


def place_of(chunk: Chunk, row: int) -> tuple[str, int]:
    """Say where a row of a chunk comes from, as it was read: the file, and its number in there."""
    within = row if chunk.kept is None else int(chunk.kept[row])
    for piece in chunk.pieces[:-1]:
        if within < piece.rows:
            return piece.path, piece.first_row + within
        within -= piece.rows
    return chunk.pieces[-1].path, chunk.pieces[-1].first_row + within
