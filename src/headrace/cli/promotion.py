"""Commands about which version is used: models compare, promote, rollback, prune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import JsonFlag, print_json, say
from headrace.cli.references import ModelArgument, RegistryFlag, read
from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.monitoring.ab import Comparison
    from headrace.monitoring.store import MonitorStore
    from headrace.packaging.package import Package
    from headrace.packaging.promotion import Evidence

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model of the registry.")]
AliasFlag = Annotated[str, typer.Option("--alias", help="champion, challenger or a free word.")]
WhyFlag = Annotated[str, typer.Option("--why", metavar="TEXT", help="Kept in the history of the alias.")]


def add_to(models: typer.Typer) -> None:
    """Add the commands to those about models."""
    for command in (compare, promote, rollback, prune):
        models.command(command.__name__)(command)


def compare(
    first: ModelArgument,
    second: Annotated[str, typer.Argument(metavar="OTHER", help="The model that it is compared with.")],
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Compare two models: metrics, the difference on the same test rows, sizes, inputs.

    Example: headrace models compare late@champion late@latest
    """
    from headrace.packaging.comparing import compare_packages

    document = compare_packages(read(first, registry), read(second, registry))
    if json:
        print_json(document)
        return
    from headrace.cli.output import console
    from headrace.cli.tables import side_by_side

    console().print(side_by_side((first, second), document))
    for line in (_paired(document), *document["signatures"]):
        say(line)


def promote(
    reference: Annotated[
        str, typer.Argument(metavar="NAME@VERSION", help="late@4, late@latest or late@challenger.")
    ],
    alias: AliasFlag = "champion",
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever speaks against it; the history keeps that.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="URL", help="A monitor store: what the version did in use counts too."
        ),
    ] = None,
    last: Annotated[str, typer.Option("--last", help="How far back in the store: 30m, 24h, 7d.")] = "24h",
    why: WhyFlag = "",
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Make a version the champion, when it is better than the one there is on the same test rows.

    Its latency is measured. With --store what it has answered so far must be like its training data, and the verdict
    of monitor ab, when there is one, stands in for the test rows.

    Example: headrace models promote late@challenger --store monitor
    """
    from headrace.packaging.promotion import promote as move
    from headrace.packaging.registry import Registry

    name, _, wanted = reference.partition("@")
    if not wanted:
        raise InputError("names no version", where=reference, mend=f"such as {name}@latest")
    held = Registry(registry)
    version = held.version(reference)
    before = held.aliases(name).get(alias)

    def examine(package: Package) -> Evidence:
        return _examine(package, f"{name}@{version}", store, last, champion=f"{name}@{before}")

    moved = move(held, name, version, alias=alias, examine=examine, force=force, why=why)
    _tell(name, moved, json=json)


def rollback(
    name: NameArgument,
    alias: AliasFlag = "champion",
    why: WhyFlag = "",
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Give an alias back to the version that had it before.

    Example: headrace models rollback late
    """
    from headrace.packaging.promotion import rollback as move
    from headrace.packaging.registry import Registry

    _tell(name, move(Registry(registry), name, alias=alias, why=why), json=json)


def prune(
    name: NameArgument,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="So many of the newest versions stay.")],
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Remove old versions; one that has an alias stays.

    Example: headrace models prune late --keep 10
    """
    from headrace.packaging.promotion import prune as remove
    from headrace.packaging.registry import Registry

    removed = remove(Registry(registry), name, keep)
    if json:
        print_json({"name": name, "removed": removed})
    else:
        say(f"{name}: removed {', '.join(map(str, removed)) or 'nothing'}")


def _examine(package: Package, version: str, store: str | None, last: str, *, champion: str) -> Evidence:
    """Time a version, and look at what it has answered."""
    import time

    from headrace.cli.watched import seconds
    from headrace.errors import HeadraceError
    from headrace.packaging.promotion import Evidence
    from headrace.serving.latency import measure_latency

    against, note = [], {}
    if (
        package.manifest.signature.features_function is None
    ):  # with one it is scored in batch, and never served
        try:
            note["latency"] = measure_latency(package)
        except HeadraceError as error:
            against.append(f"its latency cannot be measured: {error.what}")
    if store is None:
        return Evidence(tuple(against), note)
    from headrace.monitoring.recording import grid_of
    from headrace.monitoring.store import MonitorStore
    from headrace.monitoring.watching import moved_much

    opened, now = MonitorStore(store, version.partition("@")[0]), time.time()
    rows, moved = moved_much(opened, grid_of(package), version, seconds(last), now)
    note["drift"] = {"rows": rows, "moved": moved}
    if moved:
        named = ", ".join(f"{column} by {size:.2g}" for column, size in moved.items())
        against.append(f"inputs or scores moved beyond the limit of 1 since its training: {named}")
    found = _side_by_side(opened, champion, version, now - seconds(last), now)
    if found is not None:
        note["ab"] = found.to_dict()
        if found.verdict == "champion":
            against.append(f"in use the champion was better: {found.loss} by {found.difference:.3g}")
    return Evidence(tuple(against), note, found is not None and found.verdict == "challenger")


def _side_by_side(
    store: MonitorStore, champion: str, challenger: str, start: float, end: float
) -> Comparison | None:
    """Compare two versions that answered side by side; None when one has no labels."""
    from headrace.cli.watched import arm_of
    from headrace.monitoring.ab import compare_arms
    from headrace.monitoring.windows import whole

    windows = whole(store.read(start, end))
    try:
        arms = [
            arm_of(windows, arm, version)
            for arm, version in (("champion", champion), ("challenger", challenger))
        ]
    except InputError:
        return None
    return compare_arms(arms[0].outcomes, arms[1].outcomes)


def _tell(name: str, moved: Mapping[str, Any], *, json: bool) -> None:
    if json:
        print_json({"name": name, **moved})
        return
    before = "" if moved["before"] is None else f", before {name}@{moved['before']}"
    say(f"{moved['alias']} is {name}@{moved['version']}{before}")
    if latency := moved["note"].get("latency"):
        say(
            f"one row takes {1000 * latency['p50']:.3g} ms (median of {latency['calls']}, {latency['runtime']})"
        )
    if (trial := moved["note"].get("ab")) and trial["verdict"] == "challenger":
        say(
            f"in use its {trial['loss']} was lower by {-trial['difference']:.3g} ({trial['rows'][1]:,} labels)"
        )
    for line in moved["note"].get("against", ()):
        say(f"forced although {line}")


def _paired(document: Mapping[str, Any]) -> str:
    from headrace.packaging.paired import Paired

    if document["paired"] is None:
        return f"no test on the same rows: {document['unpaired']}"
    paired = Paired(**document["paired"])
    verdict = "better" if paired.better else "worse" if paired.high < 0 else "neither better nor worse"
    return f"the second is {verdict} at 95 %: {paired}"
