"""How a pass meets the ledger: what was read, how states are written, and chains that go on from committed bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.engine.ledger import PROGRESS
from headrace.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future

    from headrace.engine.ledger import Ledger, Progress
    from headrace.engine.source import Reading


@dataclass
class PassRecord:
    """What one pass has read, as the reader counted it."""

    name: str
    chunks: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    kept: int = 0
    """Rows that the filter of the data kept, of the chunks that were read and not found prepared."""
    memory_peak: dict[str, int] = field(default_factory=dict)
    """Worker address to its peak resident bytes."""

    @classmethod
    def known(cls, progress: Progress, *, where: str) -> PassRecord:
        """Read what the ledger knows of a pass.

        Raises
        ------
        RunError
            When it is not written as this version writes it.
        """
        try:
            return cls(**progress.body["record"])
        except MALFORMED as error:
            raise _not_ours(where) from error

    def add(self, reading: Reading) -> None:
        """Count one chunk."""
        self.chunks += reading.count.chunks
        self.rows += reading.count.rows
        self.bytes += reading.count.bytes
        self.kept += reading.count.kept
        self.memory_peak[reading.worker] = max(reading.memory_peak, self.memory_peak.get(reading.worker, 0))


@dataclass(frozen=True)
class Form:
    """How the states of a pass are written to the ledger: as bytes, without loss, never by pickle."""

    dump: Callable[[Any], list[bytes]]
    """A state to its pieces: one, or for a chain of learners one each. Raises `RunError` when that cannot be."""
    load: Callable[[list[bytes]], Any]
    """Some pieces, also from several states, to a state."""
    dump_kept: Callable[..., bytes] | None = None
    """Everything kept since the last commit, in order, to bytes."""
    load_kept: Callable[[bytes], Any] | None = None


@dataclass
class Commits:
    """Commits of one pass; all of them do nothing without a ledger or a form.

    Parameters
    ----------
    client : distributed.Client
        Where the pass runs.
    ledger : Ledger or None
        Where it is committed.
    form : Form or None
        How its states are written.
    name : str
        The pass.
    """

    client: Client
    ledger: Ledger | None
    form: Form | None
    name: str

    @property
    def on(self) -> bool:
        """Whether anything is committed."""
        return self.form is not None and self.ledger is not None

    @property
    def keeps(self) -> bool:
        """Whether what a stream keeps is committed."""
        return self.form is not None and self.form.dump_kept is not None

    def due(self) -> bool:
        """Whether it is time for a commit."""
        return self.form is not None and self.ledger is not None and self.ledger.due()

    def known(self) -> Progress | None:
        """Return how far the ledger knows the pass to be."""
        return self.ledger.state.passes.get(self.name) if self.on and self.ledger is not None else None

    def state(self, known: Progress, labels: Sequence[str]) -> Any:
        """Load a state of which the ledger has the pieces, in this process."""
        assert self.form is not None, "progress is known when there is a form"
        return _load(self.form.load, self.ledger.url if self.ledger else "", self.pieces(known, labels))

    def pieces(self, known: Progress, labels: Sequence[str]) -> list[bytes]:
        """Read pieces of states."""
        assert self.ledger is not None, "progress is known from a ledger"
        return [self.ledger.read(known.state[label]) for label in labels]

    def kept(self, known: Progress) -> list[Future[Any]]:
        """Load what a stream has kept, on the workers."""
        if self.form is None or self.form.load_kept is None or self.ledger is None:
            return []
        return [self._embed(self.form.load_kept, self.ledger.read(payload)) for payload in known.kept]

    def root(self, pieces: list[bytes]) -> Future[Any]:
        """Start a chain from bytes that the scheduler holds: no worker's loss can take it away."""
        assert self.form is not None, "there are pieces when there is a form"
        return self._embed(self.form.load, pieces)

    def dumps(self, states: Sequence[Future[Any]], fresh: Sequence[Future[Any]] = ()) -> list[Future[Any]]:
        """Write states, and all that was kept since the last commit as one, on the workers."""
        assert self.form is not None, "a commit is due when there is a form"
        dumps: list[Future[Any]] = [self.client.submit(self.form.dump, state, pure=False) for state in states]
        if fresh and self.form.dump_kept is not None:
            dump: Any = self.form.dump_kept
            dumps.append(self.client.submit(dump, *fresh, pure=False))
        return dumps

    def gather(self, dumps: list[Future[Any]]) -> list[Any]:
        """Wait for what `dumps` writes; when it cannot be written, nothing of this pass is committed any more.

        Returns
        -------
        list
            Empty when it cannot be written.
        """
        try:
            gathered: list[Any] = self.client.gather(dumps)
        except RunError as error:
            self.form = None
            self.refusal = str(error)
            return []
        return gathered

    refusal: str = ""
    """Why states cannot be written, when so."""

    def commit(
        self,
        record: PassRecord,
        position: int,
        payloads: dict[str, bytes],
        *,
        done: bool = False,
        spent: float = 0.0,
    ) -> None:
        """Write down that the pass has come to this position in its order of chunks."""
        assert self.ledger is not None, "commits need a ledger"
        body = {"position": position, "done": done, "record": asdict(record)}
        self.ledger.append(PROGRESS, body, payloads, key=self.name, spent=spent)

    def _embed(self, load: Callable[[Any], Any], content: Any) -> Future[Any]:
        import dask

        # Dask warns of bytes within a graph; here they are wanted, and they are few.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            where = self.ledger.url if self.ledger else ""
            future: Future[Any] = self.client.submit(_load, load, where, content, pure=False)
        return future


MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, EOFError)
"""What reading a state raises that is not written as it should be."""


def _load(load: Callable[[Any], Any], where: str, content: Any) -> Any:
    """Load a state; its bytes are those that were written, so that what does not fit is of another version."""
    try:
        return load(content)
    except MALFORMED as error:
        raise _not_ours(where) from error


def _not_ours(where: str) -> RunError:
    return RunError(
        "a state of the ledger cannot be read by this version",
        where=where,
        mend="go on with the versions that run.json names, or begin a new run",
    )


class Arrivals:
    """Futures in the order in which they end."""

    def __init__(self, client: Client) -> None:
        from distributed import as_completed

        self._ended = as_completed(loop=client.loop)

    def add(self, future: Future[Any]) -> None:
        """Wait for one more."""
        self._ended.add(future)

    def take(self) -> list[Future[Any]]:
        """Return those that have ended, well or not, as soon as there are some; there must be one to wait for."""
        assert not self._ended.is_empty(), "a pass waits only while something is under way"
        ended: list[Future[Any]] = self._ended.next_batch()
        return ended
