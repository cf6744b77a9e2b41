"""The directory of a run: every document is written whole or not at all."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.data.storage import (
    exists,
    join,
    list_names,
    read_bytes,
    read_json,
    remove_tree,
    write_bytes,
    write_json,
    write_pieces,
)
from headrace.engine.events import StageStarted
from headrace.engine.ledger import BEGUN, CLOSED, first_record, holds_records, read_facts
from headrace.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from headrace.engine.events import Event, Subscriber


ENDED = ("passed", "missed")
"""Status of a run that has nothing left to do."""

UNBEGUN = {"workflow.yaml", "ledger", "job"}
"""What a process may leave that ended before it wrote ``run.json``; ``job`` is what a submitted run is led by."""

NEEDED = {"status", "seed", "chunk_memory", "data", "data_passes", "seconds"}
"""Entries of ``run.json`` without which a run cannot go on."""

_LEFT_OVER = re.compile(r"\..+\.tmp-[0-9a-f]{8}")


def new_directory(name: str) -> str:
    """Name a directory for a run that begins now: ``runs/NAME-YYYYMMDD-HHMMSS``, numbered when taken."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    base = join("runs", f"{name}-{stamp}")
    number, url = 1, base
    while exists(url):
        number += 1
        url = f"{base}-{number}"
    return url


@dataclass
class RunDirectory:
    """Where a run writes what it makes, and the record it keeps of itself in ``run.json``.

    Parameters
    ----------
    url : str
        Any fsspec URL.
    subscribers : sequence of callables
        Told when a stage begins.
    """

    url: str
    subscribers: Sequence[Subscriber] = ()
    record: dict[str, Any] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    """What has been written, by name without its ending."""
    products: dict[str, Any] = field(default_factory=dict)
    """What the report draws besides: the profile of the training rows, the preparation, the manifest."""
    found: list[str] = field(default_factory=list)
    """What of it was damaged or changed when it was read, and is restored."""

    @property
    def again(self) -> str:
        """Begins the names of what is done anew when a search that had ended is extended."""
        times = self.record.get("extended", 0)
        return f"extension {times} " if times else ""

    @property
    def ledger(self) -> str:
        """Where the run says what is done."""
        return join(self.url, "ledger")

    def require_empty(self) -> None:
        """Refuse a directory that holds something.

        Raises
        ------
        InputError
            When it does.
        """
        names = self._names()
        if names and not self._unbegun(names):
            raise InputError(
                "already holds files",
                where=self.url,
                mend="give another --run directory, or go on with that run by --resume",
            )

    def _names(self) -> set[str]:
        return {name for name in list_names(self.url) if not _LEFT_OVER.fullmatch(name)}

    def _unbegun(self, names: set[str]) -> bool:
        """Whether a process ended here before its run began: nothing was read or committed."""
        return names <= UNBEGUN and not holds_records(self.ledger)

    def open(self, workflow_text: str, record: dict[str, Any]) -> None:
        """Begin the run.

        Raises
        ------
        InputError
            When another has begun one here meanwhile.
        StorageError
            When the directory cannot be written.
        """
        self.require_empty()
        self._clear()
        self.record = {
            "status": "running",
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": {},
            **record,
        }
        self.documents["workflow_text"] = workflow_text
        write_bytes(join(self.url, "workflow.yaml"), workflow_text.encode())
        self.save()

    def read(self) -> str:
        """Read the record of a run that was begun, and return the text of its workflow.

        Both are in the ledger too, which tells damage by its hashes: what is damaged here is taken from there.

        Raises
        ------
        InputError
            When no run was begun here, or neither holds it any more.
        """
        names = self._names()
        if not names:
            raise InputError(
                "holds no run that could go on", where=self.url, mend="give the directory of a run"
            )
        if self._unbegun(names):
            raise InputError(
                "was ended before it began, so nothing is lost",
                where=self.url,
                mend=f"begin it anew: headrace run WORKFLOW --run {self.url}",
            )
        self.found = []
        self.record = self._read_record()
        begun = first_record(self.ledger)
        text = None if begun is None or begun.kind != BEGUN else str(begun.body["workflow"])
        try:
            here = read_bytes(join(self.url, "workflow.yaml")).decode()
        except (StorageError, ValueError) as error:
            if text is None:
                raise InputError(
                    "the workflow of the run is lost",
                    where=join(self.url, "workflow.yaml"),
                    mend="put it back, or begin a new run",
                ) from error
            here = ""
        if text is not None and text != here:
            self.found.append("workflow.yaml is not as the run began with it, and was restored")
        self.documents["workflow_text"] = here if text is None else text
        return here if text is None else text

    def _read_record(self) -> dict[str, Any]:
        place = join(self.url, "run.json")
        try:
            record = read_json(place)
        except StorageError:
            record = None
        if isinstance(record, dict) and record.keys() >= NEEDED:
            return record
        facts = read_facts(self.ledger)
        known = facts.get(CLOSED) or facts.get(BEGUN)
        restored = None if known is None else known.body.get("run")
        if not isinstance(restored, dict):
            raise InputError(
                "is missing or damaged, and the ledger does not hold it either" if "ledger" in self._names()
                else "holds no run that could go on",
                where=place,
                mend="put it back, or begin a new run",
            )  # fmt: skip
        self.found.append("run.json was missing or damaged, and was restored from the ledger")
        return dict(restored)

    def has_ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.record["status"] in ENDED

    def extend(self, more: int) -> None:
        """Note that so many candidates were added to the search; what a run did that had ended is then done anew."""
        if not more:
            return
        self.record["more_candidates"] = [*self.record.get("more_candidates", ()), more]
        if self.has_ended():
            self.record["extended"] = self.record.get("extended", 0) + 1

    def reopen(self) -> None:
        """Go on with a run that was ended or has failed: clear away what was half-written."""
        self.record = {key: held for key, held in self.record.items() if key not in {"error", "ended"}}
        self.record["status"] = "running"
        self.record["resumed"] = self.record.get("resumed", 0) + 1
        self._clear()
        if self.found:
            write_bytes(join(self.url, "workflow.yaml"), self.documents["workflow_text"].encode())
        self.save()

    def _clear(self) -> None:
        """Remove what was half-written."""
        for place in (self.url, self.ledger):
            for name in list_names(place):
                if _LEFT_OVER.fullmatch(name):
                    remove_tree(join(place, name))

    def save(self) -> None:
        """Write ``run.json``."""
        write_json(join(self.url, "run.json"), self.record)

    def write(self, name: str, document: Any) -> None:
        """Write a JSON document of the run."""
        self.documents[name] = document
        write_json(join(self.url, f"{name}.json"), document)

    def write_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a JSON document of the run that is too large to be held, from pieces of its text."""
        write_pieces(join(self.url, f"{name}.json"), pieces)

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[None]:
        """Time a stage, tell of it, and save the record after it."""
        self.tell(StageStarted(name, detail))
        started = time.perf_counter()
        yield
        before = self.record["seconds"].get(name, 0.0)
        self.record["seconds"][name] = round(before + time.perf_counter() - started, 3)
        self.save()

    def tell(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self.subscribers:
            subscriber(event)

    def end(self, status: str, **entries: Any) -> None:
        """Say how the run ended; it has once the record is saved."""
        self.record.update(entries)
        self.record["status"] = status
        self.record["ended"] = datetime.now(UTC).isoformat(timespec="seconds")

    def close(self, status: str, **entries: Any) -> None:
        """End the run with its status."""
        self.end(status, **entries)
        self.save()
