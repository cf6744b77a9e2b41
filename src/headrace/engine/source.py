"""The upstream of every pass: a Dask DataFrame, cut into one task per chunk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.data.embeddings import made_names, making
from headrace.data.features import apply_function
from headrace.data.reading import ReadCount, last_kept, last_read, read_chunk, to_pandas, wanted_type
from headrace.engine import rooms
from headrace.engine.embedding import embed
from headrace.engine.lookback import extend
from headrace.engine.memory import peak_resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import dask.dataframe as dd
    import pandas as pd

    from headrace.data.dataset import Chunk, Dataset
    from headrace.data.embeddings import Embedding
    from headrace.data.history import History
    from headrace.engine.lookback import Past


@dataclass(frozen=True)
class Reading:
    """What one task has read, counted by the reader itself."""

    count: ReadCount
    """Chunks, rows and compressed bytes."""
    memory_peak: int
    """Peak resident bytes of the worker so far."""
    worker: str
    """Address of the worker."""
    seconds: float = 0.0
    """What the task took, when its length depends on that; wall time."""


@dataclass(frozen=True)
class ChunkPart:
    """One chunk, not yet read: what its partition of the Dask DataFrame holds, without the way through pandas."""

    chunk: Chunk
    schema: pa.Schema
    columns: tuple[str, ...]
    """Columns that are read."""
    dictionary: bool = True
    """Whether text stays encoded."""
    history: History | None = None
    """What is made from the rows before."""
    past: Past | None = None
    """What the chunks before have left to this one."""
    offered: tuple[str, ...] = ()
    """Columns of its table, when something is made."""
    embeddings: tuple[Embedding, ...] = ()
    """What is made of its texts."""
    checked: bool = False
    """Whether an earlier pass has checked its pages."""

    def read(self) -> pa.Table:
        """Decode the chunk in this thread, and make what is made of its texts and from the rows before."""
        table = read_chunk(
            self.chunk, self.schema, self.columns, dictionary=self.dictionary, checked=self.checked
        )
        if not self.offered:
            return table
        return _offer(table, self.history, self.embeddings, self.past, self.offered)

    def frame(self) -> pd.DataFrame:
        """Read it as a partition of a Dask DataFrame."""
        return to_pandas(self.read())


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
    history: History | None = None
    """What is made from the rows before."""
    past: tuple[Past, ...] | None = None
    """What came before each chunk of the dataset, from `headrace.engine.past.gather_past`; needed where anything is made."""
    offered: tuple[str, ...] = ()
    """Columns before feature functions."""
    embeddings: tuple[Embedding, ...] = ()
    """What is made of texts."""
    checked: bool = False
    """Whether an earlier pass has checked the pages of these columns."""

    @cached_property
    def parts(self) -> tuple[ChunkPart | FramePart, ...]:
        """The partitions of the Dask DataFrame of these columns.

        Without a feature function they are the chunks themselves, and are read as such: that spares each worker two
        seconds of loading dask.dataframe. ``tests/test_fast_paths.py`` holds both ways equal.
        """
        return self._chunk_parts(self.chunks) if self.features is None else self.frame_parts()

    def _chunk_parts(self, chunks: tuple[Chunk, ...]) -> tuple[ChunkPart, ...]:
        schema, encoded = self.dataset.schema, self.features is None
        if not self._makes:
            return tuple(
                ChunkPart(chunk, schema, self.columns, encoded, checked=self.checked) for chunk in chunks
            )
        past = self.past
        assert past is not None or self.history is None, "what came before is gathered before chunks are read"
        return tuple(
            ChunkPart(
                chunk,
                schema,
                self.columns,
                encoded,
                self.history,
                past[chunk.index] if past else None,
                self.offered,
                self.embeddings,
                self.checked,
            )
            for chunk in chunks
        )

    @property
    def _makes(self) -> bool:
        return self.history is not None or bool(self.embeddings)

    def frame_parts(self) -> tuple[FramePart, ...]:
        """Cut the Dask DataFrame, with the feature function if there is one, into one part per chunk."""
        if self._makes:
            frame = _made(self._chunk_parts(self.dataset.chunks))
        else:
            frame = self.dataset.to_dask(self.columns, dictionary=self.features is None)
        if self.features:
            head = _head(self.dataset, self.columns, self.history, self.embeddings, self.offered)
            meta = _transformed(head, self.features)
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
    history: History | None = None,
    embeddings: Sequence[Embedding] = (),
    checked: bool = False,
) -> Source:
    """Make the upstream of the passes over a dataset.

    Parameters
    ----------
    dataset : Dataset
        What is read.
    columns : sequence of str
        Columns to offer, of the dataset or made by `history` or `embeddings`; everything that the feature function
        needs.
    features : str, optional
        ``module:function``, applied to each partition.
    chunks : sequence of Chunk, optional
        Those of the dataset that are read; all by default.
    history : History, optional
        Columns that are made from the rows before, ahead of the feature function. Its inputs are read as well.
    embeddings : sequence of Embedding, optional
        Columns that are made of texts, in the same way.
    checked : bool, optional
        Whether an earlier pass has checked the pages of these columns; see `headrace.data.reading.read_chunk`.
    """
    made = {field.name: field for field in history.fields(dataset.schema)} if history else {}
    history = history if made.keys() & set(columns) else None
    embeddings = making(embeddings, columns)
    made |= {name: pa.field(name, pa.float32()) for name in made_names(embeddings)}
    inputs = [*(history.inputs if history else ()), *(each.column for each in embeddings)]
    read = tuple(dict.fromkeys([*(name for name in columns if name not in made), *inputs]))
    dataset.check_columns(read)
    if features:
        meta = _transformed(_head(dataset, read, history, embeddings, columns), features)
        schema = pa.Schema.from_pandas(meta, preserve_index=False).remove_metadata()
    else:
        schema = pa.schema([made.get(name) or dataset.schema.field(name) for name in columns])
    kept = tuple(dataset.chunks if chunks is None else chunks)
    size = dataset.column_bytes(read, kept)
    return Source(
        dataset,
        read,
        features,
        kept,
        schema,
        size,
        history,
        offered=tuple(columns),
        embeddings=embeddings,
        checked=checked,
    )


def _made(parts: tuple[ChunkPart, ...]) -> dd.DataFrame:
    """Make the Dask DataFrame of chunks with what is made of their rows."""
    import dask
    import dask.dataframe as dd

    first = parts[0]
    fields = [
        pa.field(name, wanted_type(first.schema.field(name).type, dictionary=first.dictionary))
        for name in first.columns
    ]
    empty = pa.schema(fields).empty_table()
    meta = to_pandas(_offer(empty, first.history, first.embeddings, None, first.offered))
    with dask.config.set({"dataframe.convert-string": False}):  # frames are Arrow-backed already
        frame: dd.DataFrame = dd.from_map(ChunkPart.frame, parts, meta=meta, label="read-chunk")
    return frame


def _head(
    dataset: Dataset,
    read: Sequence[str],
    history: History | None,
    embeddings: tuple[Embedding, ...],
    offered: Sequence[str],
) -> pd.DataFrame:
    """Return a few rows as a feature function sees them."""
    head = dataset.head(5)[list(read)]
    if history is None and not embeddings:
        return head
    rows = pa.Table.from_pandas(head, preserve_index=False)
    return to_pandas(_offer(rows, history, embeddings, None, offered))


def _offer(
    table: pa.Table,
    history: History | None,
    embeddings: tuple[Embedding, ...],
    past: Past | None,
    offered: Sequence[str],
) -> pa.Table:
    table = embed(embeddings, table)
    table = table if history is None else extend(history, table, past)
    return table.select(list(offered))


def _transformed(head: pd.DataFrame, features: str) -> pd.DataFrame:
    """Apply a feature function to a few rows and keep none, to know the columns that it makes."""
    return apply_function(head, features).iloc[:0]


def _apply(
    part: ChunkPart | FramePart, chunk: Chunk, function: Callable[[pa.Table, Chunk], Any]
) -> tuple[Any, Reading]:
    from distributed import get_worker

    rooms.tidy()
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
