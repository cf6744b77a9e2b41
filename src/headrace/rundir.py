"""The directory of a run: every document is written whole or not at all."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.data.storage import exists, join, list_names, write_bytes, write_json
from headrace.engine.events import StageStarted
from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.engine.events import Event, Subscriber


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
        Any fsspec URL; must not hold a run already.
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

    def open(self, workflow_text: str, record: dict[str, Any]) -> None:
        """Begin the run.

        Raises
        ------
        InputError
            When the directory holds something.
        StorageError
            When it cannot be written.
        """
        if list_names(self.url):
            raise InputError("already holds files", where=self.url, mend="give another --run directory")
        self.record = {
            "status": "running",
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": {},
            **record,
        }
        self.documents["workflow_text"] = workflow_text
        write_bytes(join(self.url, "workflow.yaml"), workflow_text.encode())
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
        self.record["seconds"][name] = round(time.perf_counter() - started, 3)
        self.save()

    def tell(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self.subscribers:
            subscriber(event)

    def close(self, status: str, **entries: Any) -> None:
        """End the run with its status."""
        self.record.update(entries)
        self.record["status"] = status
        self.record["ended"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.save()
