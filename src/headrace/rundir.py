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
)
from headrace.engine.events import StageStarted
from headrace.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.engine.events import Event, Subscriber


ENDED = ("passed", "missed")
"""Status of a run that has nothing left to do."""

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
        if list_names(self.url):
            raise InputError(
                "already holds files",
                where=self.url,
                mend="give another --run directory, or go on with that run by --resume",
            )

    def open(self, workflow_text: str, record: dict[str, Any]) -> None:
        """Begin the run.

        Raises
        ------
        StorageError
            When the directory cannot be written.
        """
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

        Raises
        ------
        InputError
            When no run was begun here.
        """
        try:
            self.record = read_json(join(self.url, "run.json"))
            text = read_bytes(join(self.url, "workflow.yaml")).decode()
        except StorageError as error:
            raise InputError(
                "holds no run that could go on", where=self.url, mend="give the directory of a run"
            ) from error
        self.documents["workflow_text"] = text
        return text

    def has_ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.record["status"] in ENDED

    def reopen(self) -> None:
        """Go on with a run that was ended or has failed: clear away what was half-written."""
        self.record = {key: held for key, held in self.record.items() if key not in {"error", "ended"}}
        self.record["status"] = "running"
        self.record["resumed"] = self.record.get("resumed", 0) + 1
        for place in (self.url, self.ledger):
            for name in list_names(place):
                if _LEFT_OVER.fullmatch(name):
                    remove_tree(join(place, name))
        self.save()

    def save(self) -> None:
        """Write ``run.json``."""
        write_json(join(self.url, "run.json"), self.record)

    def write(self, name: str, document: Any) -> None:
        """Write a JSON document of the run."""
        self.documents[name] = document
        write_json(join(self.url, f"{name}.json"), document)

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
