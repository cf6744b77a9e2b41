"""The upstream of every pass: a Dask DataFrame, cut into one task per chunk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.data.features import apply_function
from headrace.data.reading import ReadCount, last_read
from headrace.engine.memory import peak_resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from dask.delayed import Delayed

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
class Source:
    """The chunks of a dataset as tasks to which a pass attaches its work."""

    chunks: tuple[Chunk, ...]
    schema: pa.Schema
    """Columns as a pass sees them, after feature functions."""
    bytes: int
    """Compressed bytes of the columns that are read."""
    parts: tuple[Delayed, ...]

    @property
    def rows(self) -> int:
        """Rows in all chunks, from the footers."""
        return sum(chunk.rows for chunk in self.chunks)

    def task(self, index: int, function: Callable[[pa.Table, Chunk], Any], key: str) -> Delayed:
        """One task that reads chunk `index` and applies `function` to it.

        Reading and function are fused, so that a decoded chunk lives within one task.
        """
        import dask
        from dask.base import optimize
        from dask.delayed import delayed

        work = partial(_apply, chunk=self.chunks[index], function=function)
        task: Delayed = delayed(work, pure=False)(self.parts[index], dask_key_name=key)
        # Fused here and not where the scheduler runs, whose configuration is its own.
        with dask.config.set({"optimization.fuse.delayed": True}):
            (fused,) = optimize(task)
        return fused  # type: ignore[no-any-return] # Dask ships no signature


def source_of(dataset: Dataset, columns: Sequence[str], *, features: str | None = None) -> Source:
    """Make the upstream of the passes over a dataset.

    Parameters
    ----------
    dataset : Dataset
        What is read.
    columns : sequence of str
        Columns to read; everything that the feature function needs.
    features : str, optional
        ``module:function``, applied to each partition.
    """
    from dask.delayed import Delayed

    frame = dataset.to_dask(columns, dictionary=features is None)
    if features:
        meta = apply_function(dataset.head(5)[list(columns)], features).iloc[:0]
        frame = frame.map_partitions(apply_function, features, meta=meta)
        schema = pa.Schema.from_pandas(meta, preserve_index=False).remove_metadata()
    else:
        schema = pa.schema([dataset.schema.field(name) for name in columns])
    fused = frame.optimize(fuse=True)
    graph = dict(fused.__dask_graph__())
    keys = fused.__dask_keys__()
    # A fused partition is a single task: handing each its own graph keeps submission linear in the chunks.
    parts = tuple(Delayed(key, graph if graph[key].dependencies else {key: graph[key]}) for key in keys)
    size = sum(dataset.columns[name].bytes for name in columns if name in dataset.columns)
    return Source(chunks=dataset.chunks, schema=schema, bytes=size, parts=parts)


def _apply(
    frame: pd.DataFrame, *, chunk: Chunk, function: Callable[[pa.Table, Chunk], Any]
) -> tuple[Any, Reading]:
    from distributed import get_worker

    count = last_read()
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    result = function(table, chunk)
    return result, Reading(count, peak_resident_bytes(), get_worker().address)
