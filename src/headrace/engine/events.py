"""What a run says while it works: frozen events; progress bars, logs and records subscribe to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StageStarted:
    """A stage of the run begins."""

    stage: str
    """The stage, in the words of the way of the data: ``profile``, ``checks``, ..."""
    detail: str = ""
    """One line for people."""


@dataclass(frozen=True)
class PassStarted:
    """A pass over the chunks begins."""

    name: str
    """``profile``, ``epoch 1``, ``test``, ..."""
    chunks: int
    """Chunks that it will read."""
    rows: int
    """Rows that it will read."""
    bytes: int
    """Compressed column bytes that it will read."""


@dataclass(frozen=True)
class ChunkDone:
    """One chunk has been read and used, or a few small ones that were read by one task."""

    name: str
    """The pass."""
    rows: int
    """Rows of it."""
    bytes: int
    """Compressed column bytes of it."""
    worker: str
    """Address of the worker that read it."""
    memory_peak: int
    """Peak resident bytes of that worker so far."""


@dataclass(frozen=True)
class PassEnded:
    """A pass over the chunks has ended and its rows were counted."""

    name: str
    """The pass."""
    rows: int
    """Rows read."""
    bytes: int
    """Compressed column bytes read."""
    seconds: float
    """Wall time."""


@dataclass(frozen=True)
class EpochScored:
    """The candidates have been scored on the validation rows after an epoch."""

    epoch: int
    """Counted from 1."""
    scores: dict[str, float]
    """Candidate to its validation score, the higher the better."""


@dataclass(frozen=True)
class Note:
    """Something that the user should know."""

    text: str
    """One line."""


Event = StageStarted | PassStarted | ChunkDone | PassEnded | EpochScored | Note
Subscriber = Callable[[Event], None]
"""Takes each event in order; must not raise."""
