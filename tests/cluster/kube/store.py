"""What an API server of Kubernetes keeps: objects with versions, finalizers and owners, and the log of their changes."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Object = dict[str, Any]
FOREGROUND = "foregroundDeletion"


class RefusedError(Exception):
    """What the server answers in place of an object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


@dataclass(frozen=True)
class Kind:
    """A kind of object and where it lies."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status_apart: bool = False
    """Whether only ``/status`` writes the status."""
    check: Callable[[Object], None] = field(default=lambda _object: None, compare=False)
    """Raises `RefusedError` for an object that does not fit the schema."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def without_nulls(value: Any) -> Any:
    """Drop nulls, as the server does."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Any, operations: list[dict[str, Any]]) -> Any:
    """Apply the operations add, replace, remove and test of a JSON patch (RFC 6902)."""
    made = copy.deepcopy(target)
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        here = made
        for part in way:
            here = here[int(part)] if isinstance(here, list) else here[part]
        spot: Any = last if isinstance(here, dict) else len(here) if last == "-" else int(last)
        if operation["op"] == "test":
            if here[spot] != operation["value"]:
                raise RefusedError(422, "Invalid", f"test of {operation['path']} fails")
        elif operation["op"] == "remove":
            del here[spot]
        elif operation["op"] == "add" and isinstance(here, list):
            here.insert(spot, operation["value"])
        else:
            here[spot] = operation["value"]
    return made


def selected(thing: Object, labels: str, fields: str) -> bool:
    """Whether an object fits a label selector and a field selector."""
    held = thing["metadata"].get("labels", {})
    for term in re.findall(r"[^,(]+(?:\([^)]*\))?", labels):
        listed = re.fullmatch(r"(\S+) (in|notin) \(([^)]*)\)", term.strip())
        if listed:
            if (held.get(listed[1]) in re.split(r"\s*,\s*", listed[3])) != (listed[2] == "in"):
                return False
        elif "=" in term:
            key, negated, value = re.fullmatch(r"([^=!]+)(!?)==?(.*)", term.strip()).groups()  # type: ignore[union-attr]  # it has a sign
            if (held.get(key) == value) == bool(negated):
                return False
        elif term.strip() not in held:
            return False
    for term in filter(None, fields.split(",")):
        path, _, value = term.partition("=")
        here: Any = thing
        for part in path.split("."):
            here = here.get(part, {}) if isinstance(here, dict) else {}
        if here != value:
            return False
    return True


class Store:
    """All objects; everything happens in one event loop."""

    def __init__(self) -> None:
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self.log: list[tuple[int, str, Kind, Object]] = []
        """Version, ADDED, MODIFIED or DELETED, and the object then."""
        self.version = 0
        self._changed = asyncio.Condition()
        self._waking: set[asyncio.Task[None]] = set()

    def objects(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        return [
            thing
            for (other, where, _), thing in self._objects.items()
            if other == kind and namespace in {None, where}
        ]

    def everything(self) -> Iterator[tuple[Kind, Object]]:
        for (kind, _, _), thing in list(self._objects.items()):
            yield kind, thing

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        try:
            return self._objects[kind, namespace, name]
        except KeyError:
            raise RefusedError(404, "NotFound", f'{kind.plural} "{name}" not found') from None

    def create(self, kind: Kind, namespace: str, given: Object) -> Object:
        thing: Object = without_nulls(given)
        kind.check(thing)
        meta = thing.setdefault("metadata", {})
        if "name" not in meta:
            meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
        if (kind, namespace, meta["name"]) in self._objects:
            raise RefusedError(409, "AlreadyExists", f'{kind.plural} "{meta["name"]}" already exists')
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
        if kind.namespaced:
            meta["namespace"] = namespace
        thing |= {"apiVersion": kind.api_version, "kind": kind.kind}
        self._objects[kind, namespace, meta["name"]] = thing
        self._note("ADDED", kind, thing)
        return thing

    def update(self, kind: Kind, thing: Object, made: Object, *, only: str | None = None) -> Object:
        """Put `made` in place of `thing`; `only` one part of it when a subresource is written."""
        made = dict(without_nulls(made))
        if only is not None:
            made = {**thing, only: made.get(only, {})}
        elif kind.status_apart:
            made = {**made, **({"status": thing["status"]} if "status" in thing else {})}
        wanted = made["metadata"].get("resourceVersion")
        if wanted is not None and wanted != thing["metadata"]["resourceVersion"]:
            raise RefusedError(409, "Conflict", "the object has been modified")
        kept = {
            key: thing["metadata"][key]
            for key in ("uid", "name", "namespace", "creationTimestamp", "deletionTimestamp", "generation")
            if key in thing["metadata"]
        }
        made["metadata"] = {
            **made["metadata"],
            **kept,
            "resourceVersion": thing["metadata"]["resourceVersion"],
        }
        if made == thing:
            return thing
        if made.get("spec") != thing.get("spec"):
            kind.check(made)
            made["metadata"]["generation"] += 1
        self._objects[kind, *self._place(kind, made)] = made
        self._note("MODIFIED", kind, made)
        if "deletionTimestamp" in made["metadata"] and not made["metadata"].get("finalizers"):
            self.remove(kind, made)
        return made

    def set_status(self, kind: Kind, thing: Object, **status: Any) -> None:
        """Write parts of the status, as controllers do."""
        self.update(kind, thing, {**thing, "status": {**thing.get("status", {}), **status}}, only="status")

    def delete(self, kind: Kind, thing: Object, *, foreground: bool = False) -> Object:
        """Begin to delete: what has finalizers, or a process that must end first, stays a while.

        In the foreground it stays until what it owns is gone.
        """
        meta = thing["metadata"]
        if foreground and "deletionTimestamp" not in meta:
            meta["finalizers"] = [*meta.get("finalizers", []), FOREGROUND]
        waits = meta.get("finalizers") or (kind.plural == "pods" and "hostIP" in thing.get("status", {}))
        if not waits:
            self.remove(kind, thing)
        elif "deletionTimestamp" not in meta:
            meta["deletionTimestamp"] = now()
            self._note("MODIFIED", kind, thing)
        return thing

    def remove(self, kind: Kind, thing: Object) -> None:
        if self._objects.pop((kind, *self._place(kind, thing)), None) is not None:
            self._note("DELETED", kind, thing)

    async def changes(self, after: int) -> None:
        """Wait for a change after a version."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version > after)

    def _place(self, kind: Kind, thing: Object) -> tuple[str, str]:
        meta = thing["metadata"]
        return (meta["namespace"] if kind.namespaced else "", meta["name"])

    def _note(self, what: str, kind: Kind, thing: Object) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((self.version, what, kind, json.loads(json.dumps(thing))))
        task = asyncio.get_running_loop().create_task(self._wake())
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()
