"""The command score: a dataset through a model, out of core."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli.output import ClusterFlag, JsonFlag, print_json, say
from headrace.errors import InputError

CHECKS = ("range", "category", "missing")
MOST_TOLD = 4
"""Checks that are told one by one; of hundreds of columns the manifest holds all."""


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(score)


def score(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="late, late@3, late@champion, or a package's folder.")
    ],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Directory, glob, file or URL of Parquet.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="A new folder or URL for the scores.")],
    cluster: ClusterFlag = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was ended before its time.")
    ] = False,
    registry: Annotated[
        str, typer.Option("--registry", metavar="URL", help="Folder or URL of the registry.")
    ] = "registry",
    features: Annotated[
        str | None,
        typer.Option(
            "--features", metavar="MODULE:FUNCTION", help="The model's feature function, if you trust it."
        ),
    ] = None,
    columns: Annotated[
        str, typer.Option("--columns", metavar="A,B", help="Columns to keep beside the scores, such as keys.")
    ] = "",
    reject: Annotated[
        str,
        typer.Option(
            "--reject",
            metavar="CHECKS",
            help="Reject rows with values that training has not seen: some of range,category,missing, or none.",
        ),
    ] = "missing",
    profile: Annotated[
        bool, typer.Option("--profile/--no-profile", help="Profile inputs and scores in the same pass.")
    ] = True,
    json: JsonFlag = False,
) -> None:
    """Score a dataset in batch, out of core.

    Every row gets probabilities, label and model version.
    Each row once, also when it is ended and resumed; rejected rows go to OUT/_rejected with their reasons.

    Example: headrace score late@champion data/new scores --columns id
    """
    from headrace.cli.progress import watching
    from headrace.cluster.config import load_cluster
    from headrace.scoring import score as score_data
    from headrace.serving.options import GuardOptions

    chosen = [] if reject == "none" else _words(reject)
    for word in chosen:
        if word not in CHECKS:
            raise InputError(
                f"{word!r} is no check", where="--reject", mend=f"give some of {','.join(CHECKS)}"
            )
    policies: dict[str, Any] = {check: "reject" if check in chosen else "flag" for check in CHECKS}
    with watching() as subscriber:
        manifest = score_data(
            model,
            data,
            output,
            registry=registry,
            features=features,
            columns=_words(columns),
            guard=GuardOptions(**policies),
            profiled=profile,
            cluster=load_cluster(cluster) if cluster else None,
            resume=resume,
            subscribers=[subscriber],
        )
    if json:
        print_json({"output": output, **manifest})
        return
    rows = manifest["rows"]
    say(f"{output}: {rows['scored']:,} rows scored by {manifest['model']['version']}")
    if rows["rejected"]:
        say(f"rejected: {rows['rejected']:,} rows, in {output.rstrip('/')}/_rejected")
    for title, found in (("rejected for", manifest["reasons"]), ("scored all the same", manifest["found"])):
        if found:
            say(f"  {title}  {_worst(found)}")


def _worst(found: dict[str, int]) -> str:
    """Sum up in one line for how many rows each check failed, those that failed most often first."""
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{what} {count:,}" for what, count in most[:MOST_TOLD])
    rest = len(most) - MOST_TOLD
    return f"{told} and {rest:,} more in _manifest.json" if rest > 0 else told


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
