"""Commands about runs: plan, run, schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import ClusterFlag, JsonFlag, duration, print_json, say, size
from headrace.errors import InputError

if TYPE_CHECKING:
    from headrace.cluster.workers import Workers

WorkflowArgument = Annotated[str, typer.Argument(metavar="WORKFLOW", help="A workflow file (YAML).")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (plan, run, schema):
        app.command()(command)


def plan(
    workflow: WorkflowArgument,
    cluster: ClusterFlag = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Read one chunk and expect times from it.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Say what a run will read and need.

    Passes, chunks, bytes and memory, from the files' footers alone.

    Example: headrace plan examples/flights/workflow.yaml
    """
    from headrace.runs import Workflow

    document = Workflow.load(workflow).plan(cluster=_cluster(cluster), calibrate=calibrate).to_dict()
    if json:
        print_json(document)
        return
    from headrace.cli.output import console
    from headrace.cli.tables import plan_table

    console().print(plan_table(document))
    say(
        f"{document['rows']:,} rows, {len(document['columns'])} columns, {document['chunks']} chunks, "
        f"{document['workers']} workers"
    )
    say(
        f"memory of each worker: {size(document['memory_projected'])} projected, "
        f"{size(document['memory_budget'])} allowed"
    )
    say(f"memory of the process that leads the run: {size(document['memory_leading'])} projected")
    if calibrate:
        say(
            "times are estimates from one chunk, read here in one thread; starting workers and scoring come on top"
        )
    for note in document.get("notes", ()):
        say(f"note: {note}")


def run(
    workflow: Annotated[
        str | None, typer.Argument(metavar="WORKFLOW", help="A workflow file (YAML); none with --resume.")
    ] = None,
    cluster: ClusterFlag = None,
    directory: Annotated[
        str | None, typer.Option("--run", metavar="DIR", help="The run's directory; default: runs/NAME-TIME.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with the run in this directory.")
    ] = None,
    more_candidates: Annotated[
        int | None,
        typer.Option(
            "--more-candidates", metavar="N", help="With --resume: add so many to the run's search.", min=1
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="In place of the workflow's.", min=0)
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Run a workflow, from data to a model.

    Profile, check, prepare, train, evaluate, publish, report; exit 1 when a success criterion is missed.

    Example: headrace run examples/flights/workflow.yaml --cluster cluster/laptop.yaml
    """
    from headrace.cli.progress import watching
    from headrace.runs import Workflow

    if resume is not None:
        _refuse_beside_resume({"WORKFLOW": workflow, "--run": directory, "--seed": seed})
        with watching() as subscriber:
            result = Workflow.resume(
                resume,
                cluster=_cluster(cluster),
                subscribers=[subscriber],
                more_candidates=more_candidates or 0,
            )
    else:
        if more_candidates is not None:
            raise InputError(
                "goes together with --resume", where="--more-candidates", mend="name the run by --resume"
            )
        if workflow is None:
            raise InputError(
                "is missing", where="WORKFLOW", mend="name a workflow file, or a run by --resume"
            )
        job = Workflow.load(workflow)
        if seed is not None:
            job = job.with_seed(seed)
        with watching() as subscriber:
            result = job.run(cluster=_cluster(cluster), run_dir=directory, subscribers=[subscriber])
    from headrace.cli.output import console
    from headrace.cli.tables import leaderboard_table
    from headrace.data.storage import join, read_json

    if json:
        print_json({**result.run, "directory": result.directory, "passed": result.passed})
    else:
        board = read_json(join(result.directory, "leaderboard.json"))
        if len(board["rows"]) > 1:
            console().print(leaderboard_table(board))
        for line in ending(result.run, result.directory, _baseline(result.directory), passed=result.passed):
            say(line)
    if not result.passed:
        raise typer.Exit(1)


def _refuse_beside_resume(given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(
                "does not go together with --resume",
                where=name,
                mend="leave it out: the run goes on with what it began with",
            )


def schema() -> None:
    """Print the JSON Schema of a workflow file.

    For editors that complete and check YAML.

    Example: headrace schema > workflow.schema.json
    """
    from headrace.workflow import workflow_schema

    print_json(workflow_schema())


def _cluster(path: str | None) -> Workers | None:
    from headrace.cluster.config import load_cluster

    return None if path is None else load_cluster(path)


def _baseline(directory: str) -> dict[str, Any]:
    """Read the metrics of the dummy from the run's documents."""
    from headrace.data.storage import exists, join, read_json

    path = join(directory, "metrics.json")
    baseline = read_json(path).get("baseline") if exists(path) else None
    metrics: dict[str, Any] = (baseline or {}).get("metrics", {})
    return metrics


def ending(document: dict[str, Any], directory: str, baseline: dict[str, Any], *, passed: bool) -> list[str]:
    """Write the last lines of a run: verdict, best candidate, its figures, and where everything is.

    Parameters
    ----------
    document : dict
        ``run.json``.
    directory : str
        Where the run wrote.
    baseline : dict
        Metrics of the dummy, by name.
    passed : bool
        Whether all success criteria are met.
    """
    best = document.get("best", {})
    metrics = best.get("metrics", {})
    criteria = document.get("success", [])
    verdict = (
        ("passed" if passed else "MISSED ITS GOAL") if criteria else "done, no success criterion was set"
    )
    lines = ["", f"verdict    {verdict}"]
    for criterion in criteria:
        bound = (
            f"at least {criterion['at_least']}"
            if "at_least" in criterion
            else f"at most {criterion['at_most']}"
        )
        value = criterion["value"]
        reached = "undefined here" if value is None else f"{value:.4f}"
        lines.append(
            f"           {criterion['metric']} {reached}, wanted {bound}: {'met' if criterion['met'] else 'missed'}"
        )
    lines.append(f"best       {best.get('candidate')} ({best.get('estimator')}), epoch {best.get('epoch')}")
    shown = list(dict.fromkeys([*(criterion["metric"] for criterion in criteria), best.get("metric")]))
    for name in shown:
        if name in metrics:
            against = baseline.get(name, {}).get("value")
            beside = "" if against is None else f", baseline {against:.4f}"
            lines.append(f"           {name} {_estimate(metrics[name])}{beside}")
    stages = sum(document.get("seconds", {}).values())
    passes = document.get("data_passes", {})
    workers = document.get("peak_rss_bytes", {}).get("workers", {})
    read = (
        f"read       {document.get('rows', 0):,} rows in {passes.get('done')} passes of at most {passes.get('planned')}, "
        f"{size(document.get('bytes_read', 0))}, {duration(stages)}, "
        f"at most {size(max(workers.values(), default=0))} a worker"
    )
    sha = str(document.get("model_sha256"))[:16]
    lines += [
        f"model      {document.get('model')} in {document.get('registry')}, sha256 {sha}",
        read,
        f"run        {directory}",
        f"report     {directory.rstrip('/')}/report.html",
    ]
    return lines


def _estimate(estimate: dict[str, Any]) -> str:
    value, low, high = (estimate.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f} (95 % {low:.4f} to {high:.4f})"
