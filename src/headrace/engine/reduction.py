"""A reduce pass under way: leaves sent out, their states merged as a binary counter, the tree committed now and then."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.engine.commits import Arrivals

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

    def add(self, state: Future[Any]) -> None:
        """Add the state of the next chunk."""
        level = 0
        while level in self.levels:
            state = self._client.submit(self._merge, self.levels.pop(level), state, pure=False)
            level += 1
        self.levels[level] = state
        self.chunks += 1

    def root(self) -> Future[Any]:
        """Merge all levels, the latest chunks first."""
        root, *earlier = (self.levels[level] for level in sorted(self.levels))
        for left in earlier:
            root = self._client.submit(self._merge, left, root, pure=False)
        return root


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
    """Leaves in, one state out.

    Leaves in flight are bounded by the threads, so that each holds one decoded chunk; those that wait for a commit
    hold a state each.

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
        ``send(index) -> futures`` of the state and of the `Reading` of a chunk.
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
        send: Callable[[int], tuple[Future[Any], Future[Any]]],
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
        self._waiting = iter(range(tree.chunks, total))
        self._reading: dict[Any, int] = {}
        self._unmerged: deque[Future[Any]] = deque()
        self._counted: dict[int, Reading] = {}
        self._arrivals = Arrivals()
        self._saving: Saving | None = None

    def run(self) -> Future[Any]:
        """Read, merge and commit until all chunks are in the tree; give its root."""
        while True:
            # What waited for a commit makes room for leaves that it kept from being sent.
            self._grow()
            self._send_leaves()
            self._grow()
            self._begin_commit()
            if self._saving is None and not self._reading and self._tree.chunks == self._total:
                return self._tree.root()
            self._receive(self._arrivals.take())
            self._end_commit()

    def _send_leaves(self) -> None:
        threads = self._threads()
        while len(self._reading) < 2 * threads and len(self._unmerged) < 4 * threads:
            index = next(self._waiting, None)
            if index is None:
                return
            state, reading = self._send(index)
            self._reading[reading.key] = index
            self._arrivals.add(reading)
            self._unmerged.append(state)

    def _grow(self) -> None:
        while self._unmerged and self._saving is None:
            self._tree.add(self._unmerged.popleft())

    def _begin_commit(self) -> None:
        open_ = self._saving is None and self._upto < self._tree.chunks < self._total
        if open_ and self._commits.due():
            self._saving = Saving(self._tree, self._commits)
            for dump in self._saving.dumps:
                self._arrivals.add(dump)

    def _receive(self, future: Future[Any]) -> None:
        result = future.result()
        index = self._reading.pop(future.key, None)
        if index is not None:
            self._counted[index] = result
            self._count(result)
        elif self._saving is not None:
            self._saving.take(future.key, result)

    def _end_commit(self) -> None:
        """Commit once the tree is written and every chunk in it counted."""
        if self._saving is None or not self._saving.written:
            return
        within = [index for index in self._counted if index < self._tree.chunks]
        if len(within) < self._tree.chunks - self._upto:
            return
        pieces = self._saving.pieces
        # Those who go on start from what was committed, so that the loss of a worker costs no more.
        self._tree.levels = {level: self._commits.root([piece]) for level, piece in pieces.items()}
        for index in within:
            self._committed.add(self._counted.pop(index))
        self._committed.seconds = self._seconds()
        payloads = {f"{LEVEL}{level:02}": piece for level, piece in pieces.items()}
        self._commits.commit(self._committed, self._tree.chunks, payloads)
        self._upto, self._saving = self._tree.chunks, None
