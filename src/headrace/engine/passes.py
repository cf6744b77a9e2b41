"""Reduce and stream: the two ways to read every chunk once, on a Dask client it is given."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import call, itemgetter
from typing import TYPE_CHECKING, Any

from headrace.engine.commits import Commits, PassRecord
from headrace.engine.events import ChunkDone, Note, PassEnded, PassStarted
from headrace.engine.lanes import Lanes, label, mixed, restored
from headrace.engine.reduction import MergeTree, Reduction
from headrace.engine.spans import of_states, read_span
from headrace.engine.suspects import explain
from headrace.errors import RowsLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from distributed import Client, Future

    from headrace.data.dataset import Chunk
    from headrace.engine.commits import Form
    from headrace.engine.events import Event, Subscriber
    from headrace.engine.ledger import Ledger
    from headrace.engine.source import Reading, Source

    Pause = Callable[[list[Future[Any]], list[Future[Any]]], list[Future[Any]]]


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
        self._threads, self._asked = 1, -math.inf
        self._function: Callable[[pa.Table, Chunk], Any] | None = None

    @property
    def threads(self) -> int:
        """Threads of all workers; the scheduler is asked once a second, for workers come and go."""
        now = time.monotonic()
        if now - self._asked >= 1.0:
            self._threads, self._asked = max(1, int(sum(self.client.nthreads().values()))), now
        return self._threads

    def reduce(
        self,
        source: Source,
        update: Callable[[pa.Table, Chunk], Any],
        merge: Callable[[Any, Any], Any],
        *,
        name: str,
        form: Form | None = None,
        finish: Callable[[Any], Any] | None = None,
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
        finish : callable, optional
            ``finish(state) -> state``, applied to that of all chunks on a worker, before it is committed and given back.

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
        form = form and replace(form, dump=partial(of_states, form.dump))
        commits = Commits(self.client, self.ledger, form, name)
        self._function = update
        with self._recorded(name, source) as record:
            known = commits.known()
            if known is not None and known.body["done"]:
                return commits.state(known, ["state"])
            tree, run = MergeTree(self.client, merge), uuid.uuid4().hex[:8]
            if known is not None:
                tree.restore(commits, known)

            def send(spans: list[range]) -> tuple[list[Future[Any]], list[Future[Any]]]:
                read = self._send(
                    {
                        f"{name}-{span.start}+{len(span)}-{run}": partial(
                            read_span, [source.work(index, update) for index in span], merge
                        )
                        for span in spans
                    }
                )
                # Told before the next span is read.
                return read, self.client.map(itemgetter(1), read, pure=False, priority=1)

            def seconds() -> float:
                return record.seconds + self._elapsed()

            root = Reduction(
                self.client,
                tree,
                len(source.chunks),
                commits,
                record,
                threads=lambda: self.threads,
                send=send,
                count=partial(self._count, record),
                seconds=seconds,
            ).run()
            root = self.client.submit(of_states, finish or _same, root, pure=False)
            if not commits.on:
                return root.result()
            state, (piece,) = self.client.gather([root, *commits.dumps([root])])
            _require_all(record, source)
            whole = replace(record, seconds=seconds())
            commits.commit(whole, len(source.chunks), {"state": piece}, done=True)
            return state

    def stream(  # noqa: C901, PLR0912, PLR0915 - one loop over what arrives reads best in one piece
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
        lanes: Lanes | None = None,
        pauses: Mapping[int, Pause] | None = None,
        ahead_of: int = 2,
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
        lanes : Lanes, optional
            Every chain on several lanes, each of which takes its share of the blocks; mixed at fixed borders.
        pauses : mapping of int to callable, optional
            After so many chunks, ``pause(states, kept) -> states`` decides how to go on, as a function of these alone.
        ahead_of : int, optional
            Prepared blocks that may wait, for each thread.

        Returns
        -------
        states : list of Future
        kept : list of Future
            In the order of `order`; those of one commit together after a crash.
        """
        lanes = lanes or Lanes()
        self._function = prepare
        chains = list(states)
        grid = [chains] * lanes.count
        kept: list[Future[Any]] = []
        fresh: list[Future[Any]] = []
        commits = Commits(self.client, self.ledger, form, name)
        with self._recorded(name, source) as record:
            known = commits.known()
            start = 0
            if known is not None:
                start = int(known.body["position"])
                grid = restored(commits, known, len(chains), lanes)
                kept = commits.kept(known)
                if known.body["done"]:
                    return grid[0], kept
            ahead: deque[tuple[int, Future[Any]]] = deque()
            in_flight: deque[Future[Any]] = deque()
            waiting = iter(order[start:])
            run = uuid.uuid4().hex[:8]
            saving: list[Future[Any]] | None = None
            position = start
            while True:
                room = ahead_of * self.threads - len(ahead) - len(in_flight)
                indices = list(islice(waiting, max(0, room)))
                works = {f"{name}-{index}-{run}": source.work(index, prepare) for index in indices}
                ahead.extend(zip(indices, self._send(works), strict=True))
                used: list[tuple[Future[Any], list[Future[Any]]]] = []
                while ahead and saving is None:
                    index, read = ahead.popleft()
                    lane = position % lanes.count
                    width = len(grid[lane])
                    labels = [f"{name} learn {chain}-{index}-{run}" for chain in range(width)]
                    calls: list[tuple[Any, list[Future[Any]], Future[Any]]]
                    calls = [(step, [state], read) for state in grid[lane]]
                    if keep is not None:
                        labels.append(f"{name} keep-{index}-{run}")
                        calls.append((keep, [], read))
                    # All in one message, which costs more than a task.
                    made = self.client.map(_use, *zip(*calls, strict=True), key=labels, pure=False)
                    grid[lane] = made[:width]
                    fresh.extend(made[width:])
                    used.append((read, grid[lane]))
                    position += 1
                    pause = (pauses or {}).get(position)
                    if lanes.meet_at(position, len(order)) or pause is not None:
                        grid = mixed(self.client, grid, lanes)
                    if pause is not None:
                        grid = [pause(grid[0], [*kept, *fresh])] * lanes.count
                if used:
                    in_flight.extend(
                        self.client.map(_after, *zip(*used, strict=True), pure=False, priority=1)
                    )
                if saving is None and (
                    (position > start and commits.due()) or (position == len(order) and commits.on)
                ):
                    # Lanes that have just been mixed are one.
                    apart = grid if any(lane is not grid[0] for lane in grid) else grid[:1]
                    saving = commits.dumps([state for lane in apart for state in lane], fresh)
                if in_flight:
                    ended = [in_flight.popleft()]
                    while in_flight and in_flight[0].done():
                        ended.append(in_flight.popleft())
                    for reading in self.client.gather(ended):
                        self._count(record, reading)
                elif saving is not None:
                    # What is in flight has ended; blocks were prepared meanwhile, and only the chains wait.
                    began = time.perf_counter()
                    gathered = commits.gather(saving)
                    if not gathered:
                        self.emit(Note(f"{name} begins anew after a crash: {commits.refusal}"))
                    else:
                        width = len(grid[0])
                        payloads: dict[str, bytes] = {}
                        written = gathered[: len(saving) - bool(fresh and commits.keeps)]
                        rows = [written[first : first + width] for first in range(0, len(written), width)]
                        grid = [[commits.root(held) for held in row] for row in rows]
                        grid = grid if len(grid) == lanes.count else [grid[0]] * lanes.count
                        for lane, row in enumerate(rows):
                            pieces = [piece for held in row for piece in held]
                            payloads |= {label(lane, number): piece for number, piece in enumerate(pieces)}
                        payloads |= dict(zip(["kept"], gathered[len(written) :], strict=False))
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
        return grid[0], [*kept, *fresh]

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

    def _send(self, works: dict[str, Callable[[], tuple[Any, Reading]]]) -> list[Future[Any]]:
        """Send chunks to be read, by key, in one message: one for each would cost as much as the tasks."""
        import dask

        if not works:
            return []
        # Dask warns of data within a graph; what came before a chunk is wanted there, and goes with its task alone.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            read: list[Future[Any]] = self.client.map(call, list(works.values()), key=list(works), pure=False)
        return read

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
        from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

        self.emit(PassStarted(name, len(source.chunks), source.rows, source.bytes))
        record = PassRecord(name)
        known = None if self.ledger is None else self.ledger.state.passes.get(name)
        if known is not None:
            record = PassRecord.known(known, where="" if self.ledger is None else self.ledger.url)
            peak = max(record.memory_peak.values(), default=0)
            self.emit(ChunkDone(name, record.rows, record.bytes, "", peak))
        self._started = time.perf_counter()
        try:
            yield record
        except (KilledWorker, NoWorkerError, NoValidWorkerError) as error:
            raise explain(error, self.client, source, self._function, name=name) from error
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


def _same(state: Any) -> Any:
    return state


def _use(use: Callable[..., Any], states: list[Any], read: tuple[Any, Reading]) -> Any:
    return use(*states, read[0])


def _after(read: tuple[Any, Reading], _states: list[Any]) -> Reading:
    return read[1]
