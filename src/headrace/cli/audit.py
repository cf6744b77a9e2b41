"""Commands about the audit log: audit show, verify."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.output import JsonFlag, print_json, say

audit = typer.Typer(
    name="audit",
    help="Who did what; the log is written where HEADRACE_AUDIT says.",
    epilog="Example: headrace audit verify audit",
    no_args_is_help=True,
    rich_markup_mode=None,
)
UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="The folder of the log.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(audit)


@audit.command()
def show(
    url: UrlArgument,
    action: Annotated[
        str | None, typer.Option("--action", metavar="WORD", help="Only these, such as promoted.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="TEXT", help="Only what this is part of, such as late@3."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show the records, the oldest first.

    Example: headrace audit show audit --action promoted
    """
    from headrace.data.audit import read_records

    found = [
        each
        for each in read_records(url)
        if (action is None or each["action"] == action) and (subject is None or subject in each["subject"])
    ]
    if json:
        print_json({"records": found})
        return
    for each in found:
        who = "@".join(str(each["who"][part]) for part in ("user", "host") if part in each["who"])
        detail = ", ".join(
            f"{key} {value}" for key, value in each["detail"].items() if value not in ("", None)
        )
        say(
            f"{each['number']:>6}  {each['at']}  {who}  {each['action']} {each['subject']}"
            + (f"  ({detail})" if detail else "")
        )


@audit.command()
def verify(
    url: UrlArgument,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="SHA256", help="Hash of a record, kept elsewhere, that must be there."
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Follow the chain of hashes; exit 1 at the first record that was edited, deleted or moved.

    Keep the hash that it prints elsewhere: with --head it shows later that the end was not taken away.

    Example: headrace audit verify audit --head 5f2c...
    """
    from headrace.data.audit import verify as follow

    records, last, broken = follow(url, head)
    if json:
        print_json(
            {
                "records": records,
                "head": last,
                "broken": None if broken is None else {"number": broken.number, "what": broken.what},
            }
        )
    elif broken is None:
        say(f"{records} records, unbroken; the last has the hash {last}")
    else:
        say(f"record {broken.number} {broken.what}")
    if broken is not None:
        raise typer.Exit(1)
