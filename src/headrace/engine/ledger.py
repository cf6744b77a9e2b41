"""What is done, on storage: append-only records in a chain of checksums; replay gives the state to go on from."""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from headrace.data.storage import exists, join, list_names, read_bytes, remove_file, write_bytes
from headrace.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

COMMIT_SECONDS = 10.0
"""Work that a crash may cost: progress is committed when the last commit is this long ago."""

COMMIT_SHARE = 0.01
"""Share of the time that commits may take: a commit that took a second is followed by none for 100."""

START = "0" * 64
_RECORD = re.compile(r"(\d{8})\.json")
PROGRESS, BEGUN, CLOSED = "progress", "begun", "closed"


@dataclass(frozen=True)
class Payload:
    """Bytes that a record names; the object is written before the record is."""

    object: str
    """Name in the ledger's folder, from the hash of the content."""
    sha256: str
    size: int
    """Bytes."""

    @classmethod
    def of(cls, content: bytes) -> Payload:
        """Name some content."""
        digest = hashlib.sha256(content).hexdigest()
        return cls(f"{digest[:40]}.bin", digest, len(content))

    def names(self, content: bytes) -> bool:
        """Whether these are the bytes that were written."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class Record:
    """One entry of the ledger."""

    sequence: int
    """Counted from 1 without gaps."""
    previous: str
    """SHA-256 of the record before; of the first one, zeros."""
    kind: str
    """``progress`` of a pass; any other word is a fact, of which the last one of its kind counts."""
    key: str
    """Of progress: the pass."""
    body: dict[str, Any]
    payloads: dict[str, Payload] = field(default_factory=dict)
    """Of progress: a name that begins with ``kept`` adds to those of the records before, the others replace them."""
    frees: tuple[str, ...] = ()
    """Passes whose state nobody needs any more; what they kept stays."""
    cost: dict[str, float] = field(default_factory=dict)
    """Commits, bytes and seconds of the ledger before this record."""
    sha256: str = ""


def encode(record: Record) -> bytes:
    """Write a record as JSON that holds its own hash."""
    document = asdict(replace(record, sha256=""))
    document["sha256"] = _hash(document)
    return (json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n").encode()


def decode(content: bytes | None) -> Record | None:
    """Read what `encode` wrote; None when it is missing, torn or changed."""
    try:
        document = json.loads(content or b"")
        digest = document["sha256"]
        if digest != _hash({**document, "sha256": ""}):
            return None
        payloads = {name: Payload(**held) for name, held in document["payloads"].items()}
        return Record(**{**document, "payloads": payloads, "frees": tuple(document["frees"])})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _hash(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def chain(objects: Iterable[bytes | None]) -> list[Record]:
    """Read records in the order of their numbers, until the first that does not follow from the one before."""
    records: list[Record] = []
    previous = START
    for sequence, content in enumerate(objects, 1):
        record = decode(content)
        if record is None or (record.sequence, record.previous) != (sequence, previous):
            break
        records.append(record)
        previous = record.sha256
    return records


@dataclass(frozen=True)
class Progress:
    """How far a pass is."""

    body: dict[str, Any]
    """``position`` in the order of chunks, ``done``, ``record`` of what was read until there."""
    state: dict[str, Payload]
    kept: tuple[Payload, ...]
    """In the order in which they were committed."""


@dataclass(frozen=True)
class State:
    """What the records say together."""

    passes: dict[str, Progress] = field(default_factory=dict)
    facts: dict[str, Record] = field(default_factory=dict)

    def payloads(self) -> set[Payload]:
        """Everything that is needed to go on."""
        held = {payload for fact in self.facts.values() for payload in fact.payloads.values()}
        for progress in self.passes.values():
            held.update(progress.state.values(), progress.kept)
        return held


def advance(state: State, record: Record) -> State:
    """Take one more record into account (pure)."""
    passes, facts = dict(state.passes), dict(state.facts)
    if record.kind == PROGRESS:
        before = passes.get(record.key)
        kept = [record.payloads[name] for name in sorted(record.payloads) if name.startswith("kept")]
        held = {name: payload for name, payload in record.payloads.items() if not name.startswith("kept")}
        passes[record.key] = Progress(record.body, held, (*(before.kept if before else ()), *kept))
    elif record.kind == CLOSED and not record.body.get("extendable"):
        begun = {BEGUN: facts[BEGUN]} if BEGUN in facts else {}
        return State({}, {**begun, record.kind: record})
    else:
        facts[record.kind] = record
    for name in record.frees:
        if name in passes:
            passes[name] = replace(passes[name], state={})
    return State(passes, facts)


def replay(records: Sequence[Record], good: Callable[[Payload], bool]) -> tuple[int, State]:
    """Find the longest run of records, from the first, whose state can be read whole (pure but for `good`).

    Parameters
    ----------
    records : sequence of Record
        From `chain`.
    good : callable
        Whether the bytes of a payload are there and unchanged.

    Returns
    -------
    tuple of (int, State)
        How many records count, and what they say.
    """
    states = list(accumulate(records, advance, initial=State()))
    known: dict[Payload, bool] = {}
    for count in range(len(records), 0, -1):
        for payload in states[count].payloads() - known.keys():
            known[payload] = good(payload)
        if all(known[payload] for payload in states[count].payloads()):
            return count, states[count]
    return 0, states[0]


def read_facts(url: str) -> dict[str, Record]:
    """Read the facts of the good records of a ledger, and change nothing; payloads are not looked at."""
    state = State()
    for record in _chain_of(url, _numbers(list_names(url))):
        state = advance(state, record)
    return state.facts


def first_record(url: str) -> Record | None:
    """Read the first record of a ledger; None when it is missing or damaged."""
    records = chain([_content(join(url, _name(1)))])
    return records[0] if records else None


def holds_records(url: str) -> bool:
    """Whether anything was ever committed there, damaged or not."""
    return bool(_numbers(list_names(url)))


class Ledger:
    """The ledger of a run: reads what is there, appends to it.

    Parameters
    ----------
    url : str
        A folder on any fsspec URL.
    guard : callable, optional
        Called before each commit; raises when another process has taken the run over.
    interval, share : float, optional
        Seconds between commits, and the share of the time that they may take.

    Attributes
    ----------
    state : State
        What the records say.
    notes : list of str
        What was found damaged.
    cost : dict
        ``commits``, ``bytes`` and ``seconds`` since the run began.
    """

    def __init__(
        self,
        url: str,
        *,
        guard: Callable[[], None] = lambda: None,
        interval: float | None = None,
        share: float | None = None,
    ) -> None:
        self.url = url
        self.guard = guard
        self.interval = COMMIT_SECONDS if interval is None else interval
        self.share = COMMIT_SHARE if share is None else share
        self.notes: list[str] = []
        names = list_names(url)
        numbers = _numbers(names)
        last = max(numbers, default=0)
        records = _chain_of(url, numbers)
        count, self.state = replay(records, lambda payload: self._read(payload) is not None)
        self._before = self.state
        if count < last:
            lost = last - count
            self.notes.append(
                f"{lost} of {last} records of the ledger are damaged or missing, or follow one that is; "
                "the work since the last good one is done again"
            )
            for number in range(last, count, -1):
                remove_file(join(url, _name(number)))
        self._sequence = count
        self._previous = records[count - 1].sha256 if count else START
        self._objects = {name for name in names if name.endswith(".bin")}
        self.cost: dict[str, float] = (
            dict(records[count - 1].cost) if count else {"commits": 0, "bytes": 0, "seconds": 0.0}
        )
        self._committed = time.monotonic()
        self._last_cost = 0.0

    def due(self) -> bool:
        """Whether it is time for a commit."""
        wait = self.interval if self.interval <= 0 else max(self.interval, self._last_cost / self.share)
        return time.monotonic() - self._committed >= wait

    def read(self, payload: Payload) -> bytes:
        """Read the bytes of a payload.

        Raises
        ------
        StorageError
            When they are gone or changed since the ledger was opened.
        """
        content = self._read(payload)
        if content is None:
            raise StorageError(
                "is damaged", where=join(self.url, payload.object), mend="resume the run again"
            )
        return content

    def append(
        self,
        kind: str,
        body: dict[str, Any],
        payloads: Mapping[str, bytes] | None = None,
        *,
        key: str = "",
        frees: Sequence[str] = (),
        spent: float = 0.0,
    ) -> None:
        """Commit a record: once this returns, it outlives the process.

        Parameters
        ----------
        kind, key, body, frees
            As of `Record`.
        payloads : mapping of str to bytes, optional
            Written before the record; equal contents once.
        spent : float, optional
            Seconds that the work has waited for this commit already.

        Raises
        ------
        StorageError
            When it cannot be written; the records before stay good.
        RunError
            When another process has taken the run over.
        """
        started = time.monotonic()
        self.guard()
        named = {name: Payload.of(content) for name, content in (payloads or {}).items()}
        size = 0
        for name, payload in named.items():
            if payload.object not in self._objects and payloads is not None:
                write_bytes(join(self.url, payload.object), payloads[name])
                self._objects.add(payload.object)
                size += payload.size
        record = Record(
            sequence=self._sequence + 1,
            previous=self._previous,
            kind=kind,
            key=key,
            body=body,
            payloads=named,
            frees=tuple(frees),
            cost=self.cost,
        )
        content = encode(record)
        write_bytes(join(self.url, _name(record.sequence)), content)
        written = decode(content)
        assert written is not None, "what was just encoded can be read"
        self._sequence, self._previous = written.sequence, written.sha256
        self._before, self.state = self.state, advance(self.state, written)
        self._sweep(keep_one_before=kind != CLOSED)
        self._committed = time.monotonic()
        self._last_cost = self._committed - started + spent
        self.cost = {
            "commits": self.cost["commits"] + 1,
            "bytes": self.cost["bytes"] + size + len(content),
            "seconds": round(self.cost["seconds"] + self._last_cost, 4),
        }

    def _sweep(self, *, keep_one_before: bool) -> None:
        """Remove payloads that neither this state nor the one before needs, so that one damaged record costs one commit."""
        needed = self.state.payloads() | (self._before.payloads() if keep_one_before else set())
        for name in sorted(self._objects - {payload.object for payload in needed}):
            with suppress(StorageError):  # what stays takes room and does no harm
                remove_file(join(self.url, name))
            self._objects.discard(name)

    def _read(self, payload: Payload) -> bytes | None:
        content = _content(join(self.url, payload.object))
        return content if content is not None and payload.names(content) else None


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(match[1]) for name in names if (match := _RECORD.fullmatch(name))]


def _chain_of(url: str, numbers: Sequence[int]) -> list[Record]:
    return chain(_content(join(url, _name(number))) for number in range(1, max(numbers, default=0) + 1))


def _content(url: str) -> bytes | None:
    try:
        return read_bytes(url)
    except StorageError:
        if exists(url):  # what cannot be read now is not lost
            raise
        return None


def _name(sequence: int) -> str:
    return f"{sequence:08d}.json"
