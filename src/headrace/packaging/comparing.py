"""Two packages side by side: metrics, the paired difference, sizes, and how their signatures differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import InputError
from headrace.packaging.card import estimate
from headrace.packaging.paired import metric_to_test, paired_test
from headrace.packaging.scores import SCORES, read_scores

if TYPE_CHECKING:
    from headrace.packaging.package import Package
    from headrace.packaging.paired import Paired
    from headrace.packaging.signature import Signature


def compare_packages(first: Package, second: Package) -> dict[str, Any]:
    """Put two packages side by side.

    Returns
    -------
    dict
        ``models`` (of each ``url``, ``created``, ``model_sha256``, ``bytes``, ``files``, ``gates``), ``metrics``
        (name to the estimates of both, None where one has none), ``paired`` (see `Paired`; positive where the second
        is better) or None, ``unpaired`` (why) and ``signatures`` (a line for each difference).
    """
    paired, why = pair_of(first, second)
    measured = [package.manifest.metrics.get("metrics", {}) for package in (first, second)]
    names = list(dict.fromkeys(name for metrics in measured for name in metrics))
    return {
        "models": [_facts(first), _facts(second)],
        "metrics": {
            name: [estimate(metrics[name]) if name in metrics else None for metrics in measured]
            for name in names
        },
        "paired": None if paired is None else paired.to_dict(),
        "unpaired": why,
        "signatures": signature_differences(first.manifest.signature, second.manifest.signature),
    }


def pair_of(first: Package, second: Package, metric: str | None = None) -> tuple[Paired | None, str]:
    """Test on common rows whether the second package is better than the first.

    Parameters
    ----------
    first, second : Package
    metric : str, optional
        What is tested; by default the metric that stands for the first.

    Returns
    -------
    paired : Paired or None
    why : str
        Why there is none; empty when there is one.
    """
    ours, theirs = first.manifest.signature, second.manifest.signature
    for name in ("task", "target", "classes"):
        if getattr(ours, name) != getattr(theirs, name):
            return (
                None,
                f"they do not predict the same: {name} {getattr(ours, name)} and {getattr(theirs, name)}",
            )
    wanted = metric or (first.manifest.metric or {}).get("name")
    chosen = metric_to_test(ours.task, len(ours.classes), wanted)
    if chosen is None:
        return None, f"there is no paired test for {ours.task}"
    scores, others = read_scores(first), read_scores(second)
    if scores is None or others is None:
        return None, f"{(first if scores is None else second).url} has no {SCORES}"
    try:
        return paired_test(chosen, scores, others, len(ours.classes)), ""
    except InputError as error:
        return None, f"they {error}"


def signature_differences(first: Signature, second: Signature) -> list[str]:
    """Say in a line each how two signatures differ: for whoever sends rows to one and then to the other."""
    said = [
        f"{name.replace('_', ' ')}: {getattr(first, name)} and {getattr(second, name)}"
        for name in ("task", "target", "classes", "features_function")
        if getattr(first, name) != getattr(second, name)
    ]
    made = [
        (each.history.describe() if each.history else {})
        | {made.column: made.words for made in each.embeddings}
        for each in (first, second)
    ]
    said += [
        f"{name}: {made[0][name]}, and {words}"
        for name, words in made[1].items()
        if made[0].get(name, words) != words
    ]
    ours, theirs = ({column.name: column for column in each.inputs} for each in (first, second))
    said += [f"only the first reads {name}" for name in ours if name not in theirs]
    said += [f"only the second reads {name}" for name in theirs if name not in ours]
    for name in (name for name in ours if name in theirs):
        one, other = ours[name], theirs[name]
        if one.type != other.type:
            said.append(f"{name}: {one.type} and {other.type}")
        if one.nullable != other.nullable:
            never = "second" if one.nullable else "first"
            said.append(f"{name}: never missing in the training data of the {never}")
        if one.kind == other.kind == "string" and set(one.categories or ()) != set(other.categories or ()):
            said.append(f"{name}: the frequent categories differ")
    return said


def _facts(package: Package) -> dict[str, Any]:
    manifest = package.manifest
    return {
        "url": package.url,
        "created": manifest.created,
        "model_sha256": manifest.model_sha256,
        "bytes": sum(held.bytes for held in manifest.files.values()),
        "files": {name: held.bytes for name, held in sorted(manifest.files.items())},
        "gates": {kind: bool(result.get("passed")) for kind, result in manifest.gates.items()},
    }
