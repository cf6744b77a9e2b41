"""The monitor store: windows as checksummed objects on any URL, many writers, rolled up to hours and days."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.data import storage
from headrace.errors import InputError, StorageError
from headrace.monitoring.windows import DAY, HOUR, MINUTE, Window, merge_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SETTLED = 600
"""Seconds after the end of an hour or day before it is rolled up: slow writers have come by then."""
MOST_BYTES = 1 << 28
"""Of one object, unpacked."""
_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OBJECT = re.compile(r"(\d{4})-[0-9a-f]{8}-\d{6}\.json\.z")
_ROLLED = "rolled.json.z"


class MonitorStore:
    """Windows of one model on a URL.

    ::

        URL/NAME/minutes/2026-11-24/1857-0f3a9c21-000012.json.z    minute, writer, number of the flush
        URL/NAME/hours/2026-11-24/18/rolled.json.z
        URL/NAME/days/2026-11-24/rolled.json.z

    Every object is written once, under a name that is its writer's alone, so writers need no lock. An hour is rolled
    up by whoever creates its object first; it names the minutes that it holds, and a minute that it names is not
    counted again, whether it has been deleted yet or not. A minute that came later stays beside it. So what is read
    is each flush exactly once, at any moment and after any crash.

    Parameters
    ----------
    url : str
        A folder; it need not exist yet.
    name : str
        Of the model.

    Attributes
    ----------
    damaged : list of str
        Objects whose checksum did not hold when they were last read; they are left out.
    """

    def __init__(self, url: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot be the name of a model", where=url)
        self.name = name
        self.url = storage.join(url, name)
        self.writer = secrets.token_hex(4)
        self.damaged: list[str] = []
        self._flushes = 0

    def write(self, windows: Sequence[Window]) -> str | None:
        """Write windows of one flush, by the minute of the first; None when there are none.

        Raises
        ------
        StorageError
            When it cannot be written; nothing half-written stays, and it may be tried again.
        """
        if not windows:
            return None
        at = datetime.fromtimestamp(min(window.start for window in windows), UTC)
        name = f"{at:%H%M}-{self.writer}-{self._flushes:06d}.json.z"
        url = storage.join(self.url, "minutes", f"{at:%Y-%m-%d}", name)
        storage.write_bytes(url, _pack([window.told() for window in windows], []))
        self._flushes += 1
        return url

    def read(self, start: float = 0.0, end: float = float("inf"), *, span: int = MINUTE) -> list[Window]:
        """Read the windows that begin within [start, end), merged to spans of `span` seconds at least.

        What has been rolled up comes in hours or days, which are taken when they begin within.

        Parameters
        ----------
        start, end : float
            Seconds since 1970.
        span : int
            60, 3600 or 86400.
        """
        self.damaged = []
        found = [window for held in self._objects(start, end) for window in held.windows]
        return merge_by((window for window in found if start <= window.start < end), span)

    def roll(
        self, *, now: float | None = None, minutes_for: float = 2 * DAY, hours_for: float = 90 * DAY
    ) -> int:
        """Roll up minutes to hours, and hours to days, once they are old enough.

        Parameters
        ----------
        now : float, optional
            Seconds since 1970.
        minutes_for, hours_for : float
            How long minutes and hours are kept as such, in seconds.

        Returns
        -------
        int
            Objects that were replaced.
        """
        moment = time.time() if now is None else now
        replaced = 0
        for date in storage.list_names(storage.join(self.url, "minutes")):
            begin = _seconds(date)
            if begin is None or begin + HOUR > moment - minutes_for:
                continue
            for hour in sorted({name[:2] for name in self._names(date)}):
                start = begin + HOUR * int(hour)
                if start + HOUR + max(SETTLED, minutes_for) <= moment:
                    replaced += self._roll_hour(date, hour)
        for date in storage.list_names(storage.join(self.url, "hours")):
            begin = _seconds(date)
            if begin is not None and begin + DAY + max(SETTLED, hours_for) <= moment:
                replaced += self._roll_day(date)
        return replaced

    def remove_before(self, moment: float) -> int:
        """Delete what is of days before the one of `moment`; return how many days."""
        removed = 0
        for grain in ("minutes", "hours", "days"):
            for date in storage.list_names(storage.join(self.url, grain)):
                begin = _seconds(date)
                if begin is not None and begin + DAY <= moment:
                    storage.remove_tree(storage.join(self.url, grain, date))
                    removed += 1
        return removed

    def _roll_hour(self, date: str, hour: str) -> int:
        held = [item for item in self._minutes(date) if item.name.startswith(f"{date}/{hour}")]
        target = storage.join(self.url, "hours", date, hour, _ROLLED)
        rolled = self._load(target, f"{date}/{hour}") if storage.exists(target) else None
        taken = set(rolled.sources) if rolled else set()
        if rolled is None and held:
            windows = merge_by((window for item in held for window in item.windows), HOUR)
            names = [item.name for item in held]
            if not storage.create(target, _pack(windows, names)):
                return 0  # another was first; what it took is deleted by it, or by the next to come
            taken = set(names)
        gone = [item for item in held if item.name in taken]
        for item in gone:
            storage.remove_file(item.url)
        return len(gone)

    def _roll_day(self, date: str) -> int:
        target = storage.join(self.url, "days", date, _ROLLED)
        held = [*self._minutes(date), *self._hours(date)]
        known = {source for item in held for source in item.sources}
        fresh = [item for item in held if item.name not in known]
        rolled = self._load(target, date) if storage.exists(target) else None
        taken = set(rolled.sources) if rolled else set()
        if rolled is None and fresh:
            windows = merge_by((window for item in fresh for window in item.windows), DAY)
            names = sorted(known | {item.name for item in fresh})
            if not storage.create(target, _pack(windows, names)):
                return 0
            taken = set(names)
        gone = [item for item in held if item.name in taken]
        for item in gone:
            storage.remove_file(item.url)
        return len(gone)

    def _objects(self, start: float, end: float) -> Iterator[_Held]:
        dates: set[str] = set()
        # Minutes are listed before hours, and hours before days: what is rolled up meanwhile is found in its new place.
        for grain in ("minutes", "hours", "days"):
            dates |= set(storage.list_names(storage.join(self.url, grain)))
        for date in sorted(dates):
            begin = _seconds(date)
            if begin is None or begin + DAY <= start or begin >= end:
                continue
            minutes = self._minutes(date)
            hours = self._hours(date)
            day = self._load(storage.join(self.url, "days", date, _ROLLED), date)
            rolled = [*hours, *([day] if day else [])]
            taken = {source for item in rolled for source in item.sources}
            yield from (item for item in (*minutes, *rolled) if item.name not in taken)

    def _names(self, date: str) -> list[str]:
        names = storage.list_names(storage.join(self.url, "minutes", date))
        return [name for name in names if _OBJECT.fullmatch(name)]

    def _minutes(self, date: str) -> list[_Held]:
        found = (
            self._load(storage.join(self.url, "minutes", date, name), f"{date}/{name}")
            for name in self._names(date)
        )
        return [item for item in found if item is not None]

    def _hours(self, date: str) -> list[_Held]:
        place = storage.join(self.url, "hours", date)
        found = (
            self._load(storage.join(place, hour, _ROLLED), f"{date}/{hour}")
            for hour in storage.list_names(place)
        )
        return [item for item in found if item is not None]

    def _load(self, url: str, name: str) -> _Held | None:
        """Read one object; None when it is not there any more, or damaged."""
        try:
            content = storage.read_bytes(url)
        except StorageError:
            if storage.exists(url):
                raise
            return None
        try:
            document = _unpack(content)
            windows = [Window.from_state(state) for state in document["windows"]]
            return _Held(url, name, windows, document["sources"])
        except (ValueError, KeyError, TypeError, zlib.error):
            self.damaged.append(url)
            return None


@dataclass(frozen=True)
class _Held:
    """One object: its windows and the names of those that were rolled up into it."""

    url: str
    name: str
    windows: list[Window]
    sources: list[str] = field(default_factory=list)


def _pack(windows: Iterable[Window], sources: Sequence[str]) -> bytes:
    document = {
        "format": _FORMAT,
        "windows": [window.state() for window in windows],
        "sources": list(sources),
    }
    text = json.dumps(document, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + zlib.compress(text, 6)


def _unpack(content: bytes) -> dict[str, Any]:
    digest, _, packed = content.partition(b"\n")
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, MOST_BYTES)
    if unpacker.unconsumed_tail or hashlib.sha256(text).hexdigest().encode() != digest:
        raise ValueError("its checksum does not hold")
    document: dict[str, Any] = json.loads(text)
    if document.get("format") != _FORMAT:
        raise ValueError("is of another format")
    return document


def _seconds(date: str) -> float | None:
    try:
        return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
