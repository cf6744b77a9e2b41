"""What every source of an ingest offers: units that are read and published as wholes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from headrace.ingesting.batches import Batch
    from headrace.ingesting.columns import Layout
    from headrace.ingesting.credentials import Secrets
    from headrace.ingesting.options import IngestFile


@dataclass(frozen=True)
class Unit:
    """A part of a source that is read as a whole: a file, a range of a key, all pages of an API."""

    name: str
    """What it is; a unit of the same name that was published before is replaced."""
    stamp: str
    """Changes when its content does."""
    label: str
    """For people, without credentials."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What the source needs to read it; JSON."""

    @property
    def key(self) -> str:
        """Short name that is the same only for the same content."""
        return digest([self.name, self.stamp])[:16]


@dataclass(frozen=True)
class Work:
    """What a source is given to work with."""

    file: IngestFile
    """The ingest file."""
    secrets: Secrets
    """Variables of the environment."""
    spool: Path
    """A directory that outlives a killed process, for what has been fetched."""
    watermark: Any
    """Largest value that earlier runs have published; None at the first."""
    say: Callable[[str], None]
    """Tells the user one line."""


class StartOver(Exception):  # noqa: N818 no error: what has been read of the unit is dropped, and it is read exactly
    """A source asks to read a unit from its beginning, with ``facts["exact"]`` set."""


class Source(Protocol):
    """A source, opened."""

    whole: bool
    """Whether its units are all there is, so that units published before which are not among them go."""

    def units(self) -> list[Unit]:
        """List what there is, in order."""

    def look(self, units: Sequence[Unit]) -> Layout:
        """Find names and types from a first look."""

    def read(self, unit: Unit, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        """Read a unit strictly, in bounded memory; put what is to be remembered of it (JSON) into `facts`."""

    def watermark(self) -> Any:
        """Largest value of the watermark's column up to which `units` reach; JSON."""


def digest(document: Any) -> str:
    """SHA-256 of a JSON document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
