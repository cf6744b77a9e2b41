"""Commands about jobs: submit, jobs list, status, logs, cancel, wait, resume."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import JsonFlag, duration, print_json, say, size
from headrace.errors import HeadraceError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.cluster.jobs import Heartbeat, Job
    from headrace.engine.events import Subscriber

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or its run directory.")]
RunsFlag = Annotated[str, typer.Option("--runs", metavar="DIR", help="Where runs are, when JOB is an id.")]
POLL_SECONDS = 1.0


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(submit)
    group = typer.Typer(
        help="Runs that were submitted.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    commands: dict[str, Callable[..., None]] = {
        "list": list_,
        "status": status,
        "logs": logs,
        "wait": wait,
        "cancel": cancel,
        "resume": resume,
    }
    for name, command in commands.items():
        group.command(name)(command)
    group.command("lead", hidden=True)(lead)
    app.add_typer(group, name="jobs")


def submit(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="A workflow file (YAML).")],
    cluster: Annotated[str, typer.Option("--cluster", metavar="FILE", help="Cluster file.")],
    directory: Annotated[
        str | None, typer.Option("--run", metavar="DIR", help="The run's directory; default: runs/ID.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="A new job, although the same was submitted before.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Run a workflow without waiting for it: print its id and return.

    The run is led where its cluster is; this machine may be turned off, unless it is the cluster.

    Example: headrace submit examples/flights/workflow.yaml --cluster cluster/laptop.yaml
    """
    from headrace.cluster import jobs, starting
    from headrace.cluster.config import cluster_of
    from headrace.cluster.layers import read_layers
    from headrace.data.storage import exists, join
    from headrace.runs import Workflow

    asked = Workflow.load(workflow)
    layers = read_layers(cluster)
    place = cluster_of(layers, name=cluster)
    text = layers.to_yaml()
    name, digest = jobs.job_id(asked.options.problem.name, asked.text, text)
    if directory is not None and again:
        raise InputError("goes without --run", where="--again", mend="give --run another directory")
    base = url = _absolute(directory or join("runs", name))
    number = 1
    while again and exists(join(url, jobs.FOLDER, "job.json")):
        number += 1
        url = f"{base}-{number}"
    starting.require_place(place, url)
    job = jobs.Job(
        id=name if number == 1 else f"{name}-{number}",
        url=url,
        digest=digest,
        kind=str(getattr(place, "kind", "")),
        submitted=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if not exists(join(url, jobs.FOLDER, "job.json")):
        starting.require_reachable(place)
    if jobs.record(job, asked.text, text):
        try:
            job = jobs.locate(job, starting.start(job, place))
        except HeadraceError:
            jobs.withdraw(job)
            raise
        news = job.place["what"]
    else:
        job = jobs.read_job(url)
        news = f"submitted before, {jobs.status(job)[0]}; --again makes a new one"
    if json:
        print_json({"id": job.id, "run": job.url, "place": job.place.get("what", "")})
    else:
        say(job.id)
        typer.echo(f"{news}; follow it: headrace jobs logs -f {job.url if directory else job.id}", err=True)


def list_(
    runs: Annotated[str, typer.Argument(metavar="DIR", help="Where runs are.")] = "runs",
    json: JsonFlag = False,
) -> None:
    """List the jobs of a directory of runs.

    Example: headrace jobs list
    """
    from headrace.cluster import jobs

    found = [(job, *jobs.status(job, watch=False)) for job in jobs.list_jobs(runs)]
    if json:
        print_json([_document(*each) for each in found])
        return
    for job, state, heartbeat in found:
        say(f"{job.id:<32} {state:<10} {job.submitted:<26} {job.kind:<10} {_progress(heartbeat)}".rstrip())


def status(job: JobArgument, runs: RunsFlag = "runs", json: JsonFlag = False) -> None:
    """Say how far a job is: stage, rows, rate, time left, memory of its workers.

    Example: headrace jobs status flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs

    found = jobs.find_job(job, runs)
    state, heartbeat = jobs.status(found)
    if json:
        print_json(_document(found, state, heartbeat))
        return
    say(f"job        {found.id}, submitted {found.submitted}")
    say(f"state      {state}")
    say(f"where      {found.kind}: {found.place.get('what', 'not started yet')}")
    if heartbeat is not None:
        say(f"stage      {_progress(heartbeat)}")
        for worker, peak in sorted(heartbeat.memory.items()):
            say(f"memory     {size(peak)} at most on {worker}")
        if heartbeat.dashboard != "off":
            say(f"dashboard  http://{heartbeat.dashboard}/status")
        if heartbeat.error:
            say(f"error      {heartbeat.error}")
    say(f"run        {found.url}")
    if state in jobs.NEEDS_RESUME:
        say(f"go on      headrace jobs resume {job}")


def logs(
    job: JobArgument,
    runs: RunsFlag = "runs",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends.")] = False,
) -> None:
    """Print what the coordinator of a job has told.

    Example: headrace jobs logs -f flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs

    found = jobs.find_job(job, runs)
    patience = jobs.Patience(found)
    place = (0, 0)
    while True:
        # asked before the log is read: what was written before the end is then in it
        over = not follow or patience.is_over(jobs.status(found)[0])
        for text, after in jobs.read_log(found.url, place):
            typer.echo(text, nl=False)
            place = after
        if over:
            return
        time.sleep(POLL_SECONDS)


def wait(
    job: JobArgument,
    runs: RunsFlag = "runs",
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Wait no longer.", min=0)
    ] = None,
) -> None:
    """Wait until a job has ended: exit 0 when it passed, else 1.

    Example: headrace jobs wait flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs

    found = jobs.find_job(job, runs)
    patience = jobs.Patience(found)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        state, heartbeat = jobs.status(found)
        if patience.is_over(state):
            break
        if end is not None and time.monotonic() >= end:
            break
        time.sleep(POLL_SECONDS)
    error = heartbeat.error if heartbeat is not None else ""
    say(f"{found.id} {state}: {error}" if error else f"{found.id} {state}")
    if state in jobs.NEEDS_RESUME:
        say(f"its coordinator is gone, and nothing else is lost; go on: headrace jobs resume {job}")
    if state != "passed":
        raise typer.Exit(1)


def cancel(job: JobArgument, runs: RunsFlag = "runs") -> None:
    """Ask a job to end; what it did is kept, and it can be resumed.

    Example: headrace jobs cancel flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs

    found = jobs.find_job(job, runs)
    state, _ = jobs.status(found)
    if state in {*jobs.ENDED, *jobs.NEEDS_RESUME}:
        raise InputError(f"is not running, it is {state}", where=found.id)
    jobs.request_cancel(found)
    say(f"{found.id} cancelling")


