"""Jobs: runs that are led elsewhere; all that is known of one stands in its run directory, for any machine to read."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.data.storage import (
    create,
    exists,
    join,
    list_names,
    read_bytes,
    read_json,
    remove_file,
    remove_tree,
    write_bytes,
    write_json,
)
from headrace.engine.lease import Holder
from headrace.errors import InputError, StorageError
from headrace.rundir import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BEAT_SECONDS = 2.0
SILENT_SECONDS = 4 * BEAT_SECONDS
"""After so long without a beat a coordinator counts as lost."""
WATCHED_AT_ONCE = 32

FOLDER = "job"
ENDED = ("passed", "missed", "failed", "cancelled")
"""States in which nothing more happens by itself."""
NEEDS_RESUME = ("lost", "stopped")
"""States of a run that only waits for a coordinator."""
RESTART_SECONDS = {"kubernetes": 600.0, "slurm": 600.0}
"""How long the platforms that start a coordinator again may take for it; the others do not."""


@dataclass(frozen=True)
class Job:
    """What was submitted."""

    id: str
    url: str
    """The run directory."""
    digest: str
    """Of workflow and cluster: the same submit twice is the same job."""
    kind: str
    """Kind of the cluster."""
    submitted: str
    """When, in UTC."""
    place: dict[str, Any] = field(default_factory=dict)
    """Where the coordinator was started: process, host, number in a queue."""
    array: str = ""
    """Id of the array that it is one of."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Keys of the workflow that the array varies, with the values of this job."""

    @property
    def workflow(self) -> str:
        """Path of the workflow as it was submitted."""
        return join(self.url, FOLDER, "workflow.yaml")

    @property
    def cluster(self) -> str:
        """Path of the cluster file as it was submitted, with the names of variables and not their values."""
        return join(self.url, FOLDER, "cluster.yaml")

    @property
    def leader(self) -> tuple[str, str]:
        """Array and place of its coordinator, which may lead several jobs of an array."""
        return self.array or self.id, self.place.get("what", "")


@dataclass(frozen=True)
class Heartbeat:
    """What a coordinator says of itself every two seconds."""

    owner: str
    """Drawn anew by every coordinator."""
    host: str
    pid: int
    beat: int
    time: float
    """Seconds since 1970, by the coordinator's clock."""
    state: str = "running"
    stage: str = ""
    rows: int = 0
    """Rows of this pass so far."""
    rows_planned: int = 0
    """Rows of this pass."""
    bytes_per_second: float = 0.0
    """Compressed bytes read a second in this pass."""
    seconds_left: float = 0.0
    """Until this pass ends, expected from its rows so far."""
    memory: dict[str, int] = field(default_factory=dict)
    """Peak resident bytes of each worker."""
    dashboard: str = "off"
    """Address of Dask's dashboard."""
    error: str = ""
    """Why it failed."""


def job_id(name: str, *asked: str) -> tuple[str, str]:
    """Name a job or an array by what it is asked to do.

    Parameters
    ----------
    name : str
        Of the problem.
    *asked : str
        Workflow and cluster file; of an array the workflow of each job, and the cluster file.

    Returns
    -------
    id : str
        ``NAME-`` and ten letters of the digest.
    digest : str
        SHA-256 of what is asked.
    """
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    return f"{name}-{digest[:10]}", digest


def record(job: Job, workflow: str, cluster: str) -> bool:
    """Write a job into its run directory; of two submits at once one wins.

    Returns
    -------
    bool
        False when the same job was submitted there before.

    Raises
    ------
    InputError
        When the directory holds another job, or a run that is none.
    """
    place = join(job.url, FOLDER, "job.json")
    if not is_job(job.url):
        RunDirectory(job.url).require_empty()
        write_bytes(job.workflow, workflow.encode())
        write_bytes(job.cluster, cluster.encode())
        if create(place, (json.dumps(asdict(job), indent=1) + "\n").encode()):
            return True
    other = read_job(job.url)
    if other.digest != job.digest:
        raise InputError(f"holds another job, {other.id}", where=job.url, mend="give another --run directory")
    return False


