"""What a place on storage allows: credentials, list, write, create once, read, clock, speed, delete; and what to mend."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import fsspec

from headrace.data.retrying import failures, passes, refused
from headrace.data.storage import creates_once, is_local, open_filesystem, storage_error
from headrace.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

RACERS = 8
PIECE, PIECES = 1 << 20, 8
"""Bytes of a request and requests of the measure of speed."""

SKEW = 60.0
"""Seconds of difference from the clock of the store that are told; S3 refuses requests at 900."""

VARIABLES = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"),
    "abfs": (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_CLIENT_ID",
    ),
}
"""Variables of the environment by which credentials are given, by the first protocol of a store."""

SAME = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}
READ_ONLY = {"http", "https"}

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one question has found."""

    name: str
    status: Status
    what: str
    """In a line."""
    mend: str = ""
    """Of what failed."""
    seconds: float = 0.0


def examine(url: str) -> list[Finding]:
    """Ask a place everything that headrace needs of it; what was written there is removed.

    Nothing is asked twice: who looks for a fault wants to see it.

    Parameters
    ----------
    url : str
        A folder, or a file of one, on any fsspec URL. It need not exist.

    Returns
    -------
    list of Finding
        In the order of the questions. One that needs another which failed is skipped.

    Raises
    ------
    InputError
        The protocol is not known, or its package is not installed.
    """
    filesystem, path = open_filesystem(url)
    protocol = fsspec.core.split_protocol(url)[0] or "file"
    here = _Place(url, filesystem, path.rstrip("/"), protocol)
    found = [_answer("credentials", url, here.credentials), _answer("list", url, here.list)]
    if protocol in READ_ONLY:
        if found[-1].status == "failed":
            return [*found, Finding("read", "skipped", "nothing was found")]
        return [*found, _answer("read", url, here.read_range)]
    here.choose_folder()
    for name in ("write", "read", "create", "clock", "speed", "delete"):
        if name != "write" and not any(each.name == "write" and each.status == "passed" for each in found):
            found.append(Finding(name, "skipped", "nothing could be written"))
        else:
            found.append(_answer(name, url, getattr(here, name)))
    return found


def _answer(name: str, url: str, question: Callable[[], str]) -> Finding:
    started = time.perf_counter()

    def finding(status: Status, what: str, mend: str = "") -> Finding:
        return Finding(name, status, what, mend, round(time.perf_counter() - started, 3))

    try:
        return finding("passed", question())
    except StorageError as error:
        return finding("failed", error.what, error.mend)
    except PermissionError as error:
        mend = f"grant these credentials the right to {name}, or give others"
        return finding("failed", f"permission denied ({error})", mend)
    except failures() as error:
        told = storage_error(error, url)
        unreached = "check the address, the network and whether the store is up"
        return finding("failed", told.what, unreached if passes(error) else told.mend)


