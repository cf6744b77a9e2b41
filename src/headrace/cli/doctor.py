"""The command doctor: what a place on storage allows, and what to mend."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from headrace.cli.output import JsonFlag, print_json, say

MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "-"}


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(doctor)


def doctor(
    url: Annotated[str, typer.Argument(metavar="URL", help="Folder or file, local or on any fsspec URL.")],
    json: JsonFlag = False,
) -> None:
    """Test a place on storage, and say what to mend.

    Writes a few megabytes into a folder of its own there and removes them. Exit code 1 when something fails.

    Example: headrace doctor s3://bucket/runs
    """
    from headrace.data.access import examine

    found = examine(url)
    failed = [each for each in found if each.status == "failed"]
    if json:
        print_json({"url": url, "passed": not failed, "checks": [asdict(each) for each in found]})
    else:
        for each in found:
            say(f"{MARKS[each.status]:<7} {each.name:<12} {each.what}")
            if each.mend and each.status == "failed":
                say(f"{'':<20} mend: {each.mend}")
    if failed:
        raise typer.Exit(1)
