"""A reduce pass under way: spans sent out, their states merged as a binary counter, the tree committed now and then."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.engine.commits import Arrivals
from headrace.engine.spans import next_span, of_states

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client, Future

    from headrace.engine.commits import Commits, PassRecord
    from headrace.engine.ledger import Progress
    from headrace.engine.source import Reading

LEVEL = "level-"
"""What the pieces of a tree are called in the ledger, before the number of the level."""


class MergeTree:
    """States of chunks as a binary counter: with k chunks in it, a state for each one in the binary k.

    Parameters
    ----------
    client : distributed.Client
        Where states are merged.
    merge : callable
        ``merge(left, right) -> state``.
    """

    def __init__(self, client: Client, merge: Callable[[Any, Any], Any]) -> None:
        self._client = client
        self._merge = merge
        self.chunks = 0
        self.levels: dict[int, Future[Any]] = {}

    def restore(self, commits: Commits, known: Progress) -> None:
        """Begin with what the ledger holds."""
        self.chunks = int(known.body["position"])
        for label in known.state:
            self.levels[int(label.removeprefix(LEVEL))] = commits.root(commits.pieces(known, [label]))

    def add(self, state: Future[Any], chunks: int = 1) -> None:
        """Add the state of the next chunks, or what was read of them, a whole branch: see `headrace.engine.spans.next_span`."""
        assert self.chunks % chunks == 0, "a branch begins where one of its size may"
        level = chunks.bit_length() - 1
        while level in self.levels:
            state = self._merged(self.levels.pop(level), state)
            level += 1
        self.levels[level] = state
        self.chunks += chunks

    def root(self) -> Future[Any]:
        """Merge all levels, the latest chunks first; a single one may still be with what was read of it."""
        root, *earlier = (self.levels[level] for level in sorted(self.levels))
        for left in earlier:
            root = self._merged(left, root)
        return root

    def _merged(self, left: Future[Any], right: Future[Any]) -> Future[Any]:
        return self._client.submit(of_states, self._merge, left, right, pure=False)


class Saving:
    """A commit of a tree that is being written.

    Parameters
    ----------
    tree : MergeTree
        Stays as it is until the commit is made.
    commits : Commits
        Writes the states on the workers.
    """

    def __init__(self, tree: MergeTree, commits: Commits) -> None:
        order = sorted(tree.levels)
        self.dumps = commits.dumps([tree.levels[level] for level in order])
        self._levels = dict(zip([dump.key for dump in self.dumps], order, strict=True))
        self.pieces: dict[int, bytes] = {}

    def take(self, key: Any, pieces: list[bytes]) -> None:
        """Take what one dump has written."""
        (self.pieces[self._levels[key]],) = pieces

    @property
    def written(self) -> bool:
        """Whether every state is."""
        return len(self.pieces) == len(self._levels)


class Reduction:
    """Spans of chunks in, one state out.

    Spans in flight are bounded by the threads, and each holds one decoded chunk; those that wait for a commit hold a
    state each. As long as it is not known what a chunk takes, a span is one chunk.

    Parameters
    ----------
    tree : MergeTree
        Empty, or as it was committed.
    total : int
        Chunks in all.
    commits : Commits
        Of the pass.
    record : PassRecord
        What was read until now.
    threads : callable
        Number of threads of all workers; asked anew, for workers come and go.
    send : callable
        ``send(spans) -> futures`` of what was read of some spans, states or `headrace.engine.spans.Read`, and of the `Reading` of each.
    count : callable
        Told of every `Reading`.
    seconds : callable
        Seconds that the pass has taken, with those before a crash.
    """

    def __init__(
        self,
        client: Client,
        tree: MergeTree,
        total: int,
        commits: Commits,
        record: PassRecord,
        *,
        threads: Callable[[], int],
        send: Callable[[list[range]], tuple[list[Future[Any]], list[Future[Any]]]],
        count: Callable[[Reading], None],
        seconds: Callable[[], float],
    ) -> None:
        self._client = client
        self._tree = tree
        self._total = total
        self._commits = commits
        self._committed = replace(record, memory_peak=dict(record.memory_peak))
        self._upto = tree.chunks
        self._threads = threads
        self._send, self._count, self._seconds = send, count, seconds
        self._sent = tree.chunks
        self._reading: dict[Any, range] = {}
        self._unmerged: deque[tuple[Future[Any], range]] = deque()
        self._counted: dict[range, Reading] = {}
        self._pace = math.inf
        self._arrivals = Arrivals(client)
        self._saving: Saving | None = None

    def run(self) -> Future[Any]:
        """Read, merge and commit until all chunks are in the tree; give its root."""
        while True:
            # What waited for a commit makes room for spans that it kept from being sent.
            self._grow()
            self._send_spans()
            self._grow()
            self._begin_commit()
            if self._saving is None and not self._reading and self._tree.chunks == self._total:
                return self._tree.root()
            ended = self._arrivals.take()
            for future, result in zip(ended, self._client.gather(ended), strict=True):
                self._receive(future, result)
            self._end_commit()

    def _send_spans(self) -> None:
        threads = self._threads()
        room = min(2 * threads - len(self._reading), 4 * threads - len(self._unmerged))
        spans: list[range] = []
        while len(spans) < room and self._sent < self._total:
            span = next_span(self._sent, self._total, threads=threads, seconds=self._pace)
            spans.append(span)
            self._sent = span.stop
        if spans:
            for span, state, reading in zip(spans, *self._send(spans), strict=True):
                self._reading[reading.key] = span
                self._arrivals.add(reading)
                self._unmerged.append((state, span))

    def _grow(self) -> None:
        while self._unmerged and self._saving is None:
            state, span = self._unmerged.popleft()
            self._tree.add(state, len(span))

    def _begin_commit(self) -> None:
        open_ = self._saving is None and self._upto < self._tree.chunks < self._total
        if open_ and self._commits.due():
            self._saving = Saving(self._tree, self._commits)
            for dump in self._saving.dumps:
                self._arrivals.add(dump)

    def _receive(self, future: Future[Any], result: Any) -> None:
        span = self._reading.pop(future.key, None)
        if span is not None:
            self._counted[span] = result
            seconds = result.seconds / len(span)
            # A moving mean: the first chunks also wait for imports, and those to come may be found prepared.
            self._pace = seconds if math.isinf(self._pace) else self._pace + (seconds - self._pace) / 8
            self._count(result)
        elif self._saving is not None:
            self._saving.take(future.key, result)

    def _end_commit(self) -> None:
        """Commit once the tree is written and every chunk in it counted."""
        if self._saving is None or not self._saving.written:
            return
        within = [span for span in self._counted if span.start < self._tree.chunks]
        if sum(map(len, within)) < self._tree.chunks - self._upto:
            return
        pieces = self._saving.pieces
        # Those who go on start from what was committed, so that the loss of a worker costs no more.
        self._tree.levels = {level: self._commits.root([piece]) for level, piece in pieces.items()}
        for span in within:
            self._committed.add(self._counted.pop(span))
        self._committed.seconds = self._seconds()
        payloads = {f"{LEVEL}{level:02}": piece for level, piece in pieces.items()}
        self._commits.commit(self._committed, self._tree.chunks, payloads)
        self._upto, self._saving = self._tree.chunks, None
