"""Reduce and stream: the two ways to read every chunk once, on a Dask client it is given."""

from __future__ import annotations

import time
import uuid
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from headrace.engine.commits import Arrivals, Commits, PassRecord
from headrace.engine.events import ChunkDone, Note, PassEnded, PassStarted
from headrace.errors import RowsLostError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from distributed import Client, Future

    from headrace.data.dataset import Chunk
    from headrace.engine.commits import Form
    from headrace.engine.events import Event, Subscriber
    from headrace.engine.ledger import Ledger
    from headrace.engine.source import Reading, Source


class Reader:
    """Runs passes over one source on one client, and keeps a record of each.

    Parameters
    ----------
    client : distributed.Client
        Where the work runs.
    subscribers : sequence of callables
        Told of every event.
    ledger : Ledger, optional
        Where progress is committed; a pass that it knows goes on from there.
    """

    def __init__(
        self, client: Client, subscribers: Sequence[Subscriber] = (), ledger: Ledger | None = None
    ) -> None:
        self.client = client
        self.subscribers = tuple(subscribers)
        self.ledger = ledger
        self.records: list[PassRecord] = []
        self._started = 0.0

    @property
    def threads(self) -> int:
        """Threads of all workers."""
        return max(1, int(sum(self.client.nthreads().values())))

    def reduce(  # noqa: C901, PLR0912, PLR0915 - one loop over what arrives reads best in one piece
        self,
        source: Source,
        update: Callable[[pa.Table, Chunk], Any],
        merge: Callable[[Any, Any], Any],
        *,
        name: str,
        form: Form | None = None,
    ) -> Any:
        """Read every chunk once and merge what is learnt, in a tree fixed by the chunk order.

        Parameters
        ----------
        source : Source
            The chunks; at least one.
        update : callable
            ``update(table, chunk) -> state``, run on the workers.
        merge : callable
            ``merge(left, right) -> state``; must not change the states it is given, for a task may be run again.
        name : str
            The pass, for people and for the ledger.
        form : Form, optional
            How states are committed; without it the pass begins anew after a crash.

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
        commits = Commits(self.client, self.ledger, form, name)
        with self._recorded(name, source) as record:
            known = commits.known()
            if known is not None and known.body["done"]:
                return commits.state(known, ["state"])
            # The tree is a binary counter: before chunk k, `levels` holds a state for each one in k.
            start = 0 if known is None else int(known.body["position"])
            levels: dict[int, Future[Any]] = {}
            if known is not None:
                for label in known.state:
                    levels[int(label.removeprefix("level-"))] = commits.root(commits.pieces(known, [label]))
            waiting = iter(range(start, len(source.chunks)))
            unmerged: deque[Future[Any]] = deque()
            arrivals = Arrivals()
            committed, counted, merged, in_flight = replace(record), dict[int, Any](), start, 0
            indices: dict[Any, int] = {}
            saving: dict[Any, int] | None = None
            saved: dict[int, bytes] = {}
            run = uuid.uuid4().hex[:8]
            # Leaves in flight are bounded by the threads, so that each holds one decoded chunk; those that wait for
            # a commit hold a state each.
            while True:
                while in_flight < 2 * self.threads and len(unmerged) < 4 * self.threads:
                    index = next(waiting, None)
                    if index is None:
                        break
                    leaf = self._compute(source, index, update, f"{name}-{index}-{run}")
                    reading = self.client.submit(itemgetter(1), leaf, pure=False)
                    indices[reading.key] = index
                    arrivals.add(reading)
                    unmerged.append(self.client.submit(itemgetter(0), leaf, pure=False))
                    in_flight += 1
                if saving is None:
                    while unmerged:
                        carried, level = unmerged.popleft(), 0
                        while level in levels:
                            carried = self.client.submit(merge, levels.pop(level), carried, pure=False)
                            level += 1
                        levels[level] = carried
                        merged += 1
                    if merged < len(source.chunks) and merged > start and commits.due():
                        order = sorted(levels)
                        dumps = commits.dumps([levels[level] for level in order])
                        saving, saved = dict(zip([dump.key for dump in dumps], order, strict=True)), {}
                        for dump in dumps:
                            arrivals.add(dump)
                if saving is None and not in_flight and merged == len(source.chunks):
                    break
                future = arrivals.take()
                result = future.result()
                if future.key in indices:
                    index = indices.pop(future.key)
                    in_flight -= 1
                    counted[index] = result
                    self._count(record, result)
                elif saving is not None:
                    (saved[saving[future.key]],) = result
                before = [index for index in counted if index < merged]
                if saving is not None and len(saved) == len(saving) and len(before) == merged - start:
                    # Those who go on start from what was committed, so that the loss of a worker costs no more.
                    levels = {level: commits.root([piece]) for level, piece in saved.items()}
                    for index in before:
                        committed.add(counted.pop(index))
                    committed.seconds = record.seconds + self._elapsed()
                    commits.commit(
                        committed, merged, {f"level-{level:02}": piece for level, piece in saved.items()}
                    )
                    start, saving = merged, None
            ordered = [levels[level] for level in sorted(levels)]
            root = ordered[0]
            for left in ordered[1:]:
                root = self.client.submit(merge, left, root, pure=False)
            if not commits.on:
                return root.result()
            state, (piece,) = self.client.gather([root, *commits.dumps([root])])
            _require_all(record, source)
            whole = replace(record, seconds=record.seconds + self._elapsed())
            commits.commit(whole, len(source.chunks), {"state": piece}, done=True)
            return state

    def stream(  # noqa: C901, PLR0912, PLR0915 - as reduce
        self,
        source: Source,
        order: Sequence[int],
        prepare: Callable[[pa.Table, Chunk], Any],
        step: Callable[[Any, Any], Any],
        states: Sequence[Future[Any]],
        *,
        name: str,
        keep: Callable[[Any], Any] | None = None,
        form: Form | None = None,
    ) -> tuple[list[Future[Any]], list[Future[Any]]]:
        """Read the chunks in order; every state takes each prepared block before the block is dropped.

        Blocks are prepared ahead of their use by a bounded number of chunks. Each state is a chain of tasks, so
        that it sees the blocks in order wherever they were prepared. After a commit a chain goes on from the bytes
        that were committed, so that the loss of a worker never costs more than a crash.

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
            Chains to go on with; when the ledger knows the pass, only their number counts.
        name : str
            The pass, for people and for the ledger.
        keep : callable, optional
            ``keep(prepared)`` is held on the workers for every chunk, in order.
        form : Form, optional
            How states are committed; without it the pass begins anew after a crash.

        Returns
        -------
        states : list of Future
        kept : list of Future
            In the order of `order`; those of one commit together after a crash.
        """
        states = list(states)
        kept: list[Future[Any]] = []
        fresh: list[Future[Any]] = []
        commits = Commits(self.client, self.ledger, form, name)
        with self._recorded(name, source) as record:
            known = commits.known()
            start = 0
            if known is not None:
                start = int(known.body["position"])
                pieces = commits.pieces(known, sorted(known.state))
                chains = max(1, min(len(states), len(pieces)))
                states = [commits.root(pieces[first::chains]) for first in range(chains)]
                kept = commits.kept(known)
                if known.body["done"]:
                    return states, kept
            ahead: deque[tuple[int, Future[Any]]] = deque()
            in_flight: deque[Future[Any]] = deque()
            waiting = iter(order[start:])
            run = uuid.uuid4().hex[:8]
            saving: list[Future[Any]] | None = None
            position = start
            while True:
                while len(ahead) + len(in_flight) < 2 * self.threads:
                    index = next(waiting, None)
                    if index is None:
                        break
                    ahead.append((index, self._compute(source, index, prepare, f"{name}-{index}-{run}")))
                while ahead and saving is None:
                    index, leaf = ahead.popleft()
                    prepared = self.client.submit(itemgetter(0), leaf, pure=False)
                    key = f"{name} learn {{}}-{index}-{run}"
                    states = [
                        self.client.submit(step, state, prepared, key=key.format(chain), pure=False)
                        for chain, state in enumerate(states)
                    ]
                    if keep is not None:
                        fresh.append(self.client.submit(keep, prepared, pure=False))
                    reading = self.client.submit(itemgetter(1), leaf, pure=False)
                    in_flight.append(self.client.submit(_after, reading, *states, pure=False))
                    position += 1
                if saving is None and (
                    (position > start and commits.due()) or (position == len(order) and commits.on)
                ):
                    saving = commits.dumps(states, fresh)
                if in_flight:
                    self._count(record, in_flight.popleft().result())
                elif saving is not None:
                    # What is in flight has ended; blocks were prepared meanwhile, and only the chains wait.
                    began = time.perf_counter()
                    gathered = commits.gather(saving)
                    if not gathered:
                        self.emit(Note(f"{name} begins anew after a crash: {commits.refusal}"))
                    else:
                        pieces = [piece for held in gathered[: len(states)] for piece in held]
                        states = [commits.root(held) for held in gathered[: len(states)]]
                        payloads = {f"state-{number:04}": piece for number, piece in enumerate(pieces)}
                        payloads |= dict(zip(["kept"], gathered[len(states) :], strict=False))
                        done = position == len(order)
                        if done:
                            _require_all(record, source)
                        partway = replace(record, seconds=record.seconds + self._elapsed())
                        spent = time.perf_counter() - began
                        commits.commit(partway, position, payloads, done=done, spent=spent)
                        kept, fresh = [*kept, *fresh], []
                    saving = None
                    if position == len(order):
                        break
                elif not ahead:
                    break
        return states, [*kept, *fresh]

    def recall(self, name: str, source: Source, form: Form) -> list[Future[Any]]:
        """Count a pass that the ledger holds as done, and give what it kept.

        Parameters
        ----------
        name : str
            The pass.
        source : Source
            What it read.
        form : Form
            How it was written.
        """
        commits = Commits(self.client, self.ledger, form, name)
        with self._recorded(name, source):
            known = commits.known()
            return [] if known is None else commits.kept(known)

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started

    def _compute(
        self, source: Source, index: int, function: Callable[[pa.Table, Chunk], Any], key: str
    ) -> Future[Any]:
        future: Future[Any] = self.client.submit(source.work(index, function), key=key, pure=False)
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
        """Count a pass, together with what the ledger knows of it."""
        from distributed.scheduler import KilledWorker

        self.emit(PassStarted(name, len(source.chunks), source.rows, source.bytes))
        record = PassRecord(name)
        known = None if self.ledger is None else self.ledger.state.passes.get(name)
        if known is not None:
            record = PassRecord(**known.body["record"])
            peak = max(record.memory_peak.values(), default=0)
            self.emit(ChunkDone(name, record.rows, record.bytes, "", peak))
        self._started = time.perf_counter()
        try:
            yield record
        except KilledWorker as error:
            raise RunError(
                f"{_chunk_of(source, error.task)} ended every worker that tried it",
                where=name,
                mend="give the workers more memory, or look for a damaged row group there",
            ) from error
        if known is None or not known.body["done"]:
            record.seconds += self._elapsed()
        self.records.append(record)
        _require_all(record, source)
        self.emit(PassEnded(name, record.rows, record.bytes, record.seconds))

    def emit(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self.subscribers:
            subscriber(event)


def _require_all(record: PassRecord, source: Source) -> None:
    if record.rows != source.rows:
        raise RowsLostError(
            f"read {record.rows} rows of {source.rows}",
            where=record.name,
            mend="the files changed while they were read; run again",
        )


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
