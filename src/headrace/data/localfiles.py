"""Files of this machine, written whole: aside, synced, and moved or linked into place."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
"""What a file system answers that knows no hard links."""


def write_local(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a whole file: readers see the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            _write_through(file, pieces)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    make_durable(path.parent)


def create_local(path: Path, data: bytes) -> bool:
    """Write a whole file unless one is there; tell whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            _write_through(file, [data])
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return _create_unlinked(path, data)
    finally:
        temporary.unlink(missing_ok=True)
    make_durable(path.parent)
    return True


def _create_unlinked(path: Path, data: bytes) -> bool:
    """Create a file where names cannot be linked: one winner all the same, and a crash may leave it torn."""
    try:
        with path.open("xb") as file:
            _write_through(file, [data])
    except FileExistsError:
        return False
    make_durable(path.parent)
    return True


def _write_through(file: BinaryIO, pieces: Iterable[bytes]) -> None:
    """Write to the disk itself."""
    file.writelines(pieces)
    file.flush()
    os.fsync(file.fileno())


def make_durable(path: Path) -> None:
    """Make a file or the names in a directory outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_tree_durable(directory: Path) -> None:
    """Make a directory with all that it holds outlive a power cut."""
    for folder, _, names in os.walk(directory):
        for name in names:
            make_durable(Path(folder, name))
        make_durable(Path(folder))
