"""Reduce and stream: the two ways to read every chunk once, on a Dask client it is given."""

from __future__ import annotations

import time
import uuid
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from headrace.engine.events import ChunkDone, PassEnded, PassStarted
from headrace.errors import RowsLostError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from distributed import Client, Future

    from headrace.data.dataset import Chunk
    from headrace.engine.events import Event, Subscriber
    from headrace.engine.source import Reading, Source


@dataclass
class PassRecord:
    """What one pass has read, as the reader counted it."""

    name: str
    chunks: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    memory_peak: dict[str, int] = field(default_factory=dict)
    """Worker address to its peak resident bytes."""

    def add(self, reading: Reading) -> None:
        """Count one chunk."""
        self.chunks += reading.count.chunks
        self.rows += reading.count.rows
        self.bytes += reading.count.bytes
        self.memory_peak[reading.worker] = max(reading.memory_peak, self.memory_peak.get(reading.worker, 0))


class Reader:
    """Runs passes over one source on one client, and keeps a record of each.

    Parameters
    ----------
    client : distributed.Client
        Where the work runs.
    subscribers : sequence of callables
        Told of every event.
    """

    def __init__(self, client: Client, subscribers: Sequence[Subscriber] = ()) -> None:
        self.client = client
        self.subscribers = tuple(subscribers)
        self.records: list[PassRecord] = []

    @property
    def threads(self) -> int:
        """Threads of all workers."""
        return max(1, int(sum(self.client.nthreads().values())))

    def reduce(
        self,
        source: Source,
        update: Callable[[pa.Table, Chunk], Any],
        merge: Callable[[Any, Any], Any],
        *,
        name: str,
    ) -> Any:
        """Read every chunk once and merge what is learnt, in a tree fixed by the chunk order.

        Parameters
        ----------
        source : Source
            The chunks; at least one.
        update : callable
            ``update(table, chunk) -> state``, run on the workers.
        merge : callable
            ``merge(left, right) -> state``; the states are not used again.
        name : str
            The pass, for people.

        Returns
        -------
        object
            The state of all chunks: that of `headrace.accumulators.merge_tree` over the chunks.

        Raises
        ------
        RowsLostError
            When the rows counted by the reader are not those of the footers.
        RunError
            When a chunk cannot be processed.
        """
        from distributed import as_completed

        with self._recorded(name, source) as record:
            readings = as_completed(with_results=True)
            waiting = iter(range(len(source.chunks)))
            levels: dict[int, Future[Any]] = {}
            run = uuid.uuid4().hex[:8]

            def submit_next() -> bool:
                index = next(waiting, None)
                if index is None:
                    return False
                leaf = self._compute(source, index, update, f"{name}-{index}-{run}")
                readings.add(self.client.submit(itemgetter(1), leaf, pure=False))
                carried, level = self.client.submit(itemgetter(0), leaf, pure=False), 0
                while level in levels:
                    carried = self.client.submit(merge, levels.pop(level), carried, pure=False)
                    level += 1
                levels[level] = carried
                return True

            # Leaves in flight are bounded by the threads, so that each holds one decoded chunk.
            for _ in range(2 * self.threads):
                submit_next()
            for _, reading in readings:
                self._count(record, reading)
                submit_next()
            ordered = [levels[level] for level in sorted(levels)]
            root = ordered[0]
            for left in ordered[1:]:
                root = self.client.submit(merge, left, root, pure=False)
            return root.result()

    def stream(
        self,
        source: Source,
        order: Sequence[int],
        prepare: Callable[[pa.Table, Chunk], Any],
        step: Callable[[Any, Any], Any],
        states: Sequence[Future[Any]],
        *,
        name: str,
        keep: Callable[[Any], Any] | None = None,
    ) -> tuple[list[Future[Any]], list[Future[Any]]]:
        """Read the chunks in order; every state takes each prepared block before the block is dropped.

        Blocks are prepared ahead of their use by a bounded number of chunks. Each state is a chain of tasks, so
        that it sees the blocks in order wherever they were prepared.

        Parameters
        ----------
        source : Source
            The chunks.
        order : sequence of int
            Indices of chunks.
        prepare : callable
            ``prepare(table, chunk) -> prepared``.
        step : callable
            ``step(state, prepared) -> state``; must not change the state it is given, for a task may be run again.
        states : sequence of Future
            Chains to go on with.
        name : str
            The pass, for people.
        keep : callable, optional
            ``keep(prepared)`` is held on the workers for every chunk, in order.

        Returns
        -------
        states : list of Future
        kept : list of Future
            In the order of `order`.
        """
        states = list(states)
        kept: list[Future[Any]] = []
        with self._recorded(name, source) as record:
            in_flight: deque[Future[Any]] = deque()
            run = uuid.uuid4().hex[:8]
            for index in order:
                if len(in_flight) >= 2 * self.threads:
                    self._count(record, in_flight.popleft().result())
                leaf = self._compute(source, index, prepare, f"{name}-{index}-{run}")
                prepared = self.client.submit(itemgetter(0), leaf, pure=False)
                states = [self.client.submit(step, state, prepared, pure=False) for state in states]
                if keep is not None:
                    kept.append(self.client.submit(keep, prepared, pure=False))
                reading = self.client.submit(itemgetter(1), leaf, pure=False)
                in_flight.append(self.client.submit(_after, reading, *states, pure=False))
            while in_flight:
                self._count(record, in_flight.popleft().result())
        return states, kept

    def _compute(
        self, source: Source, index: int, function: Callable[[pa.Table, Chunk], Any], key: str
    ) -> Future[Any]:
        future: Future[Any] = self.client.compute(source.task(index, function, key), optimize_graph=False)
        return future

    def _count(self, record: PassRecord, reading: Reading) -> None:
        record.add(reading)
        self.emit(
            ChunkDone(
                name=record.name,
                rows=reading.count.rows,
                bytes=reading.count.bytes,
                worker=reading.worker,
                memory_peak=reading.memory_peak,
            )
        )

    @contextmanager
    def _recorded(self, name: str, source: Source) -> Iterator[PassRecord]:
        from distributed.scheduler import KilledWorker

        self.emit(PassStarted(name, len(source.chunks), source.rows, source.bytes))
        record = PassRecord(name)
        started = time.perf_counter()
        try:
            yield record
        except KilledWorker as error:
            raise RunError(
                f"{_chunk_of(source, error.task)} ended every worker that tried it",
                where=name,
                mend="give the workers more memory, or look for a damaged row group there",
            ) from error
        record.seconds = time.perf_counter() - started
        self.records.append(record)
        if record.rows != source.rows:
            raise RowsLostError(
                f"read {record.rows} rows of {source.rows}",
                where=name,
                mend="the files changed while they were read; run again",
            )
        self.emit(PassEnded(name, record.rows, record.bytes, record.seconds))

    def emit(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self.subscribers:
            subscriber(event)


def _after(reading: Reading, *_states: Any) -> Reading:
    return reading


def _chunk_of(source: Source, key: object) -> str:
    """Name the files of the chunk that a task key speaks of."""
    parts = str(key).rsplit("-", 2)
    if len(parts) != 3 or not parts[1].isdigit():
        return "a chunk"
    pieces = source.chunks[int(parts[1])].pieces
    return ", ".join(
        f"{piece.path} row groups {piece.row_groups[0]}-{piece.row_groups[-1]}" for piece in pieces[:3]
    )
