"""The command `check`: data against themselves, a workflow, a file of expectations, or a profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import ClusterFlag, JsonFlag, print_json, say

if TYPE_CHECKING:
    from headrace.data.dataset import Dataset
    from headrace.profiling.checks import CheckReport
    from headrace.profiling.expectations import CheckOptions
    from headrace.profiling.profile import Profile
    from headrace.profiling.survey import Survey


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(check)


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
    expectations: Annotated[
        str | None,
        typer.Option("--expectations", metavar="FILE", help="A file of expectations that must hold."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="The column to predict.")
    ] = None,
    write_expectations: Annotated[
        str | None,
        typer.Option("--write-expectations", metavar="FILE", help="Write what these data suggest; no more."),
    ] = None,
    export_violations: Annotated[
        str | None,
        typer.Option(
            "--export-violations",
            metavar="DIR",
            help="Write the rows that break something, by one more pass.",
        ),
    ] = None,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Do not mask what tells about persons in exported rows.")
    ] = False,
    cluster: ClusterFlag = None,
    json: JsonFlag = False,
) -> None:
    """Check data; exit 1 when a check fails.

    By themselves, against a profile seen before, or against the expectations of a workflow or a file.

    Example: headrace check data/new --against profile.json
    """
    from headrace.profiling.privacy import hint, personal_columns

    given = _given(data, against, workflow, expectations, target, cluster)
    if write_expectations is not None:
        _suggest(given, write_expectations, cluster, json=json)
        return
    if export_violations is not None:
        _require_new(export_violations)
    survey = _survey(given, cluster)
    report = _report(given, survey)
    personal = personal_columns(survey.whole, given.options.pii)
    document = {**report.to_dict(), "personal": personal}
    if export_violations is not None:
        document["violations"] = _export(given, survey, report, export_violations, cluster, unmasked=unmasked)
    if json:
        print_json(document)
    else:
        from headrace.cli.output import console
        from headrace.cli.tables import check_table, dimension_table

        console().print(check_table(report))
        console().print(dimension_table(report))
        say(report.summary())
        if personal:
            say(hint(personal))
        if export_violations is not None:
            found = document["violations"]
            masks = ", ".join(f"{name} ({why})" for name, why in found["masked"].items())
            say(
                f"violations: {found['rows']:,} rows in {export_violations}"
                + (f"; masked: {masks}" if masks else "")
            )
            for name, told in found["cut"].items():
                say(f"violations of {name!r} are cut: {told}; rows with the others are left out")
    if report.status == "fail":
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Given:
    """What is checked, and by what."""

    dataset: Dataset
    options: CheckOptions
    target: str | None
    task: str | None = None
    time: str | None = None
    ignore: tuple[str, ...] = ()
    reference: Profile | None = None


def _given(
    data: str | None,
    against: str | None,
    workflow: str | None,
    expectations: str | None,
    target: str | None,
    cluster: str | None,
) -> _Given:
    from headrace.data.dataset import Dataset
    from headrace.errors import InputError
    from headrace.optionfile import read_options
    from headrace.profiling.expectations import CheckOptions, ExpectationFile

    def opened(url: str, where: str | None = None) -> Dataset:
        from headrace.cluster.config import default_cluster, load_cluster

        settings = load_cluster(cluster) if cluster is not None else default_cluster()
        return Dataset(url, memory=settings.memory_bytes, where=where)

    flags = {"--against": against, "--workflow": workflow, "--expectations": expectations}
    several = [name for name, value in flags.items() if value is not None]
    if len(several) > 1:
        raise InputError(f"{' and '.join(several)} were both given", mend="give one of them")
    if workflow is not None:
        from headrace.data.pii import find_treatments
        from headrace.workflow import load_workflow

        file = load_workflow(workflow)
        dataset = opened(data or file.data.url, file.data.where).treated(find_treatments(file.pii))
        wanted = target or file.problem.target
        return _Given(dataset, file.checks, wanted, file.problem.task, file.data.time, tuple(file.data.drop))
    if data is None:
        raise InputError("no data given", where="check", mend="give DATA or --workflow FILE")
    dataset = opened(data)
    if expectations is not None:
        return _Given(dataset, read_options(expectations, ExpectationFile).checks, target)
    if against is None:
        return _Given(dataset, CheckOptions(), target)
    reference = read_profile(against)
    known = target or reference.target
    if known is not None and target is None and known not in dataset.schema.names:
        known = None  # new data often come before the answers do
    return _Given(dataset, CheckOptions(), known, reference=reference)


def _survey(given: _Given, cluster: str | None) -> Survey:
    from headrace.cli.progress import watching
    from headrace.exploring import survey
    from headrace.profiling.findings import check_finders

    finders = check_finders(given.options, given.dataset.schema)
    with watching() as subscriber:
        return survey(given.dataset, given.target, finders=finders, cluster=cluster, subscribers=[subscriber])


def _report(given: _Given, survey: Survey) -> CheckReport:
    from headrace.profiling.checks import check_against, check_profile
    from headrace.profiling.provenance import read_provenance

    provenance = read_provenance(given.dataset.url)
    if given.reference is not None:
        return check_against(
            survey.whole,
            given.reference,
            target=given.target,
            findings=survey.findings,
            provenance=provenance,
        )
    return check_profile(
        survey.whole,
        given.options,
        target=given.target,
        task=given.task,
        time=given.time,
        ignore=given.ignore,
        findings=survey.findings,
        provenance=provenance,
    )


def _suggest(given: _Given, path: str, cluster: str | None, *, json: bool) -> None:
    from headrace.cli.progress import watching
    from headrace.data.storage import exists, write_bytes
    from headrace.errors import InputError
    from headrace.exploring import profile
    from headrace.profiling.suggestions import expectations_text

    if exists(path):
        raise InputError("exists already", where=path, mend="give another --write-expectations")
    with watching() as subscriber:
        measured = profile(given.dataset, given.target, cluster=cluster, subscribers=[subscriber])
    write_bytes(path, expectations_text(measured, source=given.dataset.url).encode())
    if json:
        print_json({"expectations": path, "data": given.dataset.url, "rows": measured.rows})
    else:
        say(f"{path}: written; read it, then: headrace check DATA --expectations {path}")


def _require_new(url: str) -> None:
    from headrace.data.storage import list_names
    from headrace.errors import InputError

    if list_names(url):
        raise InputError("is not empty", where=url, mend="name a new directory for the rows")


def _export(
    given: _Given, survey: Survey, report: CheckReport, url: str, cluster: str | None, *, unmasked: bool
) -> dict[str, Any]:
    from headrace.cli.progress import watching
    from headrace.exploring import write_violations
    from headrace.profiling.privacy import personal_columns
    from headrace.profiling.violations import violations_of

    failed = {(each.name, each.column) for each in report.having("fail")}
    violations = violations_of(given.options, given.dataset.schema, survey.findings, failed)
    personal = None if unmasked else personal_columns(survey.whole, given.options.pii)
    with watching() as subscriber:
        exported = write_violations(
            given.dataset, violations, url, personal=personal, cluster=cluster, subscribers=[subscriber]
        )
    return {
        "directory": url,
        "rows": exported.rows,
        "files": exported.files,
        "masked": personal or {},
        "cut": dict(violations.cut),
    }


def read_profile(path: str) -> Profile:
    """Read a profile that a command wrote; say so in one line when it is none."""
    from headrace.data.storage import exists, read_json
    from headrace.errors import InputError
    from headrace.profiling.profile import Profile

    if not exists(path):
        raise InputError(
            "no such file", where=path, mend="write it with: headrace profile DATA --output FILE"
        )
    try:
        return Profile.from_dict(read_json(path), where=path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"is not a profile ({type(error).__name__})",
            where=path,
            mend="write it with: headrace profile DATA",
        ) from error
