"""Erasure: the rows of a person found and taken out of a dataset, file by file, and the models named that saw them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.data import audit
from headrace.data.dataset import Dataset
from headrace.data.filters import Membership
from headrace.data.pii import hashed
from headrace.data.reading import last_kept, read_chunk
from headrace.data.rewriting import clear_aside, rewrite
from headrace.data.schemas import is_text, logical_type
from headrace.data.storage import exists, join, read_json, remove_file, write_json
from headrace.errors import DataError, InputError, WorkflowError
from headrace.packaging.package import read_manifest
from headrace.packaging.registry import Registry
from headrace.profiling.remembering import forget

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

JOURNAL = "_erasure.json"
"""Beside the first file while files are rewritten; readers of datasets pass over names that begin so."""


@dataclass(frozen=True)
class Holding:
    """Files that hold rows of some keys."""

    url: str
    column: str
    fingerprint: str
    """Of the dataset as it is."""
    rows: int
    """Rows that are to go."""
    of: int
    """Rows of the dataset."""
    files: dict[str, int]
    """Path of a file to its rows that are to go."""
    looked_at: int
    """Row groups whose key column was read: statistics and hive directories tell about the others."""
    row_groups: int
    """Row groups of the dataset."""


@dataclass(frozen=True)
class Seen:
    """A version of a model that was trained on the dataset before."""

    model: str
    certain: bool
    """Its data had the very fingerprint; else they were at the same URL, in another state or filtered."""
    aliases: tuple[str, ...]


def find(dataset: Dataset, column: str, keys: Sequence[str]) -> Holding:
    """Find the files that hold rows with one of some keys, chunk by chunk.

    Only row groups are read whose statistics, or hive directory, may hold a key; of them only the key column.

    Parameters
    ----------
    dataset : Dataset
        All of it: without a filter, and with columns as they are stored.
    column : str
        The column of keys: text or whole numbers.
    keys : sequence of str
        At least one.

    Raises
    ------
    DataError
        There is no such column.
    InputError
        The column holds neither text nor whole numbers, or a key is no whole number.
    """
    dataset.check_columns([column])
    values = _typed(keys, dataset.schema.field(column).type, column)
    files: dict[str, int] = {}
    looked_at = 0
    try:
        chunks = dataset.where(Membership(column, values)).chunks
    except WorkflowError:  # which says that no row group may hold one
        chunks = ()
    for chunk in chunks:
        looked_at += sum(len(piece.row_groups) for piece in chunk.pieces)
        read_chunk(chunk, dataset.schema, [column], dictionary=True)
        kept = last_kept()
        start = 0
        for piece in chunk.pieces:
            count = (
                0
                if kept is None
                else int(np.searchsorted(kept, start + piece.rows) - np.searchsorted(kept, start))
            )
            start += piece.rows
            if count:
                files[piece.path] = files.get(piece.path, 0) + count
    groups = sum(len(file.row_groups) for file in dataset.files)
    return Holding(
        dataset.url, column, dataset.fingerprint, sum(files.values()), dataset.rows, files, looked_at, groups
    )


def erase(
    dataset: Dataset,
    column: str,
    keys: Sequence[str],
    registry: str | None = None,
    remembered: str | None = None,
) -> dict[str, Any]:
    """Take the rows of some keys out of a dataset.

    Each file is written anew aside and then put in the place of the old one, so that readers see one or the other, a
    batch of rows in memory at a time. Ended before its time it is simply called again: files that were done hold
    nothing any more, and a journal beside the first file remembers the dataset as it was. At the end is looked again
    whether any such row is left.

    Parameters
    ----------
    dataset, column, keys
        As of `find`.
    registry : str, optional
        Folder or URL of a registry, of which the versions are named that saw the dataset.
    remembered : str, optional
        ``data.remembered`` of workflows: what is kept there of chunks with rows that go is removed.

    Returns
    -------
    dict
        ``rows``, ``files``, ``fingerprint_before``, ``fingerprint``, ``models``.

    Raises
    ------
    DataError
        A file changed meanwhile, or rows came back.
    InputError
        An erasure of other keys was ended before its time.
    StorageError
        A file cannot be written; the old one stays.
    """
    holding = find(dataset, column, keys)
    values = _typed(keys, dataset.schema.field(column).type, column)
    journal = join(_folder(dataset), JOURNAL)
    begun = _begin(journal, holding, keys, [file.path for file in dataset.files])
    by_path = {file.path: file for file in dataset.files}
    for path, rows in holding.files.items():
        # Written before the file changes: what was begun is known whenever it ends.
        begun["files"][by_path[path].key] = rows
        write_json(journal, begun)
        rewrite(path, column, values, rows, whole=column in dict(by_path[path].partition))
    if remembered is not None:
        forget(remembered, [file.path for file in dataset.files if file.key in begun["files"]])
    left = Dataset(dataset.url, memory=dataset.memory)
    again = find(left, column, keys).rows
    if again:
        raise DataError(
            f"{again} rows of these keys came back while they were erased", where=dataset.url,
            mend="let nothing else write the data, and erase again",
        )  # fmt: skip
    models = seen_by(registry, dataset.url, begun["fingerprint"], left.fingerprint) if registry else []
    audit.record(
        "erased", dataset.url, column=column, keys=len(keys), rows=sum(begun["files"].values()), files=len(begun["files"]),
        before=begun["fingerprint"], after=left.fingerprint,
    )  # fmt: skip
    remove_file(journal)
    return {
        "rows": sum(begun["files"].values()),
        "files": sorted(begun["files"]),
        "fingerprint_before": begun["fingerprint"],
        "fingerprint": left.fingerprint,
        "models": [vars(each) for each in models],
    }


def seen_by(registry: str, url: str, before: str, after: str | None = None) -> list[Seen]:
    """Name the versions of models that were trained on a dataset as it was.

    Parameters
    ----------
    registry : str
        Folder or URL.
    url : str
        Of the dataset.
    before : str
        Its fingerprint as it was.
    after : str, optional
        Its fingerprint now: versions that were trained on that are left out.

    Returns
    -------
    list of Seen
        Those with this fingerprint, and those whose data were at this URL in another state: before a change, or with a
        filter or treatment, which are part of a fingerprint.
    """
    held = Registry(registry)
    found = []
    for name in held.names():
        aliases = held.aliases(name)
        for version in held.versions(name):
            manifest = read_manifest(join(held.url, name, str(version)))
            data = manifest.provenance.get("data", {})
            certain = data.get("fingerprint") == before
            same = _absolute(str(data.get("url", ""))) == _absolute(url)
            if data.get("fingerprint") != after and (certain or same):
                names = tuple(sorted(alias for alias, to in aliases.items() if to == version))
                found.append(Seen(f"{name}@{version}", certain, names))
    return found


def _typed(keys: Sequence[str], kind: pa.DataType, column: str) -> tuple[str | int, ...]:
    kind = logical_type(kind)
    if not keys:
        raise InputError("no key is given", where="--key", mend="name who is to be erased")
    if is_text(kind):
        return tuple(keys)
    if not pa.types.is_integer(kind):
        raise InputError(
            f"the column {column!r} is {kind}", where="--column", mend="keys are text or whole numbers"
        )
    try:
        return tuple(pa.array([int(key) for key in keys], kind).to_pylist())
    except (
        ValueError,
        OverflowError,
    ):  # Arrow's own for a number that the column cannot hold are of the first
        raise InputError(
            f"a key of {column!r}, which is {kind}, is no whole number that it can hold", where="--key"
        ) from None


def _folder(dataset: Dataset) -> str:
    return dataset.files[0].path.rpartition("/")[0]


def _absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).absolute())


def _begin(journal: str, holding: Holding, keys: Sequence[str], files: Iterable[str]) -> dict[str, Any]:
    """Begin, or go on with what was ended before its time; the journal knows the keys by a salted hash alone."""
    named = "\0".join([holding.column, *sorted(set(keys))])
    if not exists(journal):
        salt = secrets.token_hex(16)
        known = hashed(named, bytes.fromhex(salt))
        return {"fingerprint": holding.fingerprint, "salt": salt, "keys": known, "files": {}}
    begun: dict[str, Any] = read_json(journal)
    if begun.get("keys") != hashed(named, bytes.fromhex(begun.get("salt", ""))):
        raise InputError(
            "an erasure of other keys was ended before its time", where=journal,
            mend="erase those first; or remove this file, if their rows shall stay",
        )  # fmt: skip
    for one in {path.rpartition("/")[0]: path for path in files}.values():
        clear_aside(one)
    return begun


def read_keys(path: str) -> list[str]:
    """Read keys from a file, one a line, so that they stand in no history of commands.

    Raises
    ------
    InputError
        It is not there, empty, or not UTF-8.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            "is not UTF-8", where=path, mend="write the keys as UTF-8 text, one a line"
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise InputError("holds no key", where=path, mend="write one a line")
    return keys


def shown(holding: Holding, seen: Sequence[Seen]) -> dict[str, Any]:
    """Return what was found as a JSON document."""
    return {**vars(holding), "models": [vars(each) for each in seen]}
