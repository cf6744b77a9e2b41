"""Commands about data: sample, init, profile, check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.output import ClusterFlag, JsonFlag, print_json, say

if TYPE_CHECKING:
    from headrace.profiling.checks import CheckReport
    from headrace.profiling.profile import Profile

DataArgument = Annotated[str, typer.Argument(metavar="DATA", help="Directory, glob, file or URL of Parquet.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (sample, init, profile, check):
        app.command()(command)


def sample(
    name: Annotated[str, typer.Argument(metavar="NAME", help="flights or clicks.")],
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Where the Parquet files go.")],
    rows: Annotated[int | None, typer.Option("--rows", metavar="N", help="Rows to write.", min=1)] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.", min=0)] = 0,
    json: JsonFlag = False,
) -> None:
    """Write sample data as Parquet.

    flights: real, from New York in 2013. clicks: generated, with a known best AUC.

    Example: headrace sample clicks data/clicks --rows 1000000
    """
    from dataclasses import asdict

    from headrace.cluster.config import available_cores
    from headrace.data.samples import write_sample

    written = write_sample(name, directory, rows=rows, seed=seed, workers=available_cores())
    if json:
        print_json(asdict(written))
        return
    from headrace.cli.output import size

    say(f"{written.directory}: {written.rows:,} rows, {written.files} files, {size(written.bytes)}")
    for key, value in written.metadata.items():
        say(f"{key}: {value}")
    say(f"next: headrace profile {directory} --target {written.target}")


def init(
    data: DataArgument,
    target: Annotated[str, typer.Option("--target", metavar="COL", help="The column to predict.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
    ] = "workflow.yaml",
    cluster: ClusterFlag = None,
    json: JsonFlag = False,
) -> None:
    """Write a workflow file from a profile.

    With comments, to be read and changed; an existing file is never overwritten.

    Example: headrace init data/flights --target late -o flights.yaml
    """
    from headrace.data.storage import exists, write_bytes
    from headrace.errors import InputError
    from headrace.scaffold import write_workflow

    if exists(output):
        raise InputError("exists already", where=output, mend="give another --output")
    text = write_workflow(_profile(data, target, cluster), url=data, target=target)
    write_bytes(output, text.encode())
    if json:
        print_json({"workflow": output, "data": data, "target": target})
    else:
        say(f"{output}: written; read it, then: headrace plan {output} && headrace run {output}")


def profile(
    data: DataArgument,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="Also profile each class of this column.")
    ] = None,
    cluster: ClusterFlag = None,
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="Also write a page.")] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where the profile goes.")
    ] = "profile.json",
    json: JsonFlag = False,
) -> None:
    """Read data once; write what they hold.

    Prints a table and writes the profile, of which the other commands and stages learn.

    Example: headrace profile data/flights --target late --html flights.html
    """
    from headrace.data.storage import write_bytes

    measured = _profile(data, target, cluster)
    text = measured.to_json()
    write_bytes(output, text.encode())
    if html is not None:
        from headrace.report import render_profile

        write_bytes(html, render_profile(measured, title=data).encode())
    if json:
        say(text)
        return
    from headrace.cli.output import console
    from headrace.cli.tables import profile_tables

    screen = console()
    for part in profile_tables(measured, title=data):
        screen.print(part)
    say(f"profile: {output}" + (f", page: {html}" if html else ""))


def check(
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Parquet; the workflow's own when left out.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="PROFILE", help="A profile of the data that are known.")
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="FILE", help="A workflow whose expectations must hold."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="The column to predict.")
    ] = None,
    cluster: ClusterFlag = None,
    json: JsonFlag = False,
) -> None:
    """Check data; exit 1 when a check fails.

    By themselves, against a profile seen before, or against the expectations of a workflow.

    Example: headrace check data/new --against profile.json
    """
    report = _check(data, against, workflow, target, cluster)
    if json:
        print_json(report.to_dict())
    else:
        from headrace.cli.output import console
        from headrace.cli.tables import check_table

        console().print(check_table(report))
        say(report.summary())
    if report.status == "fail":
        raise typer.Exit(1)


def _check(
    data: str | None, against: str | None, workflow: str | None, target: str | None, cluster: str | None
) -> CheckReport:
    from headrace.errors import InputError
    from headrace.profiling.checks import check_against, check_profile

    if workflow is not None:
        if against is not None:
            raise InputError("--against and --workflow were both given", mend="give one of them")
        from headrace.workflow import load_workflow

        file = load_workflow(workflow)
        wanted = target or file.problem.target
        return check_profile(
            _profile(data or file.data.url, wanted, cluster, where=file.data.where),
            file.checks,
            target=wanted,
            task=file.problem.task,
            time=file.data.time,
            ignore=file.data.drop,
        )
    if data is None:
        raise InputError("no data given", where="check", mend="give DATA or --workflow FILE")
    if against is None:
        return check_profile(_profile(data, target, cluster), target=target)
    reference = _read_profile(against)
    from headrace.data.dataset import Dataset

    known = target or reference.target
    if known is not None and target is None and known not in Dataset(data).schema.names:
        known = None  # new data often come before the answers do
    return check_against(_profile(data, known, cluster), reference, target=known)


def _read_profile(path: str) -> Profile:
    from headrace.data.storage import exists, read_json
    from headrace.errors import InputError
    from headrace.profiling.profile import Profile

    if not exists(path):
        raise InputError(
            "no such file", where=path, mend="write it with: headrace profile DATA --output FILE"
        )
    try:
        return Profile.from_dict(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"is not a profile ({type(error).__name__})",
            where=path,
            mend="write it with: headrace profile DATA",
        ) from error


def _profile(url: str, target: str | None, cluster: str | None, where: str | None = None) -> Profile:
    from headrace.cli.progress import watching
    from headrace.exploring import profile as measure

    with watching() as subscriber:
        return measure(url, target, cluster=cluster, where=where, subscribers=[subscriber])
