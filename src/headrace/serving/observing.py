"""What a server tells whoever watches it: frozen events, and a bounded queue that never makes a request wait."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from headrace.serving.feeds import Feeds
    from headrace.serving.guard import Finding


@dataclass(frozen=True)
class Predicted:
    """Rows that one call of a model has answered; several requests when they were computed together."""

    at: float
    """Seconds since 1970."""
    version: str
    """Name and version of the model, such as ``late@3``."""
    arm: str
    """``champion`` or ``challenger``."""
    feeds: Feeds
    """The inputs as they came, before any clipping: tensors of shape (rows, 1)."""
    outputs: np.ndarray[Any, Any]
    """Probabilities, shape (rows, classes), or predictions, shape (rows,)."""
    seconds: float
    """What the guard and the model took."""
    findings: tuple[Finding, ...]
    """What the guard has found; their rows count from the first row of `feeds`."""
    request_ids: tuple[str, ...]
    """One for each request, in the order of the rows."""
    request_rows: tuple[int, ...]
    """Rows of each request; they add up to those of `feeds`."""
    shadow: bool = False
    """Whether the answers were only compared and given to nobody."""


@dataclass(frozen=True)
class Labelled:
    """True labels that came later."""

    at: float
    """Seconds since 1970."""
    request_id: str
    labels: tuple[Any, ...]
    """One for each row of the request; None where it is not known."""


@dataclass(frozen=True)
class Failed:
    """A request that got no answer."""

    at: float
    status: int
    """The HTTP status."""


Event = Predicted | Labelled | Failed


class Observer(Protocol):
    """Takes events; it must neither block nor raise."""

    def observe(self, event: Event) -> None:
        """Take one event."""


class BoundedQueue:
    """Keeps events until they are drained; when it is full, new ones are dropped and counted.

    Parameters
    ----------
    rows : int
        Most rows of inputs and labels that are kept; a failure counts as one.

    Attributes
    ----------
    dropped : int
        Events that found the queue full.
    """

    def __init__(self, rows: int = 100_000) -> None:
        self.limit = rows
        self.dropped = 0
        self._rows = 0
        self._events: deque[Event] = deque()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._events)

    def observe(self, event: Event) -> None:
        """Take one event, or drop it."""
        size = _rows(event)
        with self._lock:
            if self._rows + size > self.limit:
                self.dropped += 1
                return
            self._rows += size
            self._events.append(event)

    def drain(self) -> list[Event]:
        """Give back what was kept, the oldest first, and forget it."""
        with self._lock:
            events, self._events, self._rows = list(self._events), deque(), 0
        return events


def _rows(event: Event) -> int:
    if isinstance(event, Predicted):
        return sum(event.request_rows)
    return len(event.labels) if isinstance(event, Labelled) else 1
