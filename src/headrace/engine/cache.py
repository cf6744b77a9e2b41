"""Arrays kept on a machine's disk by the hash of what they were made from: bounded, least recently used goes first."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ENDING = ".npz"


@dataclass(frozen=True)
class ArrayCache:
    """A folder of named arrays that any process of the machine may share.

    Entries are written aside and moved, so that a reader finds a whole entry or none; zip checksums are checked when
    they are read, and a damaged entry counts as missing. Failing to write is no error: what is not kept is made again.

    Attributes
    ----------
    directory : str
        Made when it is first written to.
    limit : int
        Bytes that all entries together may take.
    """

    directory: str
    limit: int

    @property
    def _folder(self) -> Path:
        return Path(self.directory).expanduser()  # on the machine that uses it

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of an entry, or None when it is not there."""
        path = self._path(key)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                arrays = {name: held[name] for name in held.files}
            os.utime(path)
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
            return None
        return arrays

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep an entry, unless it alone would fill the cache or the disk is full."""
        size = sum(array.nbytes for array in arrays.values())
        if size > self.limit // 2:
            return
        folder = self._folder
        aside = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as file:
                aside = Path(file.name)
                np.savez(file, **arrays)  # type: ignore[arg-type] # its stub takes allow_pickle for an array
            aside.replace(self._path(key))
        except OSError:
            if aside is not None:
                with suppress(OSError):
                    aside.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}{ENDING}"

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest until `size` more bytes fit."""
        entries = []
        for path in self._folder.iterdir():
            with suppress(OSError):  # another process removed it
                seen = path.stat()
                entries.append((seen.st_mtime_ns, seen.st_size, path))
        total = sum(held for _, held, _ in entries)
        for _, held, path in sorted(entries):
            if total + size <= self.limit:
                return
            with suppress(OSError):
                path.unlink()
            total -= held
