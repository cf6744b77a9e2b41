"""The audit log: who did what to which model and data, one small file a record, each holding the hash of the one before."""

from __future__ import annotations

import datetime as dt
import getpass
import hashlib
import json
import os
import platform
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.data import storage
from headrace.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE, USER, HOST = "HEADRACE_AUDIT", "HEADRACE_AUDIT_USER", "HEADRACE_AUDIT_HOST"
"""Variables: where the log is; who acts, when that is not the user of the system; whether the host is written down."""

_RECORD = re.compile(r"(\d{8})\.json")
_PARTS = {"number": int, "at": str, "who": dict, "action": str, "subject": str, "detail": dict, "sha256": str}
"""What a record holds at least."""
_ATTEMPTS = 1000


@dataclass(frozen=True)
class Broken:
    """The first record that does not fit the others."""

    number: int
    what: str


class _EditedError(StorageError):
    """A record was read, and is none."""


def record(action: str, subject: str, **detail: Any) -> None:
    """Write down what was done, if the variable ``HEADRACE_AUDIT`` says where.

    Parameters
    ----------
    action : str
        Such as ``trained`` or ``promoted``.
    subject : str
        The model, run or data.
    detail : JSON values
        What else is worth knowing; no values of the data.

    Raises
    ------
    StorageError
        The log cannot be written: what was done is done, and is not in the log.
    """
    place = os.environ.get(PLACE)
    if place:
        append(place, action, subject, **detail)


def append(url: str, action: str, subject: str, **detail: Any) -> int:
    """Append a record, of which one of all who write at once gets each number.

    Returns
    -------
    int
        Its number, from 1.

    Raises
    ------
    StorageError
        The log cannot be written, or its last record cannot be read.
    """
    if not storage.creates_once(url):
        raise StorageError(
            "two writers may get one number there", where=url, mend="keep the log on a disk, S3, GCS or Azure"
        )
    who = {"user": os.environ.get(USER) or _user()}
    if os.environ.get(HOST) == "1":
        who["host"] = platform.node()
    writer = secrets.token_hex(8)  # two who write the same at one moment must not both take it for theirs
    for _ in range(_ATTEMPTS):
        last = max(_numbers(url), default=0)
        document = {
            "number": last + 1,
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "who": who,
            "action": action,
            "subject": subject,
            "detail": detail,
            "before": _read(url, last)["sha256"] if last else "",
            "writer": writer,
        }
        if storage.create(_place(url, last + 1), _line({**document, "sha256": _hash(document)})):
            return last + 1
    raise StorageError("too many writers at once", where=url, mend="try again")


def read_records(url: str) -> Iterator[dict[str, Any]]:
    """Read all records, the oldest first, one at a time.

    Raises
    ------
    InputError
        There is no log.
    StorageError
        A record cannot be read, or is none.
    """
    numbers = _numbers(url)
    if not numbers:
        raise InputError("holds no audit log", where=url, mend=f"set {PLACE} to where records shall go")
    for number in numbers:
        yield _read(url, number)


def verify(url: str, head: str | None = None) -> tuple[int, str, Broken | None]:
    """Follow the chain from the first record to the last.

    A record is edited when it does not have its own hash, exchanged when the next was not written after it, and deleted
    when its number is missing. Whoever can write there can also write the whole log anew from some record on, or take
    the last ones away: both show against a `head` that was kept elsewhere.

    Parameters
    ----------
    url : str
        The log.
    head : str, optional
        SHA-256 of a record that the log must hold.

    Returns
    -------
    records : int
        How many there are.
    head : str
        SHA-256 of the last, to be kept elsewhere.
    broken : Broken or None
        The first break.

    Raises
    ------
    InputError
        There is no log.
    StorageError
        A record cannot be read, which tells nothing of the chain.
    """
    numbers = _numbers(url)
    if not numbers:
        raise InputError("holds no audit log", where=url, mend=f"set {PLACE} to where records shall go")
    before, seen = "", head is None
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            return len(numbers), before, Broken(expected, "is missing: it was deleted")
        try:
            held = _read(url, number)
        except _EditedError as error:
            return len(numbers), before, Broken(number, error.what)
        own = held.pop("sha256", "")
        if own != _hash(held) or held.get("number") != number:
            return len(numbers), before, Broken(number, "is not what was written: it was edited or moved")
        if held.get("before") != before:
            return len(numbers), before, Broken(number, "was not written after the record before it")
        before = own
        seen = seen or own == head
    if not seen:
        return len(numbers), before, Broken(len(numbers), "is the last, and none has the hash that was given")
    return len(numbers), before, None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run under a number that has no name
        return str(os.getuid())


def _place(url: str, number: int) -> str:
    return storage.join(url, f"{number:08d}.json")


def _numbers(url: str) -> list[int]:
    found = (_RECORD.fullmatch(name) for name in storage.list_names(url))
    return sorted(int(match[1]) for match in found if match)


def _read(url: str, number: int) -> dict[str, Any]:
    where = _place(url, number)
    content = storage.read_bytes(where)
    try:
        document = json.loads(content)
        _line(document)  # what cannot be written so was not, such as NaN
    except (ValueError, RecursionError) as error:
        raise _EditedError("is no record: it was edited", where=where) from error
    known = document if isinstance(document, dict) else {}
    wrong = [part for part, kind in _PARTS.items() if not isinstance(known.get(part), kind)]
    if wrong:
        raise _EditedError(f"is no record, without {', '.join(wrong)}: it was edited", where=where)
    return known


def _line(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _hash(document: dict[str, Any]) -> str:
    return hashlib.sha256(_line(document)).hexdigest()
