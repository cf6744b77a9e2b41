"""Any fsspec URL: list, read, write aside and publish atomically."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import tempfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from headrace.data.localfiles import create_local, make_durable, make_tree_durable, write_local
from headrace.data.retrying import failures, passes, patiently, refused
from headrace.errors import InputError, MissingExtraError, StorageError, UnansweredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

LAST_UPLOADED = "manifest.json"
"""On an object store a directory exists for readers once this file does."""

CLAIM = ".claim"
"""On an object store, who makes a directory holds it by creating this file in it first."""

CREATES_ONCE = {"file", "local", "memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
"""Protocols of which `create` has exactly one winner; elsewhere it looks and then writes."""

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
def _errors_of(url: str) -> Iterator[None]:
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
    with _errors_of(url):
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
        with _errors_of(url):
            write_local(Path(path), pieces)
        return
    whole = b"".join(pieces)

    def write() -> None:
        filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
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
        filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
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


def remove_tree(url: str) -> None:
    """Remove a file or a directory with all that it holds; nothing happens when it does not exist."""
    filesystem, path = open_filesystem(url)

    def remove() -> None:
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)

    ask(url, filesystem, remove)


@contextlib.contextmanager
def aside(url: str, *, sync: bool = True) -> Iterator[Path]:
    """Fill a fresh local directory whose content appears at `url` in one step when the block ends well.

    Locally the directory is a hidden sibling that is synced and renamed. On a store the place is claimed, then all
    files are uploaded, the file named ``manifest.json`` last. When the block fails nothing remains; of two who make
    the same directory at once, one fails.

    Parameters
    ----------
    url : str
        Where the directory shall appear.
    sync : bool, default True
        Outlive a power cut. Data that can be made again may do without.

    Yields
    ------
    pathlib.Path
        The directory to fill.

    Raises
    ------
    StorageError
        `url` exists and is not empty, or writing failed.
    """
    filesystem, path = open_filesystem(url)
    local = is_local(filesystem)
    _refuse_occupied(filesystem, path, url)
    with _errors_of(url):
        parent = Path(path).parent if local else Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        directory = parent / f".{PurePosixPath(path).name}.tmp-{secrets.token_hex(4)}"
        directory.mkdir()
    try:
        with _errors_of(url):
            yield directory
            if local:
                if sync:
                    make_tree_durable(directory)
                directory.rename(path)
                make_durable(Path(path).parent)
            else:
                _upload(filesystem, directory, path, url)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _refuse_occupied(filesystem: Any, path: str, url: str) -> None:
    with _errors_of(url):
        if not filesystem.exists(path):
            return
        occupied = filesystem.isfile(path)
    if occupied or list_names(url):
        raise StorageError("exists already and is not empty", where=url, mend="name a new place")


def _upload(filesystem: Any, directory: Path, path: str, url: str) -> None:
    files = [file for file in directory.rglob("*") if file.is_file()]
    files.sort(key=lambda file: (file.name == LAST_UPLOADED, file.as_posix()))
    sent: list[str] = []
    with _claimed(url):
        try:
            for file in files:
                target = f"{path.rstrip('/')}/{file.relative_to(directory).as_posix()}"
                filesystem.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
                sent.append(target)
                patiently(partial(filesystem.put_file, str(file), target))
        except BaseException:
            for target in sent:
                with contextlib.suppress(*failures()):
                    filesystem.rm_file(target)
            raise


@contextlib.contextmanager
def _claimed(url: str) -> Iterator[None]:
    """Hold a place on a store while it is filled; refuse one that another holds or has filled."""
    claim = join(url, CLAIM)
    if not create(claim, secrets.token_hex(8).encode()):
        raise StorageError("is being written by another process", where=url, mend="name a new place")
    try:
        if list_names(url) != [CLAIM]:  # another was here between the first look and the claim
            raise StorageError("exists already and is not empty", where=url, mend="name a new place")
        yield
    finally:
        with contextlib.suppress(StorageError):
            remove_tree(claim)
