"""API keys: their hashes in a file or the environment, compared in constant time, each with its scopes."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "HEADRACE_KEYS"
SCOPES = ("predict", "feedback", "admin")
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,60})\s+(?P<scopes>[a-z,]+)\s+(?P<hash>[0-9a-f]{64})")
_MEND = "write lines of: NAME predict,feedback,admin SHA256; headrace serve-key makes them"


@dataclass(frozen=True)
class Key:
    """Who may do what; the key itself is not held."""

    name: str
    scopes: frozenset[str]
    """Of ``predict``, ``feedback`` and ``admin``, which holds the others."""
    digest: bytes

    def may(self, scope: str) -> bool:
        """Tell whether the key opens what `scope` names."""
        return scope in self.scopes or "admin" in self.scopes


class Keys:
    """All keys of a server.

    Parameters
    ----------
    keys : sequence of Key
        At least one.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, text: str) -> Key | None:
        """Find the key that `text` is.

        Keys are 256 random bits, so that one round of SHA-256 keeps them; each is compared, and in constant time.
        """
        digest = _digest(text)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def read_keys(path: str | None) -> Keys | None:
    """Read the keys of a file, or those of the variable ``HEADRACE_KEYS`` (lines, or parts between semicolons).

    Returns
    -------
    Keys or None
        None when there is neither a file nor the variable.

    Raises
    ------
    InputError
        When the file cannot be read, or a line is no key.
    """
    if path is not None:
        try:
            text, where = Path(path).read_text(encoding="utf-8"), path
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", where=path, mend=_MEND) from error
    elif os.environ.get(VARIABLE):
        text, where = os.environ[VARIABLE].replace(";", "\n"), VARIABLE
    else:
        return None
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        scopes = frozenset(match["scopes"].split(",")) if match else frozenset()
        if match is None or not scopes <= set(SCOPES):
            # The line itself is not shown: it may be a key that was written where its hash belongs.
            raise InputError("is no key", where=f"{where}: line {number}", mend=_MEND)
        keys.append(Key(match["name"], scopes, bytes.fromhex(match["hash"])))
    if not keys:
        raise InputError("holds no key", where=where, mend=_MEND)
    return Keys(keys)


def new_key(path: str, name: str, scopes: Sequence[str]) -> str:
    """Make a key and add its hash to a file that only its owner can read.

    Returns
    -------
    str
        The key, which is kept nowhere.

    Raises
    ------
    InputError
        When the name or a scope cannot be used, or the file cannot be written.
    """
    key = secrets.token_urlsafe(32)
    line = f"{name} {','.join(scopes)} {_digest(key).hex()}"
    if not _LINE.fullmatch(line) or not set(scopes) <= set(SCOPES):
        raise InputError(
            f"{name!r} with {', '.join(scopes)!r} cannot be a key",
            mend=f"use a plain name and scopes of {', '.join(SCOPES)}",
        )
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b") as file:
            file.seek(0)
            ended = file.read()[-1:] in {b"", b"\n"}  # an editor may leave the last line without an end
            file.write((b"" if ended else b"\n") + f"{line}\n".encode())
    except OSError as error:
        raise InputError(f"cannot be written: {error}", where=path) from error
    return key


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