def read_job(url: str) -> Job:
    """Read the job of a run directory.

    Raises
    ------
    InputError
        When there is none.
    """
    place = join(url, FOLDER, "job.json")
    if not exists(place):
        raise InputError("there is no job", where=url, mend="headrace jobs list shows those there are")
    try:
        return replace(Job(**read_json(place)), url=url)
    except TypeError:
        raise InputError(
            "is not of this version", where=place, mend="use the headrace that submitted it"
        ) from None


def locate(job: Job, place: dict[str, Any]) -> Job:
    """Note where the coordinator of a job was started."""
    located = replace(job, place=place)
    write_json(join(job.url, FOLDER, "job.json"), asdict(located))
    return located


def withdraw(job: Job) -> None:
    """Remove a job whose coordinator could not be started."""
    remove_tree(join(job.url, FOLDER))


def list_jobs(runs: str) -> list[Job]:
    """Read the jobs of a directory of runs, the oldest first; those of an array stand together, as it numbers them."""
    urls = [join(runs, name) for name in list_names(runs)]
    jobs = [read_job(url) for url in urls if is_job(url)]
    return sorted(jobs, key=lambda job: (job.submitted, job.array or job.id, len(job.id), job.id))


def is_job(url: str) -> bool:
    """Whether a job was submitted to a run directory."""
    return exists(join(url, FOLDER, "job.json"))


def find_jobs(name: str, runs: str) -> list[Job]:
    """Read a job, or all jobs of an array, by its id or run directory; a word that could be either is an id.

    Raises
    ------
    InputError
        When there is none.
    """
    url = name.rstrip("/")
    if "/" not in url and (is_job(join(runs, url)) or not is_job(url)):
        url = join(runs, url)
    if not is_job(url):
        folder, _, base = url.rpartition("/")
        numbers = sorted(
            int(number)
            for each in list_names(folder)
            if (number := each.removeprefix(f"{base}_")) != each and number.isdecimal()
        )
        if found := [read_job(place) for each in numbers if is_job(place := f"{url}_{each}")]:
            return found
    return [read_job(url)]


def read_heartbeat(url: str) -> Heartbeat | None:
    """Read what the coordinator said last; None before it said anything."""
    place = join(url, FOLDER, "heartbeat.json")
    try:
        return Heartbeat(**read_json(place)) if exists(place) else None
    except (StorageError, TypeError):
        return None


def write_heartbeat(url: str, heartbeat: Heartbeat) -> None:
    """Say something as the coordinator."""
    write_json(join(url, FOLDER, "heartbeat.json"), asdict(heartbeat))


def request_cancel(job: Job) -> None:
    """Ask the coordinator to end; it looks for it with every beat, and before it begins."""
    write_json(
        join(job.url, FOLDER, "cancel.json"), {"asked": datetime.now(UTC).isoformat(timespec="seconds")}
    )


def cancel_requested(url: str) -> bool:
    """Whether the job shall end."""
    return exists(join(url, FOLDER, "cancel.json"))


def forget_cancel(job: Job) -> None:
    """Take back the request, so that the job can be resumed."""
    remove_file(join(job.url, FOLDER, "cancel.json"))


def forget_heartbeat(job: Job) -> None:
    """Remove the last word of a coordinator that is gone, before another begins."""
    remove_file(join(job.url, FOLDER, "heartbeat.json"))


def states(jobs: Sequence[Job]) -> list[tuple[Job, str, Heartbeat | None]]:
    """Tell the `status` of many jobs; those that have to be watched are watched together.

    One that waits for a coordinator which was lost with a job before it is lost with it.
    """
    with ThreadPoolExecutor(WATCHED_AT_ONCE) as pool:
        found = [(job, *told) for job, told in zip(jobs, pool.map(status, jobs), strict=True)]
    gone = {job.leader for job, state, _ in found if state in NEEDS_RESUME}
    return [
        (job, "lost" if state == "waiting" and job.leader in gone else state, heartbeat)
        for job, state, heartbeat in found
    ]


