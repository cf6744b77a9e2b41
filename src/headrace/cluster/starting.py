"""Where the coordinator of a job lives: a process that outlives its parent, over SSH, a job of Slurm, a pod."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cluster.address import AddressCluster
from headrace.cluster.detached import start_detached
from headrace.cluster.jobqueue import SlurmCluster, clock
from headrace.cluster.jobs import FOLDER, is_job, locate, record, withdraw
from headrace.cluster.kubernetes import KubernetesCluster, coordinator_object
from headrace.cluster.ssh import SshCluster, require_asyncssh, run_there
from headrace.data.storage import join, write_bytes
from headrace.errors import HeadraceError, InputError, MissingExtraError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.cluster.jobs import Job
    from headrace.cluster.workers import Workers


def require_reachable(cluster: Workers) -> None:
    """Look whether the scheduler of an address answers, before a job is made of it.

    Raises
    ------
    RunError
        When it does not, or its workers have other versions.
    """
    if isinstance(cluster, AddressCluster):
        with cluster.connect():
            pass


def require_place(cluster: Workers, url: str) -> None:
    """Refuse a run directory that the coordinator could not see.

    Raises
    ------
    InputError
        For a path of this machine, when the coordinator is a pod.
    """
    if isinstance(cluster, KubernetesCluster) and "://" not in url:
        raise InputError(
            "is a directory of this machine, and the coordinator is a pod",
            where=url,
            mend="give a URL: --run s3://BUCKET/runs/NAME",
        )


def submit(wanted: Sequence[tuple[Job, str]], file: str, cluster: Workers) -> list[Job]:
    """Record jobs in their run directories and start their coordinators, but for those that were submitted before.

    Parameters
    ----------
    wanted : sequence of (Job, str)
        Each with its workflow.
    file : str
        The cluster file, which all have in common.
    cluster : Workers
        The same, read.

    Returns
    -------
    list of Job
        Those that are new. When one cannot be started, those that were not are withdrawn and its error is raised.

    Raises
    ------
    InputError
        When the coordinator could not see a run directory, or one holds something else.
    RunError
        When a coordinator cannot be started.
    """
    for job, _ in wanted:
        require_place(cluster, job.url)
    if not all(is_job(job.url) for job, _ in wanted):
        require_reachable(cluster)
    begun, left = [], []
    try:
        for job, workflow in wanted:
            if record(job, workflow, file):
                left.append(job)
        for job, place in start(tuple(left), cluster):
            begun.append(locate(job, place))
            left.remove(job)
    except HeadraceError:
        for job in left:
            withdraw(job)
        raise
    return begun


def start(jobs: Sequence[Job], cluster: Workers) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Start the coordinators of jobs: Slurm and Kubernetes queue each; elsewhere one process leads one after the other.

    Yields
    ------
    job : Job
    place : dict
        Where its coordinator is, for people and for `headrace.cluster.jobs.status`.

    Raises
    ------
    RunError
        When one cannot be started; those that were given before are.
    """
    if isinstance(cluster, SlurmCluster):
        yield from ((job, _in_slurm(job, cluster)) for job in jobs)
    elif isinstance(cluster, KubernetesCluster):
        yield from ((job, _in_kubernetes(job, cluster)) for job in jobs)
    elif jobs:
        place = _over_ssh(jobs, cluster) if isinstance(cluster, SshCluster) else _beside(jobs)
        yield from ((job, place) for job in jobs)


def _command(jobs: Sequence[Job], python: str) -> list[str]:
    return [python, "-m", "headrace", "jobs", "lead", *(job.url for job in jobs)]


def _beside(jobs: Sequence[Job]) -> dict[str, Any]:
    """Start a process of this machine that outlives this one and its terminal."""
    # What Python says when it cannot even begin; the log of the run is written by the coordinator itself.
    url = jobs[0].url
    told = os.devnull if "://" in url else str(Path(url, FOLDER, "coordinator.txt"))
    holder = start_detached(["jobs", "lead", *(job.url for job in jobs)], told)
    return {"what": f"process {holder.pid} of {os.uname().nodename}", "process": asdict(holder)}


def _over_ssh(jobs: Sequence[Job], cluster: SshCluster) -> dict[str, Any]:
    """Start a process on the first host that outlives the connection."""
    require_asyncssh()
    command = shlex.join(_command(jobs, cluster.python or sys.executable))
    line = f"cd {shlex.quote(str(Path.cwd()))} && {{ nohup setsid {command} </dev/null >/dev/null 2>&1 & echo $!; }}"
    (printed,) = run_there(cluster, cluster.hosts[0], [(line, "")])
    return {"what": f"process {printed.strip()} of {cluster.hosts[0]}"}


def _in_slurm(job: Job, cluster: SlurmCluster) -> dict[str, Any]:
    """Submit a job that Slurm starts again when its node is lost or it is preempted."""
    given = {
        "job-name": job.id,
        "time": clock(cluster.time_limit),
        "mem": f"{cluster.coordinator_memory >> 20}M",
        "cpus-per-task": "1",
        "chdir": str(Path.cwd()),
        "output": os.devnull if cluster.log_directory is None else f"{cluster.log_directory}/{job.id}.txt",
        **({"partition": cluster.queue} if cluster.queue else {}),
        **({"account": cluster.account} if cluster.account else {}),
    }
    lines = [
        "#!/bin/sh",
        *(f"#SBATCH {directive}" for directive in cluster.directives),
        *cluster.prologue,
        f"exec {shlex.join(_command([job], cluster.python or sys.executable))}",
    ]
    # B: the coordinator has taken the place of the script, which is signalled only when asked for
    call = ["sbatch", "--parsable", "--requeue", "--open-mode=append", "--signal=B:TERM@60"]
    call += [f"--{name}={value}" for name, value in given.items()]
    number = _run(call, "\n".join(lines) + "\n")
    return {"what": f"job {number} of Slurm", "slurm": number}


def _run(call: list[str], text: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and words of a checked file
            call, input=text, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RunError(
            f"there is no {call[0]} here", mend="submit from a login node of the cluster"
        ) from None
    if done.returncode:
        raise RunError(f"{call[0]} refuses the job ({' '.join(done.stderr.split())})", where="kind: slurm")
    return done.stdout.strip().partition(";")[0]


def _in_kubernetes(job: Job, cluster: KubernetesCluster) -> dict[str, Any]:
    """Create a Job whose pod is started again until it ends well."""
    # a job that is resumed, or submitted to another run directory, is another object
    name = f"{re.sub('[^a-z0-9]+', '-', job.id.lower())[-50:].strip('-')}-{secrets.token_hex(3)}"
    manifest = coordinator_object(cluster, name, _command([job], "python"))
    write_bytes(join(job.url, FOLDER, "kubernetes.json"), json.dumps(manifest, indent=1).encode())
    try:
        import kr8s
    except ImportError:
        raise MissingExtraError.for_extra("dask-kubernetes", "kubernetes") from None
    try:
        kr8s.objects.Job(manifest).create()
    except Exception as error:
        # of many kinds: no configuration, no server, no right, a name that is taken
        raise RunError(
            f"the job cannot be created ({' '.join(str(error).split())})",
            where="kind: kubernetes",
            mend=f"check kubectl auth can-i create jobs -n {cluster.namespace}",
        ) from error
    return {"what": f"Job {name} in namespace {cluster.namespace}"}
