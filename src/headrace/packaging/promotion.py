"""Promotion: whether a version may take an alias, which one an alias had before, and which ones may go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.data import audit
from headrace.data.storage import join, read_bytes, read_json, remove_tree, write_bytes
from headrace.errors import InputError, RefusedError
from headrace.packaging.comparing import pair_of
from headrace.packaging.package import MANIFEST, VERSION, read_package
from headrace.packaging.registry import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from headrace.packaging.package import Package
    from headrace.packaging.paired import Paired
    from headrace.packaging.registry import Registry


@dataclass(frozen=True)
class Evidence:
    """What is known of a version beside its package: how fast it answers, how it did in use, whether its inputs moved."""

    against: tuple[str, ...] = ()
    """What speaks against it."""
    note: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, for the history."""
    better: bool = False
    """Whether it was shown to be better than the champion in use, which tells more than old test rows."""


def objections(
    status: str, gates: Mapping[str, Mapping[str, Any]], paired: Paired | None, unpaired: str = ""
) -> tuple[str, ...]:
    """Say what speaks against a version.

    Parameters
    ----------
    status : str
        Of the version: ``passed``, or ``candidate`` when it missed its success criteria.
    gates : mapping
        What the gates of its exports have found.
    paired : Paired or None
        Its test against the champion; None when nothing has to be beaten, or when there is no test.
    unpaired : str, optional
        Why there is no test, when there should be one.

    Returns
    -------
    tuple of str
        Empty when it may be promoted.
    """
    said = [] if status == "passed" else ["it missed its success criteria"]
    for kind, found in gates.items():
        # A gate that compared no rows says that there is no such file, and not that it is wrong.
        if not found.get("passed") and found.get("rows", 0) > 0:
            said.append(
                f"its {kind} file differs from the pipeline by {found.get('largest_difference', 0.0):.3g}"
            )
    if unpaired:
        said.append(f"it cannot be tested against the champion: {unpaired}")
    elif paired is not None and not paired.better:
        said.append(f"it is not shown to be better than the champion at 95 %: {paired}")
    return tuple(said)


def previous(history: Sequence[Mapping[str, Any]], alias: str, existing: Collection[int]) -> int | None:
    """Find the version that an alias stood for before; going back twice goes back by two.

    Parameters
    ----------
    history : sequence of mappings
        Moves, the oldest first, as `Registry.alias_history` gives them.
    alias : str
        The alias.
    existing : collection of int
        Versions that there are; others are passed over.

    Returns
    -------
    int or None
        None when there is none to go back to.
    """
    held: list[int] = []
    for move in history:
        if move["alias"] != alias:
            continue
        version = int(move["version"])
        if move.get("note", {}).get("how") == "rollback":
            while held and held[-1] != version:
                held.pop()
        if not held or held[-1] != version:
            held.append(version)
    return next((version for version in reversed(held[:-1]) if version in existing), None)


def removable(versions: Sequence[int], aliased: Collection[int], keep: int) -> list[int]:
    """Choose the versions that may go: neither among the newest `keep` nor under an alias.

    Examples
    --------
    >>> removable([1, 2, 3, 4], {2}, keep=1)
    [1, 3]
    """
    newest = sorted(versions)[-keep:]
    return [version for version in sorted(versions) if version not in newest and version not in aliased]


