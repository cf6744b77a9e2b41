"""The cluster file: where work runs, with how many workers, threads and bytes of memory."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import psutil
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from headrace.optionfile import read_options
from headrace.options import Options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from distributed import Client

_UNITS = {"": 1, "b": 1} | {
    unit: base**power
    for power, letter in enumerate("kmgt", start=1)
    for unit, base in ((letter, 1000), (letter + "b", 1000), (letter + "i", 1024), (letter + "ib", 1024))
}
SMALL_DATA = 256 << 20
"""Bytes of data below which the default cluster is threads of one process."""
MOST_THREADS = 4
"""Cores up to which it is threads whatever the data: decoding, sorting and fitting let other threads of a process run, all
but about a fifth of the time, and threads load libraries once and hand blocks on without a copy."""
SMALLEST_MEMORY = 256 << 20
"""Bytes per worker below which Python, Arrow and scikit-learn alone do not fit."""


def parse_bytes(text: str | int) -> int:
    """Read a size such as ``1GiB``, ``512 MB`` or ``1.5g`` as a number of bytes.

    Raises
    ------
    ValueError
        `text` is not a size.

    Examples
    --------
    >>> parse_bytes("1GiB"), parse_bytes("1.5 kB"), parse_bytes(4096)
    (1073741824, 1500, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(text))
    if isinstance(text, bool) or match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"should be a size, not {text!r}; write it as 1GiB or 800MB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _memory(value: Any) -> int:
    size = parse_bytes(value)
    if size < SMALLEST_MEMORY:
        raise ValueError(f"{value} per worker is too little; give at least 256MiB")
    return size


def _disk(value: Any) -> int:
    return parse_bytes(value)


def _dashboard(address: str) -> str:
    """Keep the dashboard on this machine unless the file names another host in full."""
    if address == "off" or re.fullmatch(r"[\w.\-]+:\d{1,5}", address):
        return address
    if re.fullmatch(r":?\d{1,5}", address):
        return f"127.0.0.1:{address.removeprefix(':')}"
    raise ValueError(f"should be off, a port or host:port, not {address!r}; write off or 127.0.0.1:8787")


class ClusterFile(Options):
    """Workers of one kind.

    Whatever the kind, `connect` gives a ``distributed.Client``; nothing else of headrace knows where work runs.
    """

    kind: Literal["laptop"] = Field(
        default="laptop", description="laptop: processes or threads on this machine"
    )
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        default="auto", description="How many workers; auto is one per core"
    )
    threads: int = Field(default=1, ge=1, le=1024, description="Threads in each worker")
    memory: Annotated[int, BeforeValidator(_memory, json_schema_input_type=str | int)] | None = Field(
        default=None,
        description="Budget of each worker, such as 1GiB; left out: 60 % of the RAM over all workers",
    )
    processes: bool = Field(
        default=True, description="false: one process with workers x threads threads, quicker to start"
    )
    dashboard: Annotated[str, BeforeValidator(str), AfterValidator(_dashboard)] = Field(
        default="off", description="off, or the address of Dask's dashboard, 127.0.0.1:8787 for instance"
    )
    local_directory: str | None = Field(
        default=None, description="Where workers keep temporary files and prepared blocks"
    )
    disk: Annotated[int, BeforeValidator(_disk, json_schema_input_type=str | int)] = Field(
        default=10 << 30,
        description="Prepared blocks that each machine keeps for later epochs and runs, such as 10GiB; the least "
        "recently used go first; 0 keeps none",
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
    def process_count(self) -> int:
        """Processes that hold data: one when `processes` is false."""
        return self.worker_count if self.processes else 1

    @property
    def process_memory(self) -> int:
        """Budget of one such process, in bytes."""
        return self.memory_bytes * self.worker_count // self.process_count

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


def load_cluster(path: str | None) -> ClusterFile:
    """Read a cluster file; without one, `default_cluster`.

    Raises
    ------
    WorkflowError
        The file is missing, or a key or value in it is wrong.
    """
    return default_cluster() if path is None else read_options(path, ClusterFile)
