"""Any fsspec URL: list, read, write whole files, create one once, remove."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from headrace.data.localfiles import create_local, write_local
from headrace.data.retrying import failures, passes, patiently, refused
from headrace.errors import InputError, MissingExtraError, StorageError, UnansweredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

UNNAMED = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "ClientAuthenticationError",
}
"""Errors of the libraries that reach stores which say that no credentials were found, or not all."""

EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}
"""Protocol to the extra of headrace that serves it."""

CREATES_ONCE = {"file", "local", "memory", *EXTRAS}
"""Protocols of which `create` has exactly one winner; elsewhere it looks and then writes."""


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path inside it.

    Parameters
    ----------
    url : str
        A local path or any URL that fsspec knows.

    Returns
    -------
    tuple of (fsspec.AbstractFileSystem, str)
        Local paths come back absolute.

    Raises
    ------
    InputError
        The protocol is not known.
    MissingExtraError
        The package that serves the protocol is not installed.
    """
    text = os.fspath(url)
    try:
        filesystem, path = fsspec.core.url_to_fs(text)
    except ImportError as error:
        extra = EXTRAS.get(fsspec.core.split_protocol(text)[0])
        mend = f"pip install 'headrace[{extra}]'" if extra else "install it"
        raise MissingExtraError(str(error), where=text, mend=mend) from error
    except failures() as error:
        raise storage_error(error, text) from error
    except ValueError as error:
        raise InputError(str(error), where=text, mend="give a path or a URL that fsspec knows") from error
    return filesystem, str(path)


def is_local(filesystem: Any) -> bool:
    """Whether files of this file system are files of this machine."""
    return isinstance(filesystem, LocalFileSystem)


def make_parent(filesystem: Any, path: str) -> None:
    """Make the directory above a file; object stores have none, and would be asked for their bucket with every file."""
    own = filesystem.protocol
    if EXTRAS.keys().isdisjoint([own] if isinstance(own, str) else own):
        filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)


def storage_error(error: Exception, url: str) -> StorageError:
    """Tell an error of the operating system or of a store in one line, with its mend."""
    number = error.errno if isinstance(error, OSError) else None
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    if number in DISK_FULL or "No space left" in str(error):
        return StorageError("the disk is full", where=url, mend="free space or write to another place")
    if isinstance(error, FileNotFoundError):
        return StorageError("does not exist", where=url)
    if "RequestTimeTooSkewed" in f"{error} {error.__cause__}":
        mend = "set the clock of this machine"
        return StorageError("the store refuses the time of this machine", where=url, mend=mend)
    if isinstance(error, PermissionError):
        return StorageError(
            "permission denied", where=url, mend="check the rights of this user or the credentials"
        )
    if type(error).__name__ in UNNAMED:
        mend = (
            "set them in the environment or in the profile of the store; headrace doctor tells what it finds"
        )
        return StorageError(f"no credentials ({text})", where=url, mend=mend)
    if isinstance(error, IsADirectoryError):
        return StorageError("is a directory, not a file", where=url)
    if isinstance(error, NotADirectoryError | FileExistsError):
        return StorageError("a file is in the way", where=url, mend="name another place")
    if passes(error):
        mend = "run headrace doctor on it; a run that this stopped goes on with --resume"
        return UnansweredError(f"the store does not answer ({text})", where=url, mend=mend)
    return StorageError(text, where=url)


@contextlib.contextmanager
def errors_of(url: str) -> Iterator[None]:
    """Raise what a file system raises in here as `StorageError`."""
    try:
        yield
    except failures() as error:
        raise storage_error(error, url) from error


def ask(url: str, filesystem: Any, action: Callable[[], T]) -> T:
    """Have a file system do what may be done twice; a store that fails for a moment is asked again.

    Raises
    ------
    StorageError
        It fails for good, or for too long.
    """
    with errors_of(url):
        return action() if is_local(filesystem) else patiently(action)


def join(url: str, *names: str) -> str:
    """Append names to a URL with single slashes.

    Examples
    --------
    >>> join("memory://runs/", "1", "run.json")
    'memory://runs/1/run.json'
    >>> join("memory://", "a")
    'memory://a'
    """
    base = url if url.endswith("://") else url.rstrip("/") + "/"
    return base + "/".join(name.strip("/") for name in names)