def promote(
    registry: Registry,
    name: str,
    version: int,
    *,
    alias: str = CHAMPION,
    examine: Callable[[Package], Evidence] | None = None,
    force: bool = False,
    why: str = "",
) -> dict[str, Any]:
    """Let an alias stand for a version when nothing speaks against it.

    A champion has to be beaten on the test rows that both have seen, or in use; other aliases are for trying, and take
    any version that met its criteria and whose exports passed.

    Parameters
    ----------
    registry : Registry
        Where the model is.
    name : str
        The model.
    version : int
        The version, whose hashes are checked.
    alias : str, optional
        What it becomes.
    examine : callable, optional
        Gathers evidence about what shall become champion, beyond its package.
    force : bool, optional
        Promote all the same; what spoke against it is kept in the history.
    why : str, optional
        Kept in the history.

    Returns
    -------
    dict
        ``alias``, ``before``, ``version`` and ``note``: what the history holds of the move.

    Raises
    ------
    InputError
        When there is no such version, it has the alias already, or the alias moved meanwhile.
    RefusedError
        When something speaks against it.
    PackageError
        When the version or the champion is damaged.
    """
    package = read_package(registry.resolve(f"{name}@{version}"))
    before = registry.aliases(name).get(alias)
    if before == version:
        raise InputError(f"is {alias} already", where=f"{name}@{version}")
    paired, unpaired = None, ""
    if alias == CHAMPION and before is not None:
        paired, unpaired = pair_of(read_package(registry.resolve(f"{name}@{before}")), package)
    status = str(read_json(join(package.url, VERSION))["status"])
    evidence = examine(package) if examine is not None and alias == CHAMPION else Evidence()
    tested = (None, "") if evidence.better else (paired, unpaired)
    against = (*objections(status, package.manifest.gates, *tested), *evidence.against)
    if against and not force:
        raise RefusedError(
            "; ".join(against),
            where=f"{name}@{version}",
            mend="nothing was moved; --force does it all the same, and the history keeps it",
        )
    note = {
        "how": "promote",
        "forced": bool(against),
        "against": list(against),
        "why": why,
        "paired": None if paired is None else paired.to_dict(),
        **evidence.note,
    }
    registry.set_alias(name, alias, version, expected=before, note=note)
    return {"alias": alias, "before": before, "version": version, "note": note}


def rollback(registry: Registry, name: str, *, alias: str = CHAMPION, why: str = "") -> dict[str, Any]:
    """Let an alias stand for the version that it stood for before.

    Returns
    -------
    dict
        As from `promote`.

    Raises
    ------
    InputError
        When there is no such model, or the alias moved meanwhile.
    RefusedError
        When there is no version to go back to.
    PackageError
        When the version is damaged.
    """
    versions = registry.versions(name)
    now = registry.aliases(name).get(alias)
    to = previous(registry.alias_history(name), alias, versions)
    if now is None or to is None:
        said = "stands for nothing" if now is None else "has no earlier version to go back to"
        raise RefusedError(f"{alias} {said}", where=name, mend="see: headrace models list " + name)
    read_package(registry.resolve(f"{name}@{to}"))
    note = {"how": "rollback", "why": why}
    registry.set_alias(name, alias, to, expected=now, note=note)
    return {"alias": alias, "before": now, "version": to, "note": note}


def prune(registry: Registry, name: str, keep: int) -> list[int]:
    """Remove old versions, never one that has an alias.

    Parameters
    ----------
    registry : Registry
        Where the model is.
    name : str
        The model.
    keep : int
        So many of the newest versions stay; at least 1, so that no number is given twice.

    Returns
    -------
    list of int
        What was removed.

    Raises
    ------
    InputError
        When there is no such model, or `keep` is below 1.
    """
    if keep < 1:
        raise InputError(f"{keep} cannot be kept", where="--keep", mend="keep at least 1")
    registry.describe(name)  # says which models there are when there is none of this name
    removed = []
    for version in removable(registry.versions(name), set(registry.aliases(name).values()), keep):
        place = join(registry.url, name, str(version))
        manifest = read_bytes(join(place, MANIFEST))
        # Without its manifest a version is not there, and takes no alias; one that it took just before is seen here.
        remove_tree(join(place, MANIFEST))
        if version in registry.aliases(name).values():
            write_bytes(join(place, MANIFEST), manifest)
            continue
        remove_tree(place)
        removed.append(version)
        audit.record("pruned", f"{name}@{version}", registry=registry.url)
    return removed
