"""Labels that reached another process than the one that answered: left in the store, where that one finds them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.data import storage
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.monitoring.store import MonitorStore

KEPT = 300.0
"""Seconds for which a label waits; whoever has answered looks many times meanwhile."""
EVERY = 5.0
"""Seconds between two looks, as a list of a store costs money."""
_LOG = logging.getLogger("headrace.monitoring")


@dataclass(frozen=True)
class Stray:
    """True labels of a request that another process answered, or nobody."""

    at: float
    """When they came, in seconds since 1970."""
    request_id: str
    labels: tuple[Any, ...]


class Strays:
    """Where the processes of a server, on one machine or many, leave labels for each other.

    ::

        URL/NAME/strays/1764201234567-0f3a9c21.json    milliseconds since 1970, writer

    Nobody knows which process has answered a request, so each reads every object of the others once, and keeps what
    is its own. They are deleted after `KEPT` by whoever looks then. No feature is in them.

    Parameters
    ----------
    store : MonitorStore
        Its ``writer`` tells the processes apart.
    """

    def __init__(self, store: MonitorStore) -> None:
        self._url = storage.join(store.url, "strays")
        self._writer = store.writer
        self._read: set[str] = set()
        self._looked = 0.0

    def leave(self, strays: Iterable[Stray]) -> None:
        """Leave labels for the others; what the store does not take is given up, as it was counted as unmatched."""
        held = [[stray.at, stray.request_id, stray.labels] for stray in strays]
        if not held:
            return
        url = storage.join(self._url, f"{time.time_ns() // 1_000_000}-{self._writer}.json")
        try:
            storage.write_json(url, held)
        except HeadraceError as error:
            _LOG.warning("labels for other processes: %s", error)

    def find(self, *, at_once: bool = False) -> list[Stray]:
        """Return labels that others have left since the last look; nothing when that was a moment ago, unless `at_once`."""
        moment = time.time()
        if moment - self._looked < EVERY and not at_once:
            return []
        self._looked = moment
        try:
            names = set(storage.list_names(self._url))
        except HeadraceError as error:
            _LOG.info("labels of other processes: %s", error)
            return []
        self._read &= names
        found: list[Stray] = []
        for name in sorted(names):
            try:
                found += self._take(name, moment)
            except HeadraceError as error:
                # Another may have deleted what was just listed; what is still there is tried again at the next look.
                _LOG.info("labels of other processes: %s", error)
        return found

    def _take(self, name: str, now: float) -> list[Stray]:
        written, _, writer = name.removesuffix(".json").partition("-")
        url = storage.join(self._url, name)
        if not written.isdecimal():
            return []
        if int(written) / 1000 < now - KEPT:
            storage.remove_file(url)
        elif name not in self._read and writer != self._writer:
            held = storage.read_json(url)
            self._read.add(name)
            try:
                return [Stray(float(at), str(of), tuple(labels)) for at, of, labels in held]
            except (TypeError, ValueError):
                _LOG.warning("%s: holds no labels", url)
        return []
