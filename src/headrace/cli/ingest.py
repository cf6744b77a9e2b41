"""The command that brings data in: ingest."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.output import JsonFlag, print_json, say


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(ingest)


def ingest(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The ingest file (YAML).")],
    json: JsonFlag = False,
) -> None:
    """Bring data in as typed Parquet.

    From files, databases, REST, web tables. Again later, it reads only what is new. Rows that do not parse go to quarantine.

    Example: headrace ingest examples/messy/ingest.yaml
    """
    from headrace.cli.output import duration, size
    from headrace.engine.memory import peak_resident_bytes
    from headrace.ingesting.collection import ingest as collect

    done = collect(spec, say=lambda line: typer.echo(line, err=True))
    peak = peak_resident_bytes()
    if json:
        print_json({**done.to_dict(), "memory_peak": peak})
        return
    new = f", {done.new_rows:,} new" if done.units else ", nothing new"
    say(f"{done.to}: {done.rows:,} rows{new}; {duration(done.seconds)}, {size(peak)} of memory")
    if done.quarantine:
        say(f"quarantine: {done.bad:,} rows in {done.quarantine}")
    say(f"provenance: {done.provenance}")
    say(f"next: headrace check {done.to}")
