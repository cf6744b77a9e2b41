"""Workers on hosts that SSH reaches: started over it, with certificates that lie there while the run lasts."""

from __future__ import annotations

import asyncio
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from headrace.cluster.address import is_loopback
from headrace.cluster.certificates import settings_at, texts_of
from headrace.cluster.workers import RemoteWorkers
from headrace.errors import MissingExtraError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed.security import Security


class SshCluster(RemoteWorkers):
    """Workers on a list of hosts."""

    kind: Literal["ssh"] = Field(description="ssh: workers on hosts that SSH reaches")
    hosts: tuple[str, ...] = Field(
        min_length=1, description="Names or addresses; the scheduler runs on the first, workers on all"
    )
    workers: int | None = Field(  # type: ignore[assignment]  # wider than the base: read through the properties only
        default=None, ge=1, le=10_000, description="Workers over all hosts; left out: one on each"
    )
    port: int = Field(default=22, ge=1, le=65535, description="Port of the SSH servers")
    user: str | None = Field(
        default=None, description="User name there; default: that of the SSH configuration"
    )
    key: str | None = Field(default=None, description="Private key; default: those of the SSH configuration")
    known_hosts: str | None = Field(
        default=None,
        description="File of host keys; default ~/.ssh/known_hosts. A host that is not in it is refused",
    )
    python: str | None = Field(default=None, description="Python on the hosts; default: the path of this one")
    interface: str | None = Field(
        default=None, description="Network interface of scheduler and workers, eth1 for instance"
    )

    @model_validator(mode="after")
    def _fit_the_hosts(self) -> SshCluster:
        if self.workers is not None and self.workers % len(self.hosts):
            raise ValueError(
                f"{self.workers} workers cannot be shared evenly by {len(self.hosts)} hosts; give a multiple"
            )
        return self

    @property
    def worker_count(self) -> int:
        """Workers over all hosts."""
        return len(self.hosts) if self.workers is None else self.workers

    @property
    def fewest_workers(self) -> int:
        """Workers that must be there before work begins."""
        return self.worker_count

    @property
    def on_this_machine(self) -> bool:
        """Whether all hosts are loopback."""
        return all(is_loopback(host) for host in self.hosts)

    def connection(self) -> dict[str, Any]:
        """How ``asyncssh.connect`` reaches a host."""
        given = {
            "port": self.port,
            "username": self.user,
            "client_keys": None if self.key is None else [str(Path(self.key).expanduser())],
            "known_hosts": None if self.known_hosts is None else str(Path(self.known_hosts).expanduser()),
        }
        # None would mean to trust any host.
        return {name: value for name, value in given.items() if value is not None}

    @contextmanager
    def deploy(self, security: Security | None) -> Iterator[Any]:
        """Start scheduler and workers over SSH; they end with their connections."""
        import dask
        from distributed import SSHCluster

        require_asyncssh()
        with _certificates_there(self, security) as settings, dask.config.set(settings):
            protocol = "tcp://" if security is None else "tls://"
            listens = {"interface": self.interface} if self.interface else {}
            if self.on_this_machine:
                listens = {"host": "127.0.0.1"}
            worker: dict[str, Any] = {
                "nthreads": self.threads,
                "memory_limit": self.memory,
                "n_workers": self.worker_count // len(self.hosts),
                "protocol": protocol,
                **listens,
            }
            if self.local_directory is not None:
                worker["local_directory"] = self.local_directory
            start: Any = SSHCluster  # untyped
            with start(
                [self.hosts[0], *self.hosts],
                connect_options=self.connection(),
                worker_options=worker,
                scheduler_options={
                    "port": 0,
                    "protocol": protocol,
                    "dashboard_address": "127.0.0.1:0" if self.dashboard == "off" else self.dashboard,
                    **listens,
                },
                remote_python=self.python or sys.executable,
                security=security,
            ) as cluster:
                yield cluster


def require_asyncssh() -> None:
    """Name the extra that brings asyncssh when it is missing."""
    try:
        import asyncssh  # noqa: F401 - only whether it is there
    except ImportError:
        raise MissingExtraError.for_extra("asyncssh", "ssh") from None


@contextmanager
def _certificates_there(cluster: SshCluster, security: Security | None) -> Iterator[dict[str, Any]]:
    """Put certificates on the hosts, where scheduler and workers find them by their settings; remove them at the end.

    The settings travel on a command line, which others on the host may see: they hold paths and not the key.
    """
    if security is None:
        yield {}
        return
    folder = f"/tmp/headrace-{secrets.token_hex(8)}"  # noqa: S108 - made there with mode 700, and refused if it exists
    files = texts_of(security)
    commands = [(f"mkdir -m 700 {folder}", "")]
    commands += [(f"umask 077; cat > {folder}/{name}", text) for name, text in files.items()]
    try:
        for host in dict.fromkeys(cluster.hosts):
            run_there(cluster, host, commands)
        yield settings_at(folder)
    finally:
        for host in dict.fromkeys(cluster.hosts):
            with suppress(RunError):  # a host that is gone keeps a certificate of a run that has ended
                run_there(cluster, host, [(f"rm -rf {folder}", "")])


def run_there(cluster: SshCluster, host: str, commands: list[tuple[str, str]]) -> list[str]:
    """Run shell commands on a host, each with its input, and return what each prints.

    Raises
    ------
    RunError
        When the host cannot be reached or does not let us in, or a command fails.
    """
    import asyncssh

    async def all_of_them() -> list[str]:
        async with asyncssh.connect(host, **cluster.connection()) as connection:
            return [
                str((await connection.run(command, input=text, check=True)).stdout or "")
                for command, text in commands
            ]

    try:
        # In a thread of its own: a notebook has a loop already.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(all_of_them())).result()
    except asyncssh.ProcessError as error:
        what = " ".join(str(error.stderr or error).split())[:300]
    except (OSError, asyncssh.Error) as error:
        what = " ".join(str(error).split()) or type(error).__name__
    raise RunError(
        f"host {host} cannot be used ({what})",
        where="kind: ssh",
        mend=f"try: ssh -p {cluster.port} {host}",
    )
