"""Commands about data: sample, init, profile, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.output import ClusterFlag, JsonFlag, print_json, say

if TYPE_CHECKING:
    from headrace.data.dataset import Dataset
    from headrace.profiling.profile import Profile

DataArgument = Annotated[str, typer.Argument(metavar="DATA", help="Directory, glob, file or URL of Parquet.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (sample, init, profile, compare, datasheet):
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
    html: Annotated[
        str | None,
        typer.Option("--html", metavar="FILE", help="Also write a page, with pairs of columns and trends."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time", metavar="COL", help="Column that the page's trends follow; default: the first of times."
        ),
    ] = None,
    k_minimum: Annotated[
        int,
        typer.Option(
            "--k-minimum", metavar="K", min=1, help="Leave frequent values out that fewer rows hold."
        ),
    ] = 1,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow",
            metavar="FILE",
            help="Treat columns about persons as the pii: of this workflow says.",
        ),
    ] = None,
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
    from headrace.errors import InputError
    from headrace.profiling.privacy import hint, personal_columns
    from headrace.profiling.withholding import withhold

    seen: Dataset | str = data
    if workflow is not None:
        seen, fewest = _treated(data, workflow, cluster)
        k_minimum = max(k_minimum, fewest)
    if html is None:
        if time is not None:
            raise InputError("--time is of the page", where="profile", mend="give --html FILE too")
        whole = _profile(seen, target, cluster)
    else:
        from headrace.cli.progress import watching
        from headrace.exploring import explore
        from headrace.profiling.provenance import read_provenance
        from headrace.report import render_profile

        with watching() as subscriber:
            whole, explored = explore(seen, target, time=time, cluster=cluster, subscribers=[subscriber])
    personal = personal_columns(whole)
    measured = withhold({"all": whole}, whole, k_minimum)["all"]
    if html is not None:
        page = render_profile(measured, explored, title=data, provenance=read_provenance(data))
        write_bytes(html, page.encode())
    text = measured.to_json()
    write_bytes(output, text.encode())
    if personal:
        typer.echo(hint(personal), err=True)
    if json:
        say(text)
        return
    from headrace.cli.output import console
    from headrace.cli.tables import profile_tables

    screen = console()
    for part in profile_tables(measured, title=data):
        screen.print(part)
    say(f"profile: {output}" + (f", page: {html}" if html else ""))


def datasheet(
    data: DataArgument,
    answers: Annotated[
        str | None,
        typer.Option("--answers", metavar="FILE", help="YAML of what people say: purpose: ..., consent: ..."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="The column to predict.")
    ] = None,
    k_minimum: Annotated[
        int,
        typer.Option("--k-minimum", metavar="K", min=1, help="Name no frequent value that fewer rows hold."),
    ] = 10,
    cluster: ClusterFlag = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where the page goes.")
    ] = "datasheet.md",
    json: JsonFlag = False,
) -> None:
    """Write the data sheet of a dataset for a review.

    What it holds is measured; what only people know is asked, and shown as open where --answers does not say.

    Example: headrace datasheet data/flights --answers answers.yaml -o datasheet.md
    """
    from headrace.data.storage import write_bytes
    from headrace.optionfile import read_options
    from headrace.packaging.datasheet import DatasheetAnswers, describe_data, render_datasheet
    from headrace.profiling.provenance import read_provenance
    from headrace.profiling.withholding import withhold

    said = DatasheetAnswers() if answers is None else read_options(answers, DatasheetAnswers)
    whole = _profile(data, target, cluster)
    told = withhold({"all": whole}, whole, k_minimum)["all"]
    document = describe_data(told, said, name=data, provenance=read_provenance(data))
    write_bytes(output, render_datasheet(document).encode())
    if json:
        print_json(document)
    else:
        say(f"{output}: written; {document['open']} of {document['asked']} questions are open")


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Parquet, or a profile.json of data.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Parquet, or a profile.json of other data.")],
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="Also write a page.")] = None,
    cluster: ClusterFlag = None,
    json: JsonFlag = False,
) -> None:
    """Show two data sets side by side.

    Columns that came or went, missing shares, means, and how far each distribution moved.

    Example: headrace compare data/2012 data/2013 --html years.html
    """
    from headrace.cli.checks import read_profile
    from headrace.data.storage import write_bytes
    from headrace.profiling.comparison import compare as side_by_side

    left, right = (
        read_profile(path) if path.endswith(".json") else _profile(path, None, cluster) for path in (a, b)
    )
    document = side_by_side(left, right).to_dict()
    if html is not None:
        from headrace.report.comparison import render_comparison

        write_bytes(html, render_comparison(left, right, names=(a, b)).encode())
    if json:
        print_json(document)
        return
    from headrace.cli.output import console
    from headrace.cli.tables import comparison_table

    console().print(comparison_table(document))
    say(f"A: {left.rows:,} rows, B: {right.rows:,} rows" + (f", page: {html}" if html else ""))


def _profile(data: Dataset | str, target: str | None, cluster: str | None) -> Profile:
    from headrace.cli.progress import watching
    from headrace.exploring import survey

    with watching() as subscriber:
        return survey(data, target, cluster=cluster, subscribers=[subscriber]).whole


def _treated(url: str, workflow: str, cluster: str | None) -> tuple[Dataset, int]:
    """Open data with the columns about persons as a workflow has them treated; and its `k_minimum`."""
    from headrace.cluster.config import default_cluster, load_cluster
    from headrace.data.dataset import Dataset
    from headrace.data.pii import PiiOptions, find_treatments
    from headrace.workflow import load_workflow

    options = load_workflow(workflow).pii or PiiOptions(k_minimum=1)
    settings = default_cluster() if cluster is None else load_cluster(cluster)
    dataset = Dataset(url, memory=settings.memory_bytes)
    return dataset.treated(find_treatments(options)), options.k_minimum
