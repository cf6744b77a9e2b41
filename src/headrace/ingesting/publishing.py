"""The published version of an ingest, and how the next takes its place in one step."""

from __future__ import annotations

import ctypes
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.data.files import PUBLISHED
from headrace.data.localfiles import make_durable
from headrace.data.storage import (
    ask,
    exists,
    is_local,
    join,
    list_names,
    make_parent,
    open_filesystem,
    read_json,
    remove_file,
    remove_tree,
    storage_error,
    write_json,
)
from headrace.errors import InputError
from headrace.ingesting.columns import Layout
from headrace.ingesting.staging import DATA, QUARANTINE, StagedUnit

if TYPE_CHECKING:
    from headrace.ingesting.staging import Staging

ABOUT = "_ingest"
"""Folder of the state, the provenance and the quarantine; readers of the data pass over it."""
STATE, PROVENANCE, BAD = PUBLISHED, f"{ABOUT}/provenance.json", f"{ABOUT}/quarantine"
FORMAT = 1
EXCHANGE = 2
HERE = -100
"""Constants of Linux: RENAME_EXCHANGE, AT_FDCWD."""


@dataclass(frozen=True)
class Version:
    """What is published."""

    spec: str
    """Hash of what the ingest file says about source and types."""
    layout: Layout
    """Names and types."""
    units: tuple[StagedUnit, ...]
    """What it is made of."""
    watermark: Any
    """Largest value seen of the column that grows."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "format": FORMAT,
            "spec": self.spec,
            "watermark": self.watermark,
            "layout": self.layout.to_dict(),
            "units": [unit.__dict__ for unit in self.units],
        }

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(unit.rows for unit in self.units)

    @property
    def bad(self) -> int:
        """Rows in quarantine in all."""
        return sum(unit.bad for unit in self.units)


def read_version(to: str, staging: Staging) -> Version | None:
    """Read what is published; None when nothing is.

    Raises
    ------
    InputError
        Something else than an ingest's output is there.
    """
    _put_back(to, staging)
    if not exists(join(to, STATE)):
        if list_names(to) or (exists(to) and not _is_folder(to)):
            raise InputError(
                "holds something else than an ingest's output", where=to, mend="name a new directory"
            )
        return None
    state = read_json(join(to, STATE))
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(
            "was written by another version of headrace", where=join(to, STATE), mend="name a new directory"
        )
    units = tuple(StagedUnit(**unit) for unit in state["units"])
    return Version(state["spec"], Layout.from_dict(state["layout"]), units, state["watermark"])


def publish(
    to: str, before: Version | None, version: Version, staging: Staging, provenance: dict[str, Any]
) -> None:
    """Put a version into the place of the one before.

    On this machine the next directory is made beside the old one, of links to the files that stay, and the two are exchanged in
    one step. On a store the new files are sent first, under names that no published file has; then the state, one object that
    names the files of the dataset, is replaced; and then what is no longer part of it is removed.

    Parameters
    ----------
    to : str
        The destination.
    before : Version or None
        What is published now, if units of it may stay.
    version : Version
        What shall be.
    staging : Staging
        Holds the units that are new.
    provenance : dict
        The document beside the data.
    """
    filesystem, path = open_filesystem(to)
    kept = {unit.key for unit in before.units} if before is not None else set()
    try:
        if is_local(filesystem):
            _publish_here(Path(path), version, staging, provenance, kept)
        else:
            _publish_there(filesystem, to, version, staging, provenance, kept)
    except OSError as error:
        raise storage_error(error, to) from error


def _publish_here(
    target: Path, version: Version, staging: Staging, provenance: dict[str, Any], kept: set[str]
) -> None:
    following = staging.folder / "next"
    shutil.rmtree(following, ignore_errors=True)
    (following / BAD).mkdir(parents=True)
    for unit in version.units:
        home = target if unit.key in kept else staging.unit_folder(unit.key) / DATA
        bad = (
            target / BAD / unit.quarantine if unit.key in kept else staging.unit_folder(unit.key) / QUARANTINE
        )
        for name in unit.files:
            _link(home / name, following / name)
        if unit.bad:
            _link(bad, following / BAD / unit.quarantine)
    write_json(str(following / PROVENANCE), provenance)
    write_json(str(following / STATE), version.to_dict())
    for folder, _, _ in os.walk(following):
        make_durable(Path(folder))
    if not target.exists():
        following.rename(target)
    elif not _exchange(following, target):
        # Where the system cannot exchange, a process that dies between these two lines is put right by the next ingest.
        target.rename(staging.folder / "old")
        following.rename(target)
    make_durable(target.parent)
    for leftover in (following, staging.folder / "old"):
        shutil.rmtree(leftover, ignore_errors=True)


def _publish_there(
    filesystem: Any, to: str, version: Version, staging: Staging, provenance: dict[str, Any], kept: set[str]
) -> None:
    wanted = set()
    for unit in version.units:
        home = staging.unit_folder(unit.key)
        sent = [(home / DATA / name, join(to, name)) for name in unit.files]
        sent += [(home / QUARANTINE, join(to, BAD, unit.quarantine))] if unit.bad else []
        for source, url in sent:
            _, place = open_filesystem(url)
            wanted.add(place.strip("/"))
            if unit.key not in kept:
                ask(url, filesystem, partial(_put, filesystem, str(source), place))
    write_json(join(to, PROVENANCE), provenance)
    write_json(join(to, STATE), version.to_dict())
    _, root = open_filesystem(to)
    for name in ask(to, filesystem, lambda: list(filesystem.find(root))):
        if name.endswith(".parquet") and name.strip("/") not in wanted:
            remove_file(str(filesystem.unstrip_protocol(name)))


def _put(filesystem: Any, source: str, place: str) -> None:
    make_parent(filesystem, place)
    filesystem.put_file(source, place)


def _put_back(to: str, staging: Staging) -> None:
    """Undo half an exchange."""
    old = staging.folder / "old"
    if old.exists():
        _, path = open_filesystem(to)
        if Path(path).exists():
            remove_tree(str(old))
        else:
            old.rename(path)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _exchange(left: Path, right: Path) -> bool:
    """Exchange two directories in one step; False when the system or the disk cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2", None)
    if rename is None:
        return False
    return bool(rename(HERE, os.fsencode(left), HERE, os.fsencode(right), EXCHANGE) == 0)


def _is_folder(to: str) -> bool:
    filesystem, path = open_filesystem(to)
    return ask(to, filesystem, lambda: bool(filesystem.isdir(path)))
