"""Registry: names, immutable versions that appear whole, aliases with their history."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import secrets
from typing import TYPE_CHECKING, Any, Literal

from headrace.data import audit, storage
from headrace.data.directories import aside
from headrace.data.urls import refuse_secret
from headrace.errors import InputError, PackageError, StorageError
from headrace.packaging.package import MANIFEST, SIGNATURE, VERSION, read_manifest, read_package, sha256

if TYPE_CHECKING:
    from pathlib import Path

CHAMPION = "champion"
LATEST = "latest"
Status = Literal["passed", "candidate"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_ALIASES = "aliases"
_ALIAS_FILE = "aliases.json"
_ATTEMPTS = 1000
_HOW = {"promote": "promoted", "rollback": "rolled back"}
"""Moves of an alias as the audit log names them."""


class Registry:
    """Models by name and version on a URL.

    ::

        URL/NAME/3/                          a package, and version.json: status, time, hash of the manifest
        URL/NAME/aliases/00000002/aliases.json   every alias after the second move, and what moved

    A version is one new folder and a move of an alias one new file; each appears in one step or not at all. Who
    finds its place taken looks again: a version then takes the next number, an alias is compared anew. No
    file ever changes, so a reader needs no lock.

    Parameters
    ----------
    url : path or URL
        A folder; it need not exist yet.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = refuse_secret(str(url))

    def __repr__(self) -> str:
        return f"Registry({self.url!r})"

    def names(self) -> list[str]:
        """Names of the models that have a version, sorted."""
        return [
            name for name in storage.list_names(self.url) if _NAME.fullmatch(name) and self.versions(name)
        ]

    def versions(self, name: str) -> list[int]:
        """Version numbers of a model, rising; none when there is no such model."""
        place = self._place(name)
        numbers = sorted(int(child) for child in storage.list_names(place) if _NUMBER.fullmatch(child))
        # on an object store a version is there once its manifest is
        return [number for number in numbers if storage.exists(storage.join(place, str(number), MANIFEST))]

    def publish(self, name: str, package: str | Path, *, status: Status = "passed") -> int:
        """Copy a package into the registry as the next version.

        Parameters
        ----------
        name : str
            Letters, digits, ``.``, ``_`` and ``-``, a letter or digit first.
        package : path or URL
            The folder of the package; its hashes are checked first.
        status : {"passed", "candidate"}
            Whether the model met its success criteria. The first version that passed becomes ``champion``.

        Returns
        -------
        int
            The number of the version.

        Raises
        ------
        InputError
            When the name cannot be used.
        PackageError
            When the package is damaged.
        StorageError
            When the registry cannot be written; nothing of the version is then visible.
        """
        place = self._place(name)
        read = read_package(package)
        note = {
            "name": name,
            "status": status,
            "published": _now(),
            "model_sha256": read.manifest.model_sha256,
            "manifest_sha256": sha256(read.contents[MANIFEST]),
        }
        # A signature of this very version can only be made of its note.
        unsigned = {file: content for file, content in read.contents.items() if file != SIGNATURE}

        for _ in range(_ATTEMPTS):
            version = max((int(child) for child in _numbered(place)), default=0) + 1
            files = {**unsigned, VERSION: _json({**note, "version": version})}
            if _new_folder(storage.join(place, str(version)), files):
                break
        else:
            raise _too_busy(place)
        audit.record("published", f"{name}@{version}", registry=self.url, status=status)
        if status == "passed" and CHAMPION not in self.aliases(name):
            # another first version may have become champion in between, which is as good
            with contextlib.suppress(InputError):
                self.set_alias(name, CHAMPION, version, expected=None)
        return version

    def aliases(self, name: str) -> dict[str, int]:
        """Aliases of a model and the versions that they stand for."""
        return self._alias_state(name)[1]

    def alias_history(self, name: str) -> list[dict[str, Any]]:
        """Every move of an alias, the oldest first: ``alias``, ``before``, ``version``, ``at``, and its ``note``.

        Their order is that of their numbers, of which one of all who write gets each; ``at`` is what the clock of the writer
        said, and decides nothing.
        """
        place = storage.join(self._place(name), _ALIASES)
        return [storage.read_json(storage.join(place, move, _ALIAS_FILE))["moved"] for move in _moves(place)]

    def set_alias(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        expected: int | str | None = "any",
        note: dict[str, Any] | None = None,
    ) -> None:
        """Let an alias stand for a version.

        Parameters
        ----------
        name, alias : str
            The model; and ``champion``, ``challenger`` or a free word.
        version : int
            A version that exists.
        expected : int or None, optional
            Move only if the alias stands for this version now (None: for nothing yet).
        note : dict, optional
            Kept in the history: how it came to the move.

        Raises
        ------
        InputError
            When there is no such version, the alias cannot be used, or it stands for another version than
            expected.
        """
        if not _NAME.fullmatch(alias) or _NUMBER.fullmatch(alias) or alias == LATEST:
            raise InputError(
                f"{alias!r} cannot be an alias", where=name, mend="use a word such as champion or challenger"
            )
        self._check_version(name, version)
        place = storage.join(self._place(name), _ALIASES)
        writer = secrets.token_hex(8)  # of two who write the same within a second one must be refused
        for _ in range(_ATTEMPTS):
            generation, aliases = self._alias_state(name)
            before = aliases.get(alias)
            if expected not in {"any", before}:
                raise InputError(
                    f"{alias} stands for version {before}, not {expected}",
                    where=name,
                    mend="look at the versions again and repeat",
                )
            document = {
                "aliases": {**aliases, alias: version},
                "moved": {
                    "alias": alias,
                    "before": before,
                    "version": version,
                    "at": _now(),
                    **({} if note is None else {"note": note}),
                },
                "writer": writer,
            }
            # One file, created once: who is killed on the way leaves nothing that a reader could stumble over.
            target = storage.join(place, f"{generation + 1:08d}", _ALIAS_FILE)
            if storage.create(target, _json(document)):
                break
        else:
            raise _too_busy(place)
        if version not in self.versions(name):  # it was removed at this moment
            if before is not None:
                self.set_alias(name, alias, before, expected=version, note={"how": "undone"})
            self._check_version(name, version)
        how = _HOW.get((note or {}).get("how", ""), "moved")
        detail = {key: note[key] for key in ("why", "forced") if note and key in note}
        audit.record(how, f"{name}@{version}", alias=alias, replaced=before, registry=self.url, **detail)

    def resolve(self, reference: str) -> str:
        """Find the folder of a version.

        Parameters
        ----------
        reference : str
            ``late@3``, ``late@champion``, ``late@latest``, or ``late``, which is the champion.

        Returns
        -------
        str
            URL of the package.

        Raises
        ------
        InputError
            When there is no such model, version or alias.
        """
        name, _, _ = reference.partition("@")
        return storage.join(self._place(name), str(self.version(reference)))

    def version(self, reference: str) -> int:
        """Find the number of a version, as `resolve` finds its folder."""
        name, _, wanted = reference.partition("@")
        return self._version(name, wanted or CHAMPION)

    def named(self, reference: str) -> str:
        """Write a reference as that of the version that it stands for now, ``late@3``."""
        return f"{reference.partition('@')[0]}@{self.version(reference)}"

    def describe(self, name: str | None = None) -> list[dict[str, Any]]:
        """Rows for a table of versions, of one model or of all, the newest first.

        Returns
        -------
        list of dict
            ``name``, ``version``, ``created``, ``status``, ``alias`` (joined by commas), ``metric`` (its name),
            ``value``, ``task``, ``model_sha256``.

        Raises
        ------
        InputError
            When there is no model of this name.
        """
        if name is not None and not self.versions(name):
            raise self._unknown(name)
        return [row for each in ([name] if name is not None else self.names()) for row in self._rows(each)]

    def _rows(self, name: str) -> list[dict[str, Any]]:
        aliases = self.aliases(name)
        rows = []
        for version in reversed(self.versions(name)):
            url = storage.join(self._place(name), str(version))
            manifest = read_manifest(url)
            metric = manifest.metric or {}
            rows.append(
                {
                    "name": name,
                    "version": version,
                    "created": manifest.created,
                    "status": _status(url),
                    "alias": ", ".join(sorted(alias for alias, held in aliases.items() if held == version)),
                    "metric": metric.get("name"),
                    "value": metric.get("value"),
                    "task": manifest.signature.task,
                    "model_sha256": manifest.model_sha256,
                }
            )
        return rows

    def _place(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot be the name of a model",
                where=self.url,
                mend="use letters, digits, '.', '_' and '-', a letter or digit first, at most 100",
            )
        return storage.join(self.url, name)

    def _version(self, name: str, wanted: str) -> int:
        if _NUMBER.fullmatch(wanted):
            self._check_version(name, int(wanted))
            return int(wanted)
        versions = self.versions(name)
        if not versions:
            raise self._unknown(name)
        if wanted == LATEST:
            return versions[-1]
        aliases = self.aliases(name)
        if wanted in aliases:
            return aliases[wanted]
        if wanted == CHAMPION:
            raise InputError(
                "no version has passed its success criteria yet",
                where=f"{name}@{CHAMPION}",
                mend=f"name a version, such as {name}@{versions[-1]}",
            )
        raise InputError(
            f"{wanted!r} is no version or alias of {name}",
            where=self.url,
            mend=f"there are {', '.join([*sorted(aliases), LATEST])} and 1 to {versions[-1]}",
        )

    def _check_version(self, name: str, version: int) -> None:
        versions = self.versions(name)
        if not versions:
            raise self._unknown(name)
        if version not in versions:
            raise InputError(
                f"{name} has no version {version}", where=self.url, mend=f"the newest is {versions[-1]}"
            )

    def _unknown(self, name: str) -> InputError:
        known = self.names()
        mend = f"there are: {', '.join(known[:10])}" if known else "the registry is empty or is elsewhere"
        return InputError(f"there is no model {name!r}", where=self.url, mend=mend)

    def _alias_state(self, name: str) -> tuple[int, dict[str, int]]:
        place = storage.join(self._place(name), _ALIASES)
        moves = _moves(place, newest=True)
        if not moves:
            return 0, {}
        where = storage.join(place, moves[-1], _ALIAS_FILE)
        try:
            held = {
                str(alias): int(version) for alias, version in storage.read_json(where)["aliases"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PackageError("is not a document of aliases", where=where) from error
        return int(moves[-1]), held


def _numbered(place: str) -> list[str]:
    return sorted((child for child in storage.list_names(place) if child.isdecimal()), key=int)


def _moves(place: str, *, newest: bool = False) -> list[str]:
    """List the moves of aliases that were made, rising; a folder whose file has not come yet is none."""
    made: list[str] = []
    for number in reversed(_numbered(place)):
        if storage.exists(storage.join(place, number, _ALIAS_FILE)):
            made.append(number)
            if newest:
                break
    return made[::-1]


def _new_folder(target: str, files: dict[str, bytes]) -> bool:
    """Make a folder with content in one step; False when it is there already."""
    try:
        with aside(target) as place:
            for name, content in files.items():
                (place / name).write_bytes(content)
    except StorageError:
        if storage.list_names(target):
            return False
        raise
    return True


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _too_busy(place: str) -> StorageError:
    return StorageError("too many writers at once", where=place, mend="try again")


def _status(url: str) -> str:
    note = storage.read_json(storage.join(url, VERSION))
    return str(note.get("status", "")) if isinstance(note, dict) else ""


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
