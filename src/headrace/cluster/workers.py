"""What the cluster files of all kinds have in common: workers, their memory, disk, encryption and patience."""

from __future__ import annotations

import re
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from headrace.cluster.certificates import Certificates  # noqa: TC001 pydantic reads the annotation
from headrace.options import Options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from distributed import Client
    from distributed.security import Security

_UNITS = {"": 1, "b": 1} | {
    unit: base**power
    for power, letter in enumerate("kmgt", start=1)
    for unit, base in ((letter, 1000), (letter + "b", 1000), (letter + "i", 1024), (letter + "ib", 1024))
}
_SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400}
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


def parse_seconds(text: str | float) -> float:
    """Read a time such as ``90s``, ``10min`` or ``2h`` as seconds.

    Raises
    ------
    ValueError
        `text` is not a time, or none at all.

    Examples
    --------
    >>> parse_seconds("10min"), parse_seconds("1.5 h"), parse_seconds(30)
    (600.0, 5400.0, 30.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(text))
    if isinstance(text, bool) or match is None or (match[2] or "s") not in _SECONDS or not float(match[1]):
        raise ValueError(f"should be a time, not {text!r}; write it as 90s, 10min or 2h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def _memory(value: Any) -> int:
    size = parse_bytes(value)
    if size < SMALLEST_MEMORY:
        raise ValueError(f"{value} per worker is too little; give at least 256MiB")
    return size


def _dashboard(address: str) -> str:
    """Keep the dashboard on this machine unless the file names another host in full."""
    if address == "off" or re.fullmatch(r"[\w.\-]+:\d{1,5}", address):
        return address
    if re.fullmatch(r":?\d{1,5}", address):
        return f"127.0.0.1:{address.removeprefix(':')}"
    raise ValueError(f"should be off, a port or host:port, not {address!r}; write off or 127.0.0.1:8787")


Memory = Annotated[int, BeforeValidator(_memory, json_schema_input_type=str | int)]
Size = Annotated[int, BeforeValidator(parse_bytes, json_schema_input_type=str | int)]
Seconds = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=str | float)]


class Workers(Options):
    """The keys of every kind, and what a run asks of any: counts, bytes and a client.

    Whatever the kind, `connect` gives a ``distributed.Client``; nothing else of headrace knows where work runs.
    """

    threads: int = Field(default=1, ge=1, le=1024, description="Threads in each worker")
    dashboard: Annotated[str, BeforeValidator(str), AfterValidator(_dashboard)] = Field(
        default="off", description="off, or the address of Dask's dashboard, 127.0.0.1:8787 for instance"
    )
    local_directory: str | None = Field(
        default=None, description="Where workers keep temporary files and prepared blocks"
    )
    disk: Size = Field(
        default=10 << 30,
        description="Prepared blocks that each machine keeps for later epochs and runs, such as 10GiB; the least "
        "recently used go first; 0 keeps none",
    )
    retries: int = Field(
        default=2,
        ge=0,
        le=100,
        description="Times that a chunk whose worker was lost is given to another; raise it for machines that may "
        "be taken away",
    )

    @property
    @abstractmethod
    def worker_count(self) -> int:
        """Workers, the most that there may be."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Budget of one worker, in bytes."""

    @property
    def in_process(self) -> bool:
        """Whether the workers are threads of the process that leads the run."""
        return False

    @property
    def process_count(self) -> int:
        """Processes that hold data."""
        return self.worker_count

    @property
    def process_memory(self) -> int:
        """Budget of one such process, in bytes."""
        return self.memory_bytes * self.worker_count // self.process_count

    @property
    def block_directory(self) -> str:
        """Where prepared blocks are kept on each machine: the local directory, or the user's cache directory there."""
        return str(Path(self.local_directory or "~/.cache") / "headrace" / "blocks")

    @abstractmethod
    def connect(self) -> AbstractContextManager[Client]:
        """Start or find the workers; the context yields a connected client and leaves nothing that it started."""


class Range(Options):
    """As many workers as there is work for, between two bounds."""

    min: int = Field(ge=1, le=10_000, description="Fewest workers")
    max: int = Field(ge=1, le=10_000, description="Most workers")

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}; exchange them")
        return self


class RemoteWorkers(Workers):
    """The keys of every kind whose workers are not processes of this one."""

    workers: Annotated[int, Field(ge=1, le=10_000)] = Field(default=1, description="How many workers")
    memory: Memory = Field(
        description="Budget of each worker, such as 4GiB; the size of chunks follows from it"
    )
    environment: dict[str, str] = Field(
        default={}, description="Environment variables of the workers; write secrets as ${NAME}"
    )
    packages: tuple[str, ...] = Field(
        default=(),
        description="Packages that pip installs on the workers before their first task, with their versions, "
        "holidays==0.80 for instance; an image that has them starts faster",
    )
    tls: Literal["auto", "off"] | Certificates = Field(
        default="auto",
        description="auto: encrypted with certificates made for the run, but on this machine alone not; off: not; "
        "or files, as headrace cluster certs makes them: {directory: DIR}",
    )
    wait: Seconds = Field(
        default=600.0,
        description="How long a run waits for its first workers, and for any when all are gone, such as 10min",
    )

    @property
    def worker_count(self) -> int:
        """Workers, the most that there may be."""
        return self.workers

    @property
    def fewest_workers(self) -> int:
        """Workers that must be there before work begins."""
        return self.workers

    @property
    def memory_bytes(self) -> int:
        """Budget of one worker, in bytes."""
        return self.memory

    @property
    def on_this_machine(self) -> bool:
        """Whether nothing leaves loopback, so that encryption would guard nothing."""
        return False

    @property
    def encrypted(self) -> bool:
        """Whether all that is sent is encrypted, and both ends show certificates."""
        return self.tls != "off" and not (self.tls == "auto" and self.on_this_machine)

    @property
    def brings_certificates(self) -> bool:
        """Whether the certificates come with the cluster."""
        return False

    def connect(self) -> AbstractContextManager[Client]:
        """Start or find the workers; the context yields a connected client and leaves nothing that it started."""
        from headrace.cluster.joining import joined

        return joined(self)

    @abstractmethod
    def deploy(self, security: Security | None) -> AbstractContextManager[Any]:
        """Start the workers; the context yields what ``distributed.Client`` takes, an address or a cluster."""

    def settings(self) -> dict[str, Any]:
        """Dask settings that hold while the cluster lives, besides those of every kind."""
        return {}


class ScaledWorkers(RemoteWorkers):
    """The keys of kinds that can start workers while a run goes on."""

    workers: Annotated[int, Field(ge=1, le=10_000)] | Range = Field(  # type: ignore[assignment]  # wider than the base: read through the properties only
        default=1, description="How many workers, or {min: 1, max: 10}: as many as there is work for"
    )

    @property
    def bounds(self) -> Range:
        """Fewest and most workers."""
        if isinstance(self.workers, Range):
            return self.workers
        return Range(min=self.workers, max=self.workers)

    @property
    def worker_count(self) -> int:
        """Workers, the most that there may be."""
        return self.bounds.max

    @property
    def fewest_workers(self) -> int:
        """Workers that must be there before work begins."""
        return self.bounds.min
