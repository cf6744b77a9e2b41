"""Workers as jobs of Slurm and the other queues that dask-jobqueue knows; a job that ends early is replaced."""

from __future__ import annotations

import signal
from abc import abstractmethod
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from headrace.cluster.address import is_loopback
from headrace.cluster.certificates import as_files
from headrace.cluster.connect import KEPT_MEMORY, ONE_THREAD, TERMINATE_FRACTION, settings_of
from headrace.cluster.workers import Memory, ScaledWorkers, Seconds
from headrace.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed.security import Security

CLASSES = {
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}


class QueuedWorkers(ScaledWorkers):
    """The keys of every kind whose workers are jobs of a queue; the scheduler runs beside the coordinator."""

    queue: str | None = Field(default=None, description="Queue or partition of the jobs")
    account: str | None = Field(default=None, description="Account that the jobs are charged to")
    time_limit: Seconds = Field(default=3600.0, description="Time limit of each job, such as 4h")
    interface: str | None = Field(
        default=None, description="Network interface of scheduler and workers, ib0 for instance"
    )
    host: str | None = Field(
        default=None, description="Address that the scheduler listens on, in place of that of the interface"
    )
    shared_directory: str = Field(
        default="~",
        description="A directory that this machine and the workers share; certificates made for the run lie there "
        "while it lasts, readable by you alone",
    )
    log_directory: str | None = Field(
        default=None, description="Where the queue writes the output of the jobs"
    )
    prologue: tuple[str, ...] = Field(
        default=(), description="Lines of shell before a worker starts, module load python for instance"
    )
    directives: tuple[str, ...] = Field(
        default=(), description="Further directives of the job script, --constraint=nvme for instance"
    )
    python: str | None = Field(
        default=None, description="Python of the workers; default: that of this process"
    )

    @property
    def on_this_machine(self) -> bool:
        """Whether the scheduler listens on loopback."""
        return self.interface == "lo" or (self.host is not None and is_loopback(self.host))

    @property
    @abstractmethod
    def system(self) -> str:
        """Which queue it is."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Give what the class of this queue is called with besides."""

    @contextmanager
    def deploy(self, security: Security | None) -> Iterator[Any]:
        """Start a scheduler here and submit a job for each worker; at the end cancel them."""
        with ExitStack() as stack:
            if security is not None:
                security = stack.enter_context(as_files(security, self.shared_directory))
            cluster = stack.enter_context(self.make(security))
            # Under a fixed scale a job that was cancelled or preempted is not replaced; adaption looks each second.
            cluster.adapt(minimum_jobs=self.bounds.min, maximum_jobs=self.bounds.max)
            yield cluster

    def make(self, security: Security | None) -> Any:
        """Make the cluster of dask-jobqueue, with no job yet."""
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            import dask_jobqueue
        except ImportError:
            raise MissingExtraError.for_extra("dask-jobqueue", "slurm") from None
        # When it is loaded it lets an interrupt end the process at once, with exit code 0.
        if signal.getsignal(signal.SIGINT) is not interrupt:
            signal.signal(signal.SIGINT, interrupt)
        listens = {"host": self.host} if self.host else {}
        dashboard = "127.0.0.1:0" if self.dashboard == "off" else self.dashboard
        prologue = [
            *(f"export {name}={value}" for name, value in {**ONE_THREAD, **KEPT_MEMORY}.items()),
            f"export DASK_INTERNAL_INHERIT_CONFIG={inherited(settings_of(self))}",
            *self.prologue,
        ]
        given = {
            "cores": self.threads,
            "processes": 1,
            "memory": f"{self.memory}B",
            "interface": self.interface,
            "local_directory": self.local_directory,
            "log_directory": self.log_directory,
            "job_script_prologue": prologue,
            "job_extra_directives": list(self.directives),
            "scheduler_options": {"dashboard_address": dashboard, **listens},
            "security": security,
            "death_timeout": int(self.wait),
            **({"python": self.python} if self.python else {}),
            **self.arguments(),
        }
        return getattr(dask_jobqueue, CLASSES[self.system])(**given)


class SlurmCluster(QueuedWorkers):
    """Workers as jobs of Slurm."""

    kind: Literal["slurm"] = Field(description="slurm: each worker a job of Slurm")
    coordinator_memory: Memory = Field(
        default=4 << 30, description="Memory of the job that leads a submitted run, such as 4GiB"
    )

    @property
    def system(self) -> str:
        """Which queue it is."""
        return "slurm"

    def arguments(self) -> dict[str, Any]:
        """Queue, account and limits in the words of Slurm."""
        # Slurm ends a job at once at its limit; the nanny, which says why, must come first.
        megabytes = int(self.memory * TERMINATE_FRACTION) >> 20
        return {
            "queue": self.queue,
            "account": self.account,
            "walltime": clock(self.time_limit),
            "job_mem": f"{megabytes}M",
        }


class JobQueueCluster(QueuedWorkers):
    """Workers as jobs of PBS, LSF, SGE, OAR or Moab."""

    kind: Literal["jobqueue"] = Field(description="jobqueue: each worker a job of another queue")
    queue_system: Literal["lsf", "moab", "oar", "pbs", "sge"] = Field(
        alias="system", description="Which queue"
    )
    options: dict[str, Any] = Field(
        default={}, description="What the class of dask-jobqueue takes besides, resource_spec for instance"
    )

    @property
    def system(self) -> str:
        """Which queue it is."""
        return self.queue_system

    def arguments(self) -> dict[str, Any]:
        """Queue, account and limits as the class takes them, and what the file gives it besides."""
        charged = "account" if self.system in {"pbs", "moab"} else "project"
        limit = clock(self.time_limit)
        return {
            "queue": self.queue,
            charged: self.account,
            "walltime": limit.rpartition(":")[0] if self.system == "lsf" else limit,
            **self.options,
        }


def clock(seconds: float) -> str:
    """Write a time limit as queues read it.

    Examples
    --------
    >>> clock(5400), clock(90)
    ('01:30:00', '00:01:30')
    """
    whole = round(seconds)
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def inherited(settings: dict[str, Any]) -> str:
    """Write Dask settings as the environment variable ``DASK_INTERNAL_INHERIT_CONFIG`` holds them."""
    import dask

    nested: dict[str, Any] = {}
    dask.config.set(settings, config=nested)
    return str(dask.config.serialize(nested))
