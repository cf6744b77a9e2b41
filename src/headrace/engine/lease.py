"""One process a run: a lease on storage with a beat, refused while its holder lives, taken over when it is dead."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from headrace.data.storage import join, read_json, remove_tree, write_json
from headrace.errors import InputError, RunError, StorageError

BEAT_SECONDS = 2.0
BEATS_WATCHED = 3
"""Beats of silence after which the holder on another machine counts as dead."""

SETTLE_SECONDS = 0.3
"""Who takes a lease over looks again after this long, in case two did so at once: the later writer has it."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as it stands in the file."""

    owner: str
    """Drawn anew by every process."""
    host: str
    """Name of the machine, and of its start where the system tells."""
    pid: int
    started: float
    """Start of the process: a number that is given to another process later does not match."""
    beat: int = 0

    @classmethod
    def this_process(cls) -> Self:
        """Name this process."""
        return cls(secrets.token_hex(8), _host(), os.getpid(), psutil.Process().create_time())

    def lives_here(self) -> bool:
        """Whether the process, known to be of this machine, still runs."""
        try:
            process = psutil.Process(self.pid)
            return (
                process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.started) < 0.05
            )
        except psutil.NoSuchProcess:
            return False


class Lease:
    """Holds a run for this process until closed, and beats meanwhile.

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
        self._path = join(url, "lease.json")
        self._holder = Holder.this_process()
        self._beat = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beats, name="headrace-lease", daemon=True)
        found = read_holder(self._path)
        if found is not None and self._lives(found):
            raise self._refused(found)
        self._write()
        if found is not None:
            time.sleep(min(SETTLE_SECONDS, self.beat_seconds))
            now = read_holder(self._path)
            if now is not None and now.owner != self._holder.owner:
                raise self._refused(now)
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
        now = read_holder(self._path)
        if now is not None and now.owner != self._holder.owner:
            raise RunError(f"process {now.pid} on {_short(now.host)} has taken this run over", where=self.url)

    def close(self) -> None:
        """Stop beating and give the run free."""
        self._stop.set()
        self._thread.join(timeout=10)
        with suppress(StorageError):
            now = read_holder(self._path)
            if now is not None and now.owner == self._holder.owner:
                remove_tree(self._path)

    def _lives(self, found: Holder) -> bool:
        if found.host == self._holder.host:
            return found.lives_here()
        end = time.monotonic() + BEATS_WATCHED * self.beat_seconds
        while time.monotonic() < end:
            time.sleep(self.beat_seconds / 2)
            now = read_holder(self._path)
            if now is None:
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

    def _write(self) -> None:
        write_json(self._path, {**asdict(self._holder), "beat": self._beat})

    def _beats(self) -> None:
        while not self._stop.wait(self.beat_seconds):
            # A store that fails for a moment costs a beat; the others watch for several.
            with suppress(StorageError):
                now = read_holder(self._path)
                if now is not None and now.owner != self._holder.owner:
                    return
                self._beat += 1
                self._write()


def read_holder(path: str) -> Holder | None:
    """Read a lease; None when there is none, or none that can be read."""
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