def exists(url: str) -> bool:
    """Whether a file or directory is at `url` now, whatever was listed before."""
    filesystem, path = open_filesystem(url)

    def look() -> bool:
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path))

    return ask(url, filesystem, look)


def read_bytes(url: str) -> bytes:
    """Read a whole file.

    Raises
    ------
    StorageError
        It is missing or cannot be read.
    """
    filesystem, path = open_filesystem(url)
    return ask(url, filesystem, lambda: bytes(filesystem.cat_file(path)))


def read_json(url: str) -> Any:
    """Read a JSON document.

    Raises
    ------
    StorageError
        It is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_bytes(url))
    except ValueError as error:
        raise StorageError(f"is not JSON ({error})", where=url, mend="restore or delete the file") from error


def write_bytes(url: str, data: bytes) -> None:
    """Write a whole file: readers see the old content or all of the new, never a part.

    A local file is written aside, synced and moved into place; a store publishes at the end. Parents are made.

    Raises
    ------
    StorageError
        It cannot be written; nothing half-written stays.
    """
    write_pieces(url, [data])


def write_pieces(url: str, pieces: Iterable[bytes]) -> None:
    """Write a whole file as `write_bytes` does; locally no more than one of its pieces is in memory at a time."""
    filesystem, path = open_filesystem(url)
    if is_local(filesystem):
        with errors_of(url):
            write_local(Path(path), pieces)
        return
    whole = b"".join(pieces)

    def write() -> None:
        make_parent(filesystem, path)
        filesystem.pipe_file(path, whole)

    ask(url, filesystem, write)


def create(url: str, data: bytes) -> bool:
    """Write a whole file unless one is there: of all who try at once, one wins.

    A local file is written aside and linked into place; S3, Google and Azure stores are asked to create and not to
    replace. A store that can do neither is looked at first, so that two within an instant may both win there:
    `creates_once` tells it, and who needs the lock looks again.

    Parameters
    ----------
    url : str
        Where the file shall be.
    data : bytes
        Its content.

    Returns
    -------
    bool
        Whether it was written: False when a file is there. On a store who finds its own bytes there has written them,
        so that a lock holds what tells its holder from others.

    Raises
    ------
    StorageError
        It cannot be written; nothing half-written stays.
    """
    filesystem, path = open_filesystem(url)

    def attempt() -> bool:
        if is_local(filesystem):
            return create_local(Path(path), data)
        make_parent(filesystem, path)
        try:
            filesystem.pipe_file(path, data, mode="create")
        except OSError as error:
            if refused(error):
                return False
            raise
        return True

    # A request that is repeated because its answer was lost is refused by what it has written itself.
    if ask(url, filesystem, attempt):
        return True
    with contextlib.suppress(StorageError):  # it may have been removed meanwhile
        return not is_local(filesystem) and read_bytes(url) == data
    return False


def creates_once(url: str) -> bool:
    """Whether `create` has exactly one winner there."""
    return fsspec.core.split_protocol(url)[0] in {None, *CREATES_ONCE}


def write_json(url: str, document: Any) -> None:
    """Write a JSON document (finite numbers only) as `write_bytes` does."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(url, (text + "\n").encode())


def list_names(url: str) -> list[str]:
    """Names of the direct children of a directory, sorted; none when it does not exist."""
    filesystem, path = open_filesystem(url)
    own = path.rstrip("/")

    def look() -> list[Any]:
        filesystem.invalidate_cache()  # others write there too
        try:
            return list(filesystem.ls(path, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    children = ask(url, filesystem, look)
    paths = (str(child).rstrip("/") for child in children)
    return sorted({PurePosixPath(child).name for child in paths if child.strip("/") != own.strip("/")})


def remove_file(url: str) -> None:
    """Remove a file by one request; nothing happens when it does not exist."""
    filesystem, path = open_filesystem(url)

    def remove() -> None:
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(path)

    ask(url, filesystem, remove)


def remove_tree(url: str) -> None:
    """Remove a file or a directory with all that it holds; nothing happens when it does not exist."""
    filesystem, path = open_filesystem(url)

    def remove() -> None:
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)

    ask(url, filesystem, remove)