class _Place:
    def __init__(self, url: str, filesystem: Any, path: str, protocol: str) -> None:
        self.url, self.filesystem, self.path, self.protocol = url, filesystem, path, protocol
        self.folder = path
        self.content = secrets.token_bytes(256)

    def choose_folder(self) -> None:
        """Name a folder of its own, beside a file or in a folder."""
        with contextlib.suppress(*failures()):
            if self.filesystem.isfile(self.path):
                self.folder = self.path.rpartition("/")[0]
        self.folder = f"{self.folder}/.headrace-doctor-{secrets.token_hex(4)}"

    def credentials(self) -> str:
        """Say which source of credentials counts, and never their values."""
        if is_local(self.filesystem):
            return f"files of this machine, as {getpass.getuser()}"
        if self.protocol in READ_ONLY:
            return "none are sent"
        kind = SAME.get(self.protocol, self.protocol)
        if fsspec.config.conf.get(self.protocol) or fsspec.config.conf.get(kind):
            return f"options for {self.protocol} in the configuration of fsspec (values not shown)"
        if kind == "s3":
            import botocore.session  # type: ignore[import-untyped] # it ships no types

            found = botocore.session.Session().get_credentials()
            if found is not None:
                return f"found by {found.method}{self._set(kind)}"
        elif self._set(kind):
            return f"found{self._set(kind)}"
        elif kind == "gs":
            import google.auth

            return f"application default credentials ({type(google.auth.default()[0]).__name__})"
        if kind not in VARIABLES:
            return "as the file system finds them"
        mend = f"set one of {', '.join(VARIABLES[kind])}, or log in with the tool of the store"
        raise StorageError("none were found; only public data can be read", mend=mend)

    def _set(self, kind: str) -> str:
        names = [name for name in VARIABLES.get(kind, ()) if os.environ.get(name)]
        return f", set: {', '.join(names)}" if names else ""

    def list(self) -> str:
        """List the folder."""
        self.filesystem.invalidate_cache()
        try:
            return f"{len(self.filesystem.ls(self.path, detail=False))} entries"
        except FileNotFoundError:
            if self.protocol in READ_ONLY:
                raise
            return "nothing is there yet"

    def write(self) -> str:
        """Write a small object."""
        self.filesystem.makedirs(self.folder, exist_ok=True)
        self.filesystem.pipe_file(f"{self.folder}/small", self.content)
        return f"{len(self.content)} bytes"

    def read(self) -> str:
        """Read it back."""
        if self.filesystem.cat_file(f"{self.folder}/small") != self.content:
            mend = "look for a cache or a proxy between here and the store"
            raise StorageError("other bytes came back than were written", mend=mend)
        return "the same bytes"

    def read_range(self) -> str:
        """Read the first bytes of a file, where a whole file may be gigabytes."""
        if not self.filesystem.isfile(self.path):
            return "not a file: nothing was read"
        if len(self.filesystem.cat_file(self.path, start=0, end=4)) != 4:
            mend = "copy the data to a server that knows the Range header, or to a disk"
            raise StorageError("the server does not give ranges of a file", mend=mend)
        if not self.filesystem.info(self.path).get("ETag"):
            return "ranges of a file; the server sends no ETag, so a file that changes may go unseen"
        return "ranges of a file"

    def create(self) -> str:
        """Let several create one object at once: one must win."""
        if not creates_once(self.url):
            raise StorageError(
                "of two who create a file at once both may believe to have done so",
                mend="start no two processes on one run or registry there",
            )

        def attempt(number: int) -> bool:
            try:
                return self._create(b"%d" % number)
            except failures() as error:
                if refused(error):
                    return False
                raise

        with ThreadPoolExecutor(RACERS) as pool:
            won = sum(pool.map(attempt, range(RACERS)))
        if won != 1:
            raise StorageError(
                f"of {RACERS} who created one object at once {won} succeeded, not one",
                mend="use a store that honours If-None-Match, or start no two processes on one run or registry there",
            )
        return f"of {RACERS} at once one won, and a second one is refused"

    def _create(self, content: bytes) -> bool:
        target = f"{self.folder}/once"
        if is_local(self.filesystem):
            with open(target, "xb") as file:  # noqa: PTH123 the file system gives a plain path
                file.write(content)
        else:
            self.filesystem.pipe_file(target, content, mode="create")
        return True

    def clock(self) -> str:
        """Compare the time of this machine with that of the store."""
        before = datetime.now(UTC)
        self.filesystem.pipe_file(f"{self.folder}/time", b"1")
        self.filesystem.invalidate_cache()
        at = self.filesystem.modified(f"{self.folder}/time")
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        late = (before - at).total_seconds()
        if abs(late) > SKEW:
            word = "ahead of" if late > 0 else "behind"
            raise StorageError(
                f"this machine is {abs(late):.0f} s {word} the store",
                mend="set the clock of this machine (NTP)",
            )
        return f"within {max(1, round(abs(late)))} s of the store"

    def speed(self) -> str:
        """Write and read a few megabytes."""
        target, whole = f"{self.folder}/large", secrets.token_bytes(PIECE) * PIECES
        started = time.perf_counter()
        self.filesystem.pipe_file(target, whole)
        written = time.perf_counter()
        starts = [number * PIECE for number in range(PIECES)]
        ends = [start + PIECE for start in starts]
        parts = self.filesystem.cat_ranges([target] * PIECES, starts, ends, on_error="raise")
        read = time.perf_counter()
        if b"".join(parts) != whole:
            raise StorageError("other bytes came back than were written", mend="look for a cache or a proxy")
        rate = partial("{:.0f}".format)
        megabytes = len(whole) / 1e6
        return f"writes {rate(megabytes / (written - started))} MB/s, reads {rate(megabytes / (read - written))} MB/s"

    def delete(self) -> str:
        """Remove all that was written."""
        self.filesystem.rm(self.folder, recursive=True)
        self.filesystem.invalidate_cache()
        if self.filesystem.exists(f"{self.folder}/small"):
            mend = f"remove {self.folder}; grant the right to delete"
            raise StorageError("what was deleted is still there", mend=mend)
        return "nothing is left"