def resume(job: JobArgument, runs: RunsFlag = "runs") -> None:
    """Go on with a job that was cancelled, has failed, or whose coordinator is gone.

    Example: headrace jobs resume flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs, starting
    from headrace.cluster.config import load_cluster

    found = jobs.find_job(job, runs)
    state, _ = jobs.status(found)
    if state not in {"failed", "cancelled", *jobs.NEEDS_RESUME}:
        raise InputError(f"is {state}", where=found.id, mend="there is nothing to resume")
    cluster = load_cluster(found.cluster)
    starting.require_reachable(cluster)
    jobs.forget_cancel(found)
    jobs.forget_heartbeat(found)
    found = jobs.locate(found, starting.start(found, cluster))
    say(f"{found.id} resumed, {found.place['what']}")


def lead(url: str) -> None:
    """Lead the job of a run directory in this process; what `submit` starts where the cluster is."""
    from headrace.cli.progress import PlainLines
    from headrace.cluster.config import load_cluster
    from headrace.cluster.coordinator import begun
    from headrace.cluster.coordinator import lead as lead_it
    from headrace.cluster.jobs import read_job
    from headrace.runs import Workflow

    job = read_job(url)

    def work(subscribers: Sequence[Subscriber]) -> bool:
        cluster = load_cluster(job.cluster)
        if begun(url):
            return Workflow.resume(url, cluster=cluster, subscribers=subscribers).passed
        asked = Workflow.load(job.workflow)
        return asked.run(cluster=cluster, run_dir=url, subscribers=subscribers).passed

    # A pod or job that ends with 0 is not started again: one that waits for a resume must be.
    if lead_it(job, work, PlainLines) == "stopped":
        raise typer.Exit(1)


def _absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).resolve())


def _document(job: Job, state: str, heartbeat: Heartbeat | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": state,
        "kind": job.kind,
        "submitted": job.submitted,
        "place": job.place.get("what", ""),
        "run": job.url,
        "heartbeat": None if heartbeat is None else asdict(heartbeat),
    }


def _progress(heartbeat: Heartbeat | None) -> str:
    if heartbeat is None:
        return ""
    if heartbeat.state != "running" or not heartbeat.rows_planned:
        return heartbeat.stage
    return (
        f"{heartbeat.stage}: {heartbeat.rows:,} of {heartbeat.rows_planned:,} rows, "
        f"{heartbeat.bytes_per_second / 1e6:.1f} MB/s, {duration(heartbeat.seconds_left)} left in this pass"
    )
