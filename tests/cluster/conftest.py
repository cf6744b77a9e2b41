"""Schedulers and workers of Dask's own command line, and an SSH server, all on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.data.samples import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

ROOT = Path(__file__).parents[2]
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def process(words: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(10)


@contextmanager
def dask_cluster(
    *tls: str,
    workers: int = 1,
    environment: dict[str, str] | None = None,
    python: tuple[str, ...] = (sys.executable,),
) -> Iterator[str]:
    """Start a scheduler and workers without nannies; yields the address when the scheduler listens."""
    port = free_port()
    scheme = "tls" if tls else "tcp"
    address = f"{scheme}://127.0.0.1:{port}"
    common = [*tls, "--no-dashboard"]
    environment = {**os.environ, **(environment or {})}
    with ExitStack() as stack:
        words = ["-m", "distributed.cli.dask_scheduler", "--host", address, "--port", str(port), *common]
        stack.enter_context(process([*python, *words], env=environment))
        for _ in range(workers):
            words = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
            words += ["--memory-limit", "512MiB", *common]
            stack.enter_context(process([*python, *words], env=environment))
        wait_until_open(port)
        yield address


def scheduler_of(client: Client) -> str:
    return str(client.scheduler_info()["address"])


def wait_until_open(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(port)


def write_workflow(*, epochs: int = 1) -> str:
    """Write a small workflow and its data into the current directory."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, 2))
    y = (x[:, 0] + rng.normal(size=len(x)) > 0).astype(int)
    Path("data").mkdir(exist_ok=True)
    pq.write_table(pa.table({"x": x[:, 0], "z": x[:, 1], "y": y}), "data/0.parquet")
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": epochs, "patience": epochs},
        "evaluate": {"bootstrap": 5},
    }
    Path("workflow.yaml").write_text(yaml.safe_dump(document))
    return "workflow.yaml"


@pytest.fixture
def small_workflow(in_tmp: Path) -> str:
    """The path of a small workflow, in an empty current directory."""
    return write_workflow()


@pytest.fixture(scope="module")
def running_scheduler() -> Iterator[str]:
    """The address of a scheduler with one worker."""
    with dask_cluster() as address:
        yield address


def write_flights() -> str:
    """Put the example of flights, as it is, and its data where it expects them below the current directory."""
    folder = Path("examples/flights")
    folder.mkdir(parents=True)
    shutil.copy(ROOT / folder / "workflow.yaml", folder)
    write_sample("flights", "data/flights")
    return str(folder / "workflow.yaml")


def make_keys(place: Path) -> None:
    """Write the keys of an SSH server, ``hostkey``, and of who comes to it, ``id``."""
    for key in ("hostkey", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / key)], check=True)
    (place / "authorized_keys").write_text((place / "id.pub").read_text())
    (place / "authorized_keys").chmod(0o600)


def sshd_settings(place: Path, address: str, port: int) -> str:
    return (
        f"Port {port}\nListenAddress {address}\nHostKey {place}/hostkey\nPidFile none\n"
        f"AuthorizedKeysFile {place}/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "UsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nMaxStartups 50:30:100\n"
    )


def require_sshd() -> str:
    """The path of the SSH server; the test is skipped where there is none."""
    if SSHD is None:
        pytest.skip("needs an SSH server: apt-get install openssh-server")
    if os.geteuid() != 0:
        pytest.skip("sshd separates privileges, which needs root here")
    Path("/run/sshd").mkdir(exist_ok=True)
    return SSHD


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Keys of a cluster file that reach a real SSH server on loopback."""
    sshd = require_sshd()
    place = tmp_path_factory.mktemp("ssh")
    make_keys(place)
    port = free_port()
    (place / "known_hosts").write_text(f"[127.0.0.1]:{port} {(place / 'hostkey.pub').read_text()}")
    (place / "sshd_config").write_text(sshd_settings(place, "127.0.0.1", port))
    with process([sshd, "-D", "-f", str(place / "sshd_config"), "-E", str(place / "log")]):
        wait_until_open(port)
        yield {
            "kind": "ssh",
            "hosts": ["127.0.0.1"],
            "port": port,
            "user": "root",
            "key": str(place / "id"),
            "known_hosts": str(place / "known_hosts"),
            "memory": "512MiB",
            "wait": "60s",
        }
