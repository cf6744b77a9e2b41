"""One process a run: a lease on storage with a beat, refused while its holder lives, taken over when it is dead."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import psutil

from headrace.data.storage import (
    create,
    creates_once,
    join,
    list_names,
    read_json,
    remove_file,
    write_json,
)
from headrace.errors import InputError, RunError, StorageError

BEAT_SECONDS = 2.0
BEATS_WATCHED = 3
"""Beats of silence after which the holder on another machine counts as dead."""

SETTLE_SECONDS = 0.3
"""On a store that cannot create a file once, who took a lease looks again after this long: the later writer has it."""

FOLDER = "lease"

_CLOSED: set[str] = set()
"""Who has held a lease in this process and given it up, also where the store could not be told."""

_TERM = re.compile(r"(\d{8})\.json")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as it stands in the file."""

    owner: str
    """Drawn anew by every process."""
    host: str
    """Name of the machine, and of its start where the system tells."""
    pid: int
    started: float
    """Start of the process, see `started_at`: a number that is given to another process later does not match."""
    beat: int = 0
    released: bool = False
    """Whether the holder has given it up."""

    @classmethod
    def this_process(cls) -> Self:
        """Name this process."""
        return cls(secrets.token_hex(8), _host(), os.getpid(), started_at(psutil.Process()))

    def lives_here(self) -> bool:
        """Whether the process, known to be of this machine, still runs."""
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(started_at(process) - self.started) < 0.05
        except psutil.NoSuchProcess:
            return False


class Lease:
    """Holds a run for this process until closed, and beats meanwhile.

    Holders are counted: each writes ``lease/NUMBER.json``, of which the highest is in force. Who follows a dead or
    departed holder creates the next number, which only one can do; nobody writes to the file of another.
    The clocks of two machines are never compared: a holder elsewhere lives if its beat changes while it is watched.

    Parameters
    ----------
    url : str
        Folder of the ledger.
    beat_seconds : float, optional
        Time between beats.

    Raises
    ------
    InputError
        When another process holds the run and lives.
    """

    def __init__(self, url: str, *, beat_seconds: float | None = None) -> None:
        self.url = url
        self.beat_seconds = BEAT_SECONDS if beat_seconds is None else beat_seconds
        self._holder = Holder.this_process()
        self._beat = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beats, name="headrace-lease", daemon=True)
        number, found = newest(url)
        if found is not None and self._lives(number, found):
            raise self._refused(found)
        self._number = number + 1
        content = json.dumps(asdict(self._holder)).encode()
        won = create(self._path(self._number), content)
        if won and not creates_once(url):
            time.sleep(min(SETTLE_SECONDS, self.beat_seconds))
        if not won or not creates_once(url):
            now = newest(url)[1]
            # A request that was repeated may be refused because it was granted the first time.
            if now is None or now.owner != self._holder.owner:
                raise self._refused(now or self._holder)
        self._forget()
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def check(self) -> None:
        """Refuse to go on when another process has taken the run over, say after this one was suspended.

        Raises
        ------
        RunError
            When the lease names another process.
        """
        now = newest(self.url)[1]
        if now is not None and now.owner != self._holder.owner:
            raise RunError(f"process {now.pid} on {_short(now.host)} has taken this run over", where=self.url)

    def close(self) -> None:
        """Stop beating and give the run free."""
        self._stop.set()
        self._thread.join(timeout=10)
        _CLOSED.add(self._holder.owner)
        with suppress(StorageError):
            write_json(self._path(self._number), asdict(replace(self._holder, released=True)))

    def _path(self, number: int) -> str:
        return join(self.url, FOLDER, f"{number:08d}.json")

    def _forget(self) -> None:
        """Remove the files of those before."""
        for number in terms(self.url):
            if number < self._number:
                with suppress(StorageError):  # what stays is not in force
                    remove_file(self._path(number))

    def _lives(self, number: int, found: Holder) -> bool:
        if found.released or found.owner in _CLOSED:
            return False
        if found.host == self._holder.host:
            return found.lives_here()
        end = time.monotonic() + BEATS_WATCHED * self.beat_seconds
        while time.monotonic() < end:
            time.sleep(self.beat_seconds / 2)
            now = read_holder(self._path(number))
            if now is None or now.released:
                return False
            if (now.owner, now.beat) != (found.owner, found.beat):
                return True
        return False

    def _refused(self, holder: Holder) -> InputError:
        return InputError(
            f"process {holder.pid} on {_short(holder.host)} is working on this run",
            where=self.url.removesuffix("/ledger"),
            mend="wait until it ends, or end it",
        )

    def _beats(self) -> None:
        while not self._stop.wait(self.beat_seconds):
            # A store that fails for a moment costs a beat; the others watch for several.
            with suppress(StorageError):
                if max(terms(self.url), default=0) > self._number:
                    return
                self._beat += 1
                write_json(self._path(self._number), asdict(replace(self._holder, beat=self._beat)))


def started_at(process: psutil.Process) -> float:
    """When a process was started, in seconds, whatever is done to the clock meanwhile.

    Linux knows it as a time since the machine's own start, to which psutil adds where the clock puts that start now.
    """
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0.0)


def terms(url: str) -> list[int]:
    """Numbers of the holders of which the ledger at `url` has a file."""
    names = list_names(join(url, FOLDER))
    return [int(match[1]) for name in names if (match := _TERM.fullmatch(name))]


def newest(url: str) -> tuple[int, Holder | None]:
    """Return the highest number of a holder, 0 when there was none yet, and who that is.

    A file that cannot be read names nobody: only a process that died while it took the lease leaves one.
    """
    number = max(terms(url), default=0)
    return number, read_holder(join(url, FOLDER, f"{number:08d}.json")) if number else None


def read_holder(path: str) -> Holder | None:
    """Read the file of a holder; None when there is none, or none that can be read."""
    try:
        document: Any = read_json(path)
        return Holder(**document)
    except (StorageError, TypeError):
        return None


def _host() -> str:
    """Name this machine since its last start: process numbers mean nothing beyond it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    with suppress(OSError):
        return f"{socket.gethostname()}/{boot.read_text().strip()}"
    return socket.gethostname()


def _short(host: str) -> str:
    return host.partition("/")[0]
