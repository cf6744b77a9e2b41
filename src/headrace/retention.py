"""Retention: runs, monitor data and versions that are older than a policy allows; what is in use stays."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from headrace.data import audit
from headrace.data.storage import exists, join, list_names, read_json, remove_tree
from headrace.errors import InputError, StorageError
from headrace.monitoring.store import MonitorStore
from headrace.options import Options
from headrace.packaging.promotion import prune, removable
from headrace.packaging.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400


class RunsPolicy(Options):
    """How long run directories are kept after they ended."""

    url: str = Field(min_length=1, description="The folder whose children are run directories")
    days: float = Field(gt=0, description="Days after the end of a run")


class MonitorPolicy(Options):
    """How long windows of a monitor store are kept."""

    url: str = Field(min_length=1, description="The store; of all its models")
    days: float = Field(gt=0, description="Days; whole days are removed")


class RegistryPolicy(Options):
    """How many versions of each model are kept."""

    url: str = Field(min_length=1, description="The registry")
    keep: int = Field(ge=1, description="So many of the newest versions stay, and all with an alias")


class RetentionPolicy(Options):
    """What is kept, and how long; what is left out is left alone."""

    runs: RunsPolicy | None = None
    monitor: MonitorPolicy | None = None
    registry: RegistryPolicy | None = None

    @model_validator(mode="after")
    def _say_something(self) -> RetentionPolicy:
        if not self.model_fields_set:
            raise ValueError("says nothing; give runs, monitor or registry")
        return self


@dataclass(frozen=True)
class Overdue:
    """What a policy lets go."""

    runs: tuple[str, ...] = ()
    """URLs of run directories."""
    monitor: tuple[str, ...] = ()
    """Models of the monitor store, of which older days go."""
    versions: tuple[str, ...] = ()
    """Versions, as ``late@3``."""


def overdue(policy: RetentionPolicy, now: dt.datetime) -> Overdue:
    """Say what a policy lets go.

    A run stays that has not ended, that has no record which could be read, or whose model is a version with an alias.

    Parameters
    ----------
    policy : RetentionPolicy
        As the user wrote it.
    now : datetime
        With a zone.

    Raises
    ------
    StorageError
        A place cannot be read.
    """
    versions: list[str] = []
    if policy.registry is not None:
        held = Registry(policy.registry.url)
        for name in held.names():
            aliased = set(held.aliases(name).values())
            versions += [
                f"{name}@{each}" for each in removable(held.versions(name), aliased, policy.registry.keep)
            ]
    stores: list[str] = []
    if policy.monitor is not None:
        stores = list_names(policy.monitor.url)
    runs = () if policy.runs is None else tuple(_old_runs(policy.runs, now))
    return Overdue(runs, tuple(stores), tuple(versions))


def retain(policy: RetentionPolicy, now: dt.datetime) -> dict[str, Any]:
    """Remove what a policy lets go; ended before its time it is simply called again.

    Returns
    -------
    dict
        ``runs`` and ``versions`` that were removed, and ``monitor``: days of windows by model.
    """
    found = overdue(policy, now)
    for url in found.runs:
        remove_tree(url)
    days = {}
    if policy.monitor is not None:
        before = now.timestamp() - policy.monitor.days * DAY
        days = {name: MonitorStore(policy.monitor.url, name).remove_before(before) for name in found.monitor}
    removed: list[str] = []
    if policy.registry is not None:
        held = Registry(policy.registry.url)
        for name in dict.fromkeys(each.partition("@")[0] for each in found.versions):
            removed += [f"{name}@{each}" for each in prune(held, name, policy.registry.keep)]
    told = {
        "runs": list(found.runs),
        "monitor": {name: n for name, n in days.items() if n},
        "versions": removed,
    }
    if any(told.values()):
        audit.record("retained", "policy", **told)
    return told


def _old_runs(policy: RunsPolicy, now: dt.datetime) -> Iterator[str]:
    for name in list_names(policy.url):
        url = join(policy.url, name)
        if not exists(join(url, "run.json")):
            continue
        try:
            record = read_json(join(url, "run.json"))
            age = now - dt.datetime.fromisoformat(record["ended"])
        except (StorageError, KeyError, TypeError, ValueError):
            continue  # not ended, or nothing that is known to be a run
        if age.total_seconds() > policy.days * DAY and not _in_use(record):
            yield url


def _in_use(record: dict[str, Any]) -> bool:
    """Whether the version that a run published has an alias."""
    if "model" not in record or "registry" not in record:
        return False
    name, _, version = str(record["model"]).partition("@")
    try:
        return int(version) in Registry(record["registry"]).aliases(name).values()
    except (InputError, StorageError, ValueError):
        return True  # what cannot be asked about stays
