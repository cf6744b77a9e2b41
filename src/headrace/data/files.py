"""Which files a URL means, with the values that hive directories give them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from fsspec.core import has_magic

from headrace.data.footers import Listed, listed
from headrace.data.retrying import FIRST_PATIENCE, failures, patiently
from headrace.data.storage import ask, is_local, read_json, storage_error
from headrace.errors import DataError

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
PUBLISHED = "_ingest/state.json"
"""What `headrace ingest` writes last: the files that are the dataset; others beside them are of a version before or to come."""
GIVE = "give a Parquet file, a directory of them, or a glob such as 'DIR/*.parquet'"


@dataclass(frozen=True)
class Found:
    """A file that belongs to a dataset."""

    listed: Listed
    """As the storage lists it."""
    key: str
    """Path relative to the root of the dataset, separated by ``/``."""
    partition: tuple[tuple[str, str], ...]
    """Column and value of each directory ``column=value`` between the root and the file."""


def find_files(filesystem: Any, path: str, url: str) -> list[Found]:
    """List the files of a dataset in the order of their names, numbers in names counted as numbers.

    Names that begin with ``_`` or ``.`` are ignored, whether of files or of directories; of what an ingest has published,
    the files that it names are taken.

    Raises
    ------
    DataError
        Nothing is there, or not all that an ingest has published.
    """
    try:
        root, details = patiently(partial(_list, filesystem, path), FIRST_PATIENCE)
        published = _published(filesystem, root, details)
    except FileNotFoundError as error:
        raise DataError("does not exist", where=url, mend=GIVE) from error
    except failures() as error:
        raise storage_error(error, url) from error
    found = []
    for name, info in details.items():
        key = name.removeprefix(root).strip("/") or name.rsplit("/", 1)[-1]
        hidden = any(part.startswith(("_", ".")) for part in key.split("/"))
        belongs = not hidden if published is None else key in published
        if name == path or belongs:  # a file that is named is meant
            # The listing of a web server names files alone.
            known = info if info.get("size") is not None else _look(filesystem, name, url)
            found.append(Found(listed(name, known), key, _partition(key)))
    if published is not None and len(found) < len(published):
        raise DataError(
            f"{len(published) - len(found)} of {len(published)} files that were published are not there",
            where=url,
            mend="wait until the ingest that publishes to it has ended, or run it again",
        )
    if not found:
        what = "matches no file" if has_magic(path) else "is an empty directory"
        raise DataError(what, where=url, mend=GIVE)
    return sorted(found, key=lambda each: natural_order(each.key))


def natural_order(name: str) -> list[str | int]:
    """Sort key under which ``part-2`` comes before ``part-10``.

    Examples
    --------
    >>> sorted(["month=10/a", "month=9/b"], key=natural_order)
    ['month=9/b', 'month=10/a']
    """
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def file_url(filesystem: Any, path: str) -> str:
    """Return the address under which any process finds the file: a local path or a full URL."""
    return path if is_local(filesystem) else str(filesystem.unstrip_protocol(path))


def _list(filesystem: Any, path: str) -> tuple[str, dict[str, Any]]:
    """Return the root and the files below it with what the storage tells about each."""
    filesystem.invalidate_cache()  # others write there too
    if has_magic(path) and not filesystem.exists(path):
        root = path[: re.search(r"[*?\[]", path).start()].rpartition("/")[0]  # type: ignore[union-attr] # has_magic: one is there
        details: dict[str, Any] = {}
        for name, info in filesystem.glob(path, detail=True).items():
            details |= {name: info} if info["type"] == "file" else filesystem.find(name, detail=True)
        return root, details
    info = filesystem.info(path)
    if info["type"] == "file" and not path.endswith("/"):  # a web server calls its listings files
        return path.rpartition("/")[0], {path: info}
    return path, filesystem.find(path, detail=True)


def _look(filesystem: Any, name: str, url: str) -> dict[str, Any]:
    return ask(url, filesystem, lambda: dict(filesystem.info(name)))


def _published(filesystem: Any, root: str, details: dict[str, Any]) -> set[str] | None:
    """Read which files an ingest has published; None where none has."""
    state = f"{root.rstrip('/')}/{PUBLISHED}"
    if state not in details:
        return None
    return {name for unit in read_json(file_url(filesystem, state))["units"] for name in unit["files"]}


def _partition(key: str) -> tuple[tuple[str, str], ...]:
    pairs = [folder.split("=", 1) for folder in key.split("/")[:-1] if "=" in folder]
    return tuple((unquote(name), unquote(value)) for name, value in pairs)
