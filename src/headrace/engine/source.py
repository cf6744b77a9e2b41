"""The upstream of every pass: a Dask DataFrame, cut into one task per chunk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.data.features import apply_function
from headrace.data.reading import ReadCount, last_kept, last_read, read_chunk
from headrace.engine.memory import peak_resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from headrace.data.dataset import Chunk, Dataset


@dataclass(frozen=True)
class Reading:
    """What one task read, counted by the reader itself."""

    count: ReadCount
    """Chunks, rows and compressed bytes."""
    memory_peak: int
    """Peak resident bytes of the worker so far."""
    worker: str
    """Address of the worker."""


@dataclass(frozen=True)
class ChunkPart:
    """One chunk, not yet read: what its partition of the Dask DataFrame holds, without the way through pandas."""

    chunk: Chunk
    schema: pa.Schema
    columns: tuple[str, ...]

    def read(self) -> pa.Table:
        """Decode the chunk in this thread."""
        return read_chunk(self.chunk, self.schema, self.columns, dictionary=True)


@dataclass(frozen=True)
class FramePart:
    """One partition of the Dask DataFrame, not yet read: its own small graph."""

    graph: dict[Any, Any]
    key: Any

    def read(self) -> pa.Table:
        """Compute the partition in this thread; the reader counts it there."""
        from dask.local import get_sync

        frame = get_sync(self.graph, self.key)
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


@dataclass(frozen=True)
class Source:
    """The chunks of a dataset as parts to which a pass attaches its work."""

    dataset: Dataset
    columns: tuple[str, ...]
    """Columns that are read."""
    features: str | None
    """Feature function, applied to each partition."""
    chunks: tuple[Chunk, ...]
    schema: pa.Schema
    """Columns as a pass sees them, after feature functions."""
    bytes: int
    """Compressed bytes of the columns that are read."""

    @cached_property
    def parts(self) -> tuple[ChunkPart | FramePart, ...]:
        """The partitions of the Dask DataFrame of these columns.

        Without a feature function they are the chunks themselves, and are read as such: that spares each worker two
        seconds of loading dask.dataframe. ``tests/test_fast_paths.py`` holds both ways equal.
        """
        if self.features is None:
            return tuple(ChunkPart(chunk, self.dataset.schema, self.columns) for chunk in self.chunks)
        return self.frame_parts()

    def frame_parts(self) -> tuple[FramePart, ...]:
        """Cut the Dask DataFrame, with the feature function if there is one, into one part per chunk."""
        frame = self.dataset.to_dask(self.columns, dictionary=self.features is None)
        if self.features:
            meta = _transformed(self.dataset, self.columns, self.features)
            frame = frame.map_partitions(apply_function, self.features, meta=meta)
        fused = frame.optimize(fuse=True)
        graph = dict(fused.__dask_graph__())
        keys = fused.__dask_keys__()
        # A fused partition is a single task: giving each its own graph keeps what is sent linear in the chunks.
        return tuple(
            FramePart(graph if graph[key].dependencies else {key: graph[key]}, key)
            for key in (keys[chunk.index] for chunk in self.chunks)
        )

    @property
    def rows(self) -> int:
        """Rows in all chunks, from the footers."""
        return sum(chunk.rows for chunk in self.chunks)

    def work(
        self, index: int, function: Callable[[pa.Table, Chunk], Any]
    ) -> Callable[[], tuple[Any, Reading]]:
        """Make the task that reads chunk `index` and applies `function` to it.

        Reading and applying are one task, so that a decoded chunk lives within it. A function that has a method
        ``recall(chunk)`` is asked first; what that returns, unless it is None, stands for its result, and nothing is
        read.
        """
        return partial(_apply, self.parts[index], self.chunks[index], function)


def source_of(
    dataset: Dataset,
    columns: Sequence[str],
    *,
    features: str | None = None,
    chunks: Sequence[Chunk] | None = None,
) -> Source:
    """Make the upstream of the passes over a dataset.

    Parameters
    ----------
    dataset : Dataset
        What is read.
    columns : sequence of str
        Columns to read; everything that the feature function needs.
    features : str, optional
        ``module:function``, applied to each partition.
    chunks : sequence of Chunk, optional
        Those of the dataset that are read; all by default.
    """
    dataset.check_columns(columns)
    if features:
        meta = _transformed(dataset, columns, features)
        schema = pa.Schema.from_pandas(meta, preserve_index=False).remove_metadata()
    else:
        schema = pa.schema([dataset.schema.field(name) for name in columns])
    read = tuple(dataset.chunks if chunks is None else chunks)
    return Source(dataset, tuple(columns), features, read, schema, dataset.column_bytes(columns, read))


def _transformed(dataset: Dataset, columns: Sequence[str], features: str) -> pd.DataFrame:
    """Apply a feature function to a few rows and keep none, to know the columns that it makes."""
    return apply_function(dataset.head(5)[list(columns)], features).iloc[:0]


def _apply(
    part: ChunkPart | FramePart, chunk: Chunk, function: Callable[[pa.Table, Chunk], Any]
) -> tuple[Any, Reading]:
    from distributed import get_worker

    recall = getattr(function, "recall", None)
    result = recall(chunk) if recall is not None else None
    if result is not None:
        count = ReadCount(chunks=1, rows=chunk.rows, bytes=0)
    else:
        table = part.read()
        count, kept = last_read(), last_kept()
        if kept is not None:  # from here on the chunk speaks of the rows that its filter kept
            chunk = replace(chunk, rows=len(kept), kept=kept)
        result = function(table, chunk)
    return result, Reading(count, peak_resident_bytes(), get_worker().address)
