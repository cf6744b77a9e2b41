"""Directories that are filled aside and appear in one step."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from headrace.data.localfiles import make_durable, make_tree_durable
from headrace.data.retrying import failures, patiently
from headrace.data.storage import (
    ask,
    create,
    errors_of,
    is_local,
    join,
    list_names,
    make_parent,
    open_filesystem,
    remove_file,
)
from headrace.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST_UPLOADED = "manifest.json"
"""On an object store a directory exists for readers once this file does."""

CLAIM = ".claim"
"""On an object store, who makes a directory holds it by creating this file in it first."""


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
    with errors_of(url):
        parent = Path(path).parent if local else Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        directory = parent / f".{PurePosixPath(path).name}.tmp-{secrets.token_hex(4)}"
        directory.mkdir()
    try:
        with errors_of(url):
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
    if not ask(url, filesystem, lambda: bool(filesystem.exists(path))):
        return
    if ask(url, filesystem, lambda: bool(filesystem.isfile(path))) or list_names(url):
        raise StorageError("exists already and is not empty", where=url, mend="name a new place")


def _upload(filesystem: Any, directory: Path, path: str, url: str) -> None:
    files = [file for file in directory.rglob("*") if file.is_file()]
    files.sort(key=lambda file: (file.name == LAST_UPLOADED, file.as_posix()))
    sent: list[str] = []
    with _claimed(url):
        try:
            for file in files:
                target = f"{path.rstrip('/')}/{file.relative_to(directory).as_posix()}"
                make_parent(filesystem, target)
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
            remove_file(claim)
