"""The cluster file: where work runs, a union by kind; read with what it extends and the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import psutil
from pydantic import Field, TypeAdapter, model_validator

from headrace.cluster.address import AddressCluster
from headrace.cluster.cloud import CloudCluster
from headrace.cluster.gateway import GatewayWorkers
from headrace.cluster.jobqueue import JobQueueCluster, SlurmCluster
from headrace.cluster.kubernetes import KubernetesCluster
from headrace.cluster.layers import Layers, read_layers
from headrace.cluster.ssh import SshCluster
from headrace.cluster.workers import SMALLEST_MEMORY, Memory, Workers
from headrace.errors import WorkflowError
from headrace.optionfile import parse_options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from distributed import Client

SMALL_DATA = 256 << 20
"""Bytes of data below which the default cluster is threads of one process."""
MOST_THREADS = 4
"""Cores up to which it is threads whatever the data: decoding, sorting and fitting let other threads of a process run, all
but about a fifth of the time, and threads load libraries once and hand blocks on without a copy."""


class ClusterFile(Workers):
    """Workers on this machine: processes, or threads of this one."""

    kind: Literal["laptop"] = Field(
        default="laptop", description="laptop: processes or threads on this machine"
    )
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        default="auto", description="How many workers; auto is one per core"
    )
    memory: Memory | None = Field(
        default=None,
        description="Budget of each worker, such as 1GiB; left out: 60 % of the RAM over all workers",
    )
    processes: bool = Field(
        default=True, description="false: one process with workers x threads threads, quicker to start"
    )

    @model_validator(mode="after")
    def _fit_this_machine(self) -> ClusterFile:
        total = psutil.virtual_memory().total
        if self.memory is not None and self.memory * self.worker_count > total:
            raise ValueError(
                f"{self.worker_count} workers x {self.memory >> 20} MiB is more than the {total >> 20} MiB of "
                "this machine; lower memory or workers"
            )
        return self

    @property
    def worker_count(self) -> int:
        """Workers, with ``auto`` resolved to the cores that this process may use."""
        return available_cores() if self.workers == "auto" else self.workers

    @property
    def memory_bytes(self) -> int:
        """Budget of one worker, in bytes."""
        if self.memory is not None:
            return self.memory
        return max(SMALLEST_MEMORY, int(0.6 * psutil.virtual_memory().total) // self.worker_count)

    @property
    def in_process(self) -> bool:
        """Whether the workers are threads of the process that leads the run."""
        return not self.processes

    @property
    def process_count(self) -> int:
        """Processes that hold data: one when `processes` is false."""
        return self.worker_count if self.processes else 1

    @property
    def block_directory(self) -> str:
        """Where prepared blocks are kept on each machine: the local directory, or the user's cache directory."""
        base = self.local_directory or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return str(Path(base) / "headrace" / "blocks")

    def connect(self) -> AbstractContextManager[Client]:
        """Start the workers; the context yields a connected client and closes all of it at the end."""
        from headrace.cluster.connect import connect

        return connect(self)


def available_cores() -> int:
    """Cores that this process may run on, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def default_cluster(data_bytes: int | None = None) -> ClusterFile:
    """Use this machine: a worker per core and 60 % of the RAM over all of them.

    Parameters
    ----------
    data_bytes : int, optional
        Bytes of the data. Below 256 MiB, and on up to four cores, the workers are threads of this process: starting
        processes would take longer than the work, or than what they gain.
    """
    small = data_bytes is not None and data_bytes < SMALL_DATA
    return ClusterFile(processes=not small and available_cores() > MOST_THREADS)


KINDS: dict[str, type[Workers]] = {
    "laptop": ClusterFile,
    "address": AddressCluster,
    "ssh": SshCluster,
    "slurm": SlurmCluster,
    "jobqueue": JobQueueCluster,
    "kubernetes": KubernetesCluster,
    "gateway": GatewayWorkers,
    "cloud": CloudCluster,
}
AnyCluster = Annotated[
    ClusterFile
    | AddressCluster
    | SshCluster
    | SlurmCluster
    | JobQueueCluster
    | KubernetesCluster
    | GatewayWorkers
    | CloudCluster,
    Field(discriminator="kind"),
]


def load_cluster(path: str | None) -> Workers:
    """Read a cluster file, with the file that it extends; without one, `default_cluster`.

    Raises
    ------
    WorkflowError
        The file is missing, a key or value in it is wrong, or a variable that it names is not set. What variables
        hold is never told.
    """
    return default_cluster() if path is None else cluster_of(read_layers(path), name=path)


def cluster_of(layers: Layers, *, name: str) -> Workers:
    """Make a cluster of what its file and the files that it extends say; `name` stands for them in messages.

    Raises
    ------
    WorkflowError
        As `load_cluster`.
    """
    document = layers.expanded()
    kind = document.get("kind", "laptop")
    if kind not in KINDS:
        raise WorkflowError(
            f"unknown kind {kind!r}", where=f"{name}: kind", mend=f"use one of {', '.join(KINDS)}"
        )
    try:
        return parse_options(layers.text, KINDS[kind], name=name, adjust=lambda _own: document)
    except WorkflowError as error:
        raise WorkflowError(
            layers.hidden(error.what), where=layers.hidden(error.where), mend=layers.hidden(error.mend)
        ) from None


def cluster_schema() -> dict[str, Any]:
    """Return the JSON Schema of a cluster file, for editors that complete and check YAML."""
    schema = TypeAdapter(AnyCluster).json_schema()
    # read before the kind is known
    extends = {
        "type": "string",
        "description": "Another cluster file, whose keys hold where this one has none",
    }
    for kind in KINDS.values():
        schema["$defs"][kind.__name__]["properties"]["extends"] = extends
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "headrace cluster"}
