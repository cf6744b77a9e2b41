"""Slabs of very wide tables: as many columns as may be profiled at once, a pass for each, and what is kept of a column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.accumulators.detail import FULL, STORED
from headrace.data.chunks import target_memory
from headrace.engine.plan import ALLOCATOR_BYTES, PROCESS_BYTES, SUMMARY_BYTES, Reads, summary_memory
from headrace.engine.source import source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.accumulators.detail import Detail
    from headrace.engine.source import Source
    from headrace.profiling.survey import Finder

KEPT_SHARE = 4
"""The summaries of all columns, once they are merged, take a quarter of the memory budget."""
THINNEST = 32
"""What is kept of a column is divided by this at most."""


@dataclass(frozen=True)
class Slab:
    """Some columns of a table, profiled in a pass of their own."""

    name: str
    """The pass."""
    source: Source
    """Reads them, with the columns that tell rows apart."""
    columns: tuple[str, ...]


def columns_at_once(
    columns: int, *, rows: int, decoded: int, chunks: int | None, groups: int, memory: int
) -> int:
    """Say how many columns one pass may profile.

    Parameters
    ----------
    columns : int
        Columns in all.
    rows : int
        Rows of the data.
    decoded : int
        Bytes of all columns once decoded.
    chunks : int or None
        Chunks of every pass; None when they may be cut for the columns that it reads.
    groups : int
        Groups of rows that a column is summed up for: parts of the split times classes.
    memory : int
        Budget of a worker in bytes.

    Examples
    --------
    >>> columns_at_once(30, rows=1_000_000, decoded=240_000_000, chunks=4, groups=6, memory=1 << 30)
    30
    """
    room = max(memory // 8, memory * 3 // 4 - PROCESS_BYTES - ALLOCATOR_BYTES)
    slabs = 1
    while True:
        width = -(-columns // slabs)
        read = chunks or -(-decoded // slabs // target_memory(memory)) or 1
        reads = Reads(chunks=read, rows=rows, bytes=0)
        if width == 1 or summary_memory(reads, width, groups, workers=1, threads=1) <= room:
            return width
        slabs += max(1, slabs // 4)


def cut_slabs(source: Source, told_apart: Sequence[str], *, groups: int, chunked: bool) -> tuple[Slab, ...]:
    """Cut the columns of a source into slabs: one, unless they are too many to be profiled at once.

    Parameters
    ----------
    source : Source
        All columns.
    told_apart : sequence of str
        Columns that tell rows apart; read with each slab.
    groups : int
        As in `columns_at_once`.
    chunked : bool
        Which row is in which group depends on the chunks, so that they stay as they are.
    """
    names, dataset = source.schema.names, source.dataset
    width = len(names)
    if source.features is None and source.history is None and not source.embeddings:
        decoded = sum(dataset.column_memory(names, chunk) for chunk in source.chunks)
        chunks = len(source.chunks) if chunked else None
        width = columns_at_once(
            len(names), rows=source.rows, decoded=decoded, chunks=chunks, groups=groups, memory=dataset.memory
        )
    if width == len(names):
        return (Slab("profile", source, tuple(names)),)
    cut = [tuple(names[start : start + width]) for start in range(0, len(names), width)]
    slabs = []
    for number, columns in enumerate(cut):
        read = tuple(dict.fromkeys([*columns, *told_apart]))
        own = source_of(dataset, read, chunks=source.chunks if chunked else dataset.chunks_for(read))
        slabs.append(Slab(f"profile {number + 1} of {len(cut)}", own, columns))
    return tuple(slabs)


def kept_detail(columns: int, *, groups: int, memory: int) -> Detail:
    """Say how much is kept of each of very many columns, so that all of them take a share of the memory budget.

    Examples
    --------
    >>> kept_detail(10_000, groups=6, memory=2 << 30)
    Detail(points=256, counters=62, hashes=256)
    """
    by = 1
    while by < THINNEST and columns * groups * SUMMARY_BYTES // by > memory // KEPT_SHARE:
        by *= 2
    kept = FULL.divided(by)
    # One buffer is left of a quantile sketch, where one that is being measured has several.
    return replace(kept, points=min(FULL.points, 2 * kept.points))


def stored_detail(slabs: Sequence[Slab], kept: Detail) -> Detail:
    """Say how much of a column is stored: of several slabs half of what is kept, where that is less than of few columns."""
    return STORED if len(slabs) == 1 else kept.divided(2).within(STORED)


def deal_finders(
    slabs: Sequence[Slab], finders: Sequence[Finder]
) -> tuple[list[tuple[Finder, ...]], tuple[Finder, ...]]:
    """Give each finder to the first slab that reads its columns.

    Returns
    -------
    dealt : list of tuples of Finder
        Of each slab.
    left : tuple of Finder
        Those that look at more columns than one slab reads.
    """
    dealt: list[list[Finder]] = [[] for _ in slabs]
    left: list[Finder] = []
    readable = [set(slab.source.schema.names) for slab in slabs]
    for finder in finders:
        places = (
            held for names, held in zip(readable, dealt, strict=True) if names.issuperset(finder.columns)
        )
        next(places, left).append(finder)
    return [tuple(held) for held in dealt], tuple(left)


def rest_of(source: Source, finders: Sequence[Finder], told_apart: Sequence[str]) -> Source:
    """Read what finders look at that no slab could be given to, and no more."""
    wanted = {*told_apart, *(name for finder in finders for name in finder.columns)}
    names = [name for name in source.schema.names if name in wanted]
    return source_of(source.dataset, names, chunks=source.chunks)
