"""Commands about jobs: submit, jobs list, status, logs, cancel, wait, resume."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import JsonFlag, duration, print_json, say, size
from headrace.errors import HeadraceError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from headrace.cluster.jobs import Heartbeat, Job
    from headrace.engine.events import Subscriber

    Found = tuple[Job, str, Heartbeat | None]

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job or of an array, or the run directory.")
]
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
    each: Annotated[
        str | None,
        typer.Option(
            "--each", metavar="FILE", help="A job for each entry of this YAML file of changed keys."
        ),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="DIR",
            help="The run's directory; default: runs/ID. With --each DIR_1, DIR_2, ...",
        ),
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
    from headrace.cluster import arrays, jobs, starting
    from headrace.cluster.config import cluster_of
    from headrace.cluster.layers import read_layers
    from headrace.data.storage import join
    from headrace.runs import Workflow

    asked = Workflow.load(workflow)
    layers = read_layers(cluster)
    place = cluster_of(layers, name=cluster)
    file = layers.to_yaml()
    if each is None:
        members = [arrays.Member("", {}, asked.text)]
    else:
        members = arrays.read_members(each, asked.text, name=workflow)
    name, digest = jobs.job_id(asked.options.problem.name, *(one.workflow for one in members), file)
    if directory is not None and again:
        raise InputError("goes without --run", where="--again", mend="give --run another directory")
    base, url, number = name, _absolute(directory or join("runs", name)), 1
    while again and jobs.is_job(url + members[0].suffix):
        number += 1
        name = f"{base}-{number}"
        url = _absolute(join("runs", name))
    first = jobs.Job(
        id=name,
        url=url,
        digest=digest,
        kind=str(getattr(place, "kind", "")),
        submitted=datetime.now(UTC).isoformat(timespec="seconds"),
        array="" if each is None else name,
    )
    wanted = [
        replace(first, id=name + one.suffix, url=url + one.suffix, parameters=one.parameters)
        for one in members
    ]
    begun = starting.submit(
        [(job, one.workflow) for job, one in zip(wanted, members, strict=True)], file, place
    )
    found = [jobs.read_job(job.url) for job in wanted]
    told = [{"id": job.id, "run": job.url, "place": job.place.get("what", "")} for job in found]
    if json:
        print_json(told[0] if each is None else {"id": name, "run": url, "jobs": told})
        return
    say(name)
    states = _counted(jobs.status(job)[0] for job in found) if not begun else ""
    news = begun[0].place["what"] if begun else f"submitted before, {states}; --again makes a new one"
    follow = "list" if each is not None else f"logs -f {url if directory else name}"
    count = "" if each is None else f"{len(found)} jobs, "
    typer.echo(f"{count}{news}; follow it: headrace jobs {follow}", err=True)


def list_(
    runs: Annotated[str, typer.Argument(metavar="DIR", help="Where runs are.")] = "runs",
    json: JsonFlag = False,
) -> None:
    """List the jobs of a directory of runs; those of an array stand below it with their parameters.

    Example: headrace jobs list
    """
    from headrace.cluster import jobs

    found = jobs.states(jobs.list_jobs(runs))
    if json:
        print_json([_document(*each) for each in found])
    else:
        _print_table(found)


def status(job: JobArgument, runs: RunsFlag = "runs", json: JsonFlag = False) -> None:
    """Say how far a job is: stage, rows, rate, time left, memory of its workers; an array is listed.

    Example: headrace jobs status flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs

    every = jobs.states(jobs.find_jobs(job, runs))
    found, state, heartbeat = every[0]
    several = not found.url.endswith(job.rstrip("/"))  # it is the first of an array
    if json:
        documents = [_document(*each) for each in every]
        print_json(documents if several else documents[0])
        return
    if several:
        _print_table(every)
        return
    say(f"job        {found.id}, submitted {found.submitted}")
    if found.parameters:
        say(f"varied     {_parameters(found)}")
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

    found, *others = jobs.find_jobs(job, runs)
    if others:
        raise InputError(
            f"is an array of {1 + len(others)} jobs", where=job, mend=f"name one, such as {found.id}"
        )
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
    """Wait until a job, or each of an array, has ended: exit 0 when all passed, else 1.

    Example: headrace jobs wait flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs

    end = math.inf if timeout is None else time.monotonic() + timeout
    states, gone = [], set()
    for found in jobs.find_jobs(job, runs):
        patience = jobs.Patience(found)
        while True:
            state, heartbeat = jobs.status(found)
            if state == "waiting" and found.leader in gone:
                state = "lost"
            if patience.is_over(state) or time.monotonic() >= end:
                break
            time.sleep(POLL_SECONDS)
        error = heartbeat.error if heartbeat is not None else ""
        say(f"{found.id} {state}: {error}" if error else f"{found.id} {state}")
        states.append(state)
        if state in jobs.NEEDS_RESUME:
            gone.add(found.leader)
    if not {*states}.isdisjoint(jobs.NEEDS_RESUME):
        say(f"its coordinator is gone, and nothing else is lost; go on: headrace jobs resume {job}")
    if {*states} != {"passed"}:
        raise typer.Exit(1)


def cancel(job: JobArgument, runs: RunsFlag = "runs") -> None:
    """Ask a job, or each of an array, to end; what it did is kept, and it can be resumed.

    Example: headrace jobs cancel flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs

    every = jobs.states(jobs.find_jobs(job, runs))
    running = [found for found, state, _ in every if state not in {*jobs.ENDED, *jobs.NEEDS_RESUME}]
    if not running:
        raise InputError(f"is not running, it is {_counted(state for _, state, _ in every)}", where=job)
    # the last first, so that none begins because the one before it has ended
    for found in reversed(running):
        jobs.request_cancel(found)
    for found in running:
        say(f"{found.id} cancelling")