def status(job: Job) -> tuple[str, Heartbeat | None]:
    """Tell the state of a job from its directory.

    When the last beat looks old, another is watched for: clocks of two machines are not to be trusted.

    Returns
    -------
    state : str
        ``waiting`` (no coordinator yet), ``running``, ``cancelling``, ``lost`` (its coordinator is silent), ``stopped`` (it
        was told to end by its platform), or one of `ENDED`.
    heartbeat : Heartbeat or None
    """
    heartbeat = read_heartbeat(job.url)
    asked = cancel_requested(job.url)
    if heartbeat is None:
        if _died_here(job):
            return "lost", None
        return ("cancelling" if asked else "waiting"), None
    if heartbeat.state != "running":
        return heartbeat.state, heartbeat
    if _died_here(job):
        heartbeat = read_heartbeat(job.url) or heartbeat  # its last word may have come meanwhile
        return ("lost" if heartbeat.state == "running" else heartbeat.state), heartbeat
    if not -SILENT_SECONDS < time.time() - heartbeat.time < SILENT_SECONDS:
        heartbeat, silent = watched(job.url, heartbeat, SILENT_SECONDS)
        if silent or heartbeat.state != "running":
            return ("lost" if silent else heartbeat.state), heartbeat
    return ("cancelling" if asked else "running"), heartbeat


def watched(url: str, heartbeat: Heartbeat, seconds: float) -> tuple[Heartbeat, bool]:
    """Watch for another beat than the one known; tells the last seen, and whether it is silent."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(BEAT_SECONDS / 4)
        now = read_heartbeat(url)
        if now is not None and (now.owner, now.beat) != (heartbeat.owner, heartbeat.beat):
            return now, False
    return heartbeat, True


def _died_here(job: Job) -> bool:
    """Whether the coordinator was a process of this machine that is gone."""
    place = read_job(job.url).place.get("process")  # as it is now: it may have been resumed meanwhile
    if place is None:
        return False
    holder = Holder(**place)
    return holder.host == Holder.this_process().host and not holder.lives_here()


class Patience:
    """Tells when nothing more is to be expected of a job, by the states that it is seen in.

    Parameters
    ----------
    job : Job
        What is waited for. Its platform may start a coordinator that is gone again.
    """

    def __init__(self, job: Job) -> None:
        self._seconds = RESTART_SECONDS.get(job.kind, 0.0)
        self._gone_since: float | None = None

    def is_over(self, state: str) -> bool:
        """Take the state that the job is in now."""
        if state not in NEEDS_RESUME:
            self._gone_since = None
            return state in ENDED
        now = time.monotonic()
        self._gone_since = now if self._gone_since is None else self._gone_since
        return now - self._gone_since >= self._seconds


class Log:
    """The log of a job: parts that grow and are written anew, for a store cannot append.

    Parameters
    ----------
    url : str
        The run directory.
    """

    PART = 64 << 10
    """Bytes after which a part is left and the next begun."""

    def __init__(self, url: str) -> None:
        self._url = join(url, FOLDER, "log")
        self._number = max((int(name[:8]) for name in list_names(self._url)), default=0) + 1
        self._text = ""
        self._written = 0

    def write(self, line: str) -> None:
        """Take a line; `flush` writes it."""
        self._text += f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n"

    def flush(self) -> None:
        """Write what is new."""
        text = self._text
        if len(text) == self._written:
            return
        write_bytes(join(self._url, f"{self._number:08d}.txt"), text.encode())
        self._written = len(text)
        if len(text) > self.PART:
            self._number += 1
            self._text, self._written = self._text[len(text) :], 0


def read_log(url: str, after: tuple[int, int] = (0, 0)) -> Iterator[tuple[str, tuple[int, int]]]:
    """Read the log of a job from a place on; gives each text with the place after it."""
    folder = join(url, FOLDER, "log")
    number, offset = after
    for name in list_names(folder):
        part = int(name[:8])
        if part < number:
            continue
        data = read_bytes(join(folder, name))
        start = offset if part == number else 0
        if len(data) > start:
            yield data[start:].decode(errors="replace"), (part, len(data))