def resume(job: JobArgument, runs: RunsFlag = "runs") -> None:
    """Go on with a job that was cancelled, has failed, or whose coordinator is gone; of an array, with all of these.

    Example: headrace jobs resume flights-1a2b3c4d5e
    """
    from headrace.cluster import jobs, starting
    from headrace.cluster.config import load_cluster

    every = jobs.states(jobs.find_jobs(job, runs))
    ended = [found for found, state, _ in every if state in {"failed", "cancelled", *jobs.NEEDS_RESUME}]
    if not ended:
        raise InputError(
            f"is {_counted(state for _, state, _ in every)}", where=job, mend="there is nothing to resume"
        )
    cluster = load_cluster(ended[0].cluster)
    starting.require_reachable(cluster)
    for found in ended:
        jobs.forget_cancel(found)
        jobs.forget_heartbeat(found)
    for found, place in starting.start(ended, cluster):
        say(f"{found.id} resumed, {jobs.locate(found, place).place['what']}")


def lead(urls: list[str]) -> None:
    """Lead the jobs of run directories in this process, one after the other; what `submit` starts where the cluster is."""
    from headrace.cli.progress import PlainLines
    from headrace.cluster.config import load_cluster
    from headrace.cluster.coordinator import AGAIN, begun
    from headrace.cluster.coordinator import lead as lead_it
    from headrace.cluster.jobs import read_job
    from headrace.runs import Workflow

    url, *later = urls

    def work(subscribers: Sequence[Subscriber]) -> bool:
        cluster = load_cluster(job.cluster)
        if begun(url):
            return Workflow.resume(url, cluster=cluster, subscribers=subscribers).passed
        asked = Workflow.load(job.workflow)
        return asked.run(cluster=cluster, run_dir=url, subscribers=subscribers).passed

    try:
        job = read_job(url)
        code = lead_it(job, work, PlainLines)
    except HeadraceError as error:
        # The store is silent, or a coordinator that was given up still works: not for good, whatever the code of the error.
        typer.echo(f"headrace: {error}", err=True)
        raise typer.Exit(AGAIN) from None
    if later and code != AGAIN:
        # The same process to those who watch it, with the memory of a new one.
        os.execv(sys.executable, [sys.executable, "-m", "headrace", "jobs", "lead", *later])  # noqa: S606 - this very program
    raise typer.Exit(code)


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
        "array": job.array,
        "parameters": job.parameters,
        "heartbeat": None if heartbeat is None else asdict(heartbeat),
    }


def _print_table(found: Sequence[Found]) -> None:
    groups: dict[str, list[Found]] = {}
    for each in found:
        groups.setdefault(each[0].array or each[0].id, []).append(each)
    for name, group in groups.items():
        array = group[0][0].array
        if array:
            say(f"{name:<32} {len(group)} jobs: {_counted(state for _, state, _ in group)}")
        for job, state, heartbeat in group:
            shown = f"  {job.id}" if array else job.id
            line = f"{shown:<32} {state:<10} {job.submitted:<26} {job.kind:<10} "
            say("  ".join(filter(None, (line, _parameters(job), _progress(heartbeat)))).rstrip())


def _counted(states: Iterable[str]) -> str:
    """Say one state by its name, several with how often each occurs."""
    counts = Counter(states)
    if counts.total() == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _parameters(job: Job) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else dumps(value)}" for key, value in job.parameters.items()
    )


def _progress(heartbeat: Heartbeat | None) -> str:
    if heartbeat is None:
        return ""
    if heartbeat.state != "running" or not heartbeat.rows_planned:
        return heartbeat.stage
    return (
        f"{heartbeat.stage}: {heartbeat.rows:,} of {heartbeat.rows_planned:,} rows, "
        f"{heartbeat.bytes_per_second / 1e6:.1f} MB/s, {duration(heartbeat.seconds_left)} left in this pass"
    )
