"""A scheduler, workers and a coordinator, each a process of its own, and the model of a run that nothing befell."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from distributed import Client
from tests.cluster.conftest import free_port
from tests.faults.test_lost_workers import PROGRAM, make

from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faulty_tcp import Network

SECONDS = 600.0
"""How long a test waits for anything, on a machine that may have much else to do."""

# A chunk takes as long as the file `pace` says now, and leaves the number of the process that works on it.
PACING = """
import os, time
from pathlib import Path

def add(frame):
    place = Path(__file__).parent
    if len(frame) > 10:  # fewer are looked at before the run begins
        (place / "at" / str(os.getpid())).touch()
        began = time.monotonic()
        while time.monotonic() - began < float((place / "pace").read_text()):
            time.sleep(0.02)
    return frame
"""


@dataclass
class Site:
    """Processes of one test, in its directory; all of them end with it."""

    place: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)
    """Of the scheduler."""

    def start(self, *words: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start Python with some words."""
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.place,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stack.callback(end, process)
        return process

    def scheduler(self, *words: str, scheme: str = "tcp") -> subprocess.Popen[str]:
        """Start the scheduler, which gives a worker up that is silent for ten seconds."""
        address = f"{scheme}://127.0.0.1:{self.port}"
        process = self.start(
            *("-m", "distributed.cli.dask_scheduler", "--host", address, "--port", str(self.port)),
            *("--no-dashboard", *words),
            environment={"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s"},
        )
        until(self._answers, process)
        return process

    def worker(
        self,
        name: str,
        *words: str,
        network: Network | None = None,
        scheme: str = "tcp",
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a worker without a nanny; all that goes to and from it goes through the network, where one is given."""
        port = self.port
        if network is not None:
            own = free_port()
            port = network.proxy(self.port, into=False)
            contact = network.proxy(own, into=True)
            words = (
                *("--listen-address", f"{scheme}://127.0.0.1:{own}"),
                *("--contact-address", f"{scheme}://127.0.0.1:{contact}"),
                *words,
            )
        return self.start(
            *("-m", "distributed.cli.dask_worker", f"{scheme}://127.0.0.1:{port}", "--nthreads", "1"),
            *("--no-nanny", "--memory-limit", "512MiB", "--no-dashboard", "--name", name, *words),
            environment={"DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False", **(environment or {})},
        )

    def cluster_file(self, *, scheme: str = "tcp", **keys: Any) -> str:
        """Write a cluster file that joins the scheduler."""
        address = f"{scheme}://127.0.0.1:{self.port}"
        document = {"kind": "address", "address": address, "memory": "512MiB", "wait": "60s", **keys}
        (self.place / "cluster.yaml").write_text(yaml.safe_dump(document))
        return "cluster.yaml"

    def lead(self, *words: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a coordinator, which begins the run, or with ``--resume`` goes on with it."""
        words = words or ("w.yaml", "--run", "run")
        return self.start(
            *("-c", PROGRAM, "run", *words, "--cluster", "cluster.yaml", "--json"), environment=environment
        )

    def pace(self, seconds: float) -> None:
        """Say how long each chunk takes from now on, also those that are being worked on."""
        aside = self.place / "pace.aside"
        aside.write_text(str(seconds))
        aside.replace(self.place / "pace")

    @contextmanager
    def watched(self) -> Iterator[Callable[[], set[str]]]:
        """Give a function that tells the names of the workers that the scheduler counts now."""
        start: Any = Client  # untyped
        with start(f"tcp://127.0.0.1:{self.port}") as client:
            yield lambda: {each["name"] for each in client.scheduler_info(n_workers=-1)["workers"].values()}

    def works(self, process: subprocess.Popen[str]) -> bool:
        """Whether a worker has begun a chunk."""
        return (self.place / "at" / str(process.pid)).exists()

    def hold_after(self, commits: int, *running: subprocess.Popen[str]) -> None:
        """Let a run come so far in its ledger, and no further until a test sets another pace."""
        self.pace(0.2)
        until(lambda: self.committed() >= commits, *running)
        self.pace(SECONDS)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def committed(self) -> int:
        """Records in the ledger of the run."""
        return len([*(self.place / "run" / "ledger").glob("0*.json")])


def end(process: subprocess.Popen[str]) -> None:
    """End a process at once, also one that is stopped."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()


def until(wanted: Callable[[], bool], *running: subprocess.Popen[str], seconds: float = SECONDS) -> None:
    """Wait for something to come true while some processes run."""
    limit = time.monotonic() + seconds
    while not wanted():
        for process in running:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "it has not come true"
        time.sleep(0.02)


def require_same(coordinator: subprocess.Popen[str], whole: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of a run, which has to be that of one that nothing befell."""
    out, err = coordinator.communicate(timeout=SECONDS)
    assert coordinator.returncode == 0, err
    run: dict[str, Any] = json.loads(out)
    assert run["model_sha256"] == whole["model_sha256"]
    assert [each["rows"] for each in run["passes"]] == [each["rows"] for each in whole["passes"]]
    return run


def complaint(process: subprocess.Popen[str], code: int = 1, seconds: float = SECONDS) -> str:
    """Wait for the end of a command that has to fail with one line, and give that line."""
    _, err = process.communicate(timeout=seconds)
    assert process.returncode == code, err
    assert "Traceback" not in err, err
    said = [line for line in err.splitlines() if line.startswith("headrace: ")]
    assert len(said) == 1, err
    assert err.splitlines()[-1] == said[0]
    return said[0]


def make_slow(place: Path) -> None:
    """Write data and a workflow of eight chunks whose time is for a test to say."""
    make(place)
    document = yaml.safe_load((place / "w.yaml").read_text())
    document["features"] = {"function": "pacing:add"}
    (place / "w.yaml").write_text(yaml.safe_dump(document))
    (place / "pacing.py").write_text(PACING)
    (place / "pace").write_text("0")
    (place / "at").mkdir()


@pytest.fixture
def site(in_tmp: Path) -> Iterator[Site]:
    """A directory with a workflow, data and a cluster file; nothing is started yet."""
    make_slow(in_tmp)
    with ExitStack() as stack:
        site = Site(in_tmp, stack)
        site.cluster_file()
        yield site


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of the same workflow says that nothing befell."""
    place = tmp_path_factory.mktemp("whole")
    make_slow(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(chunks, "LARGEST", 10_000)
        return Workflow.load("w.yaml").run(ClusterFile(workers=2, processes=False, memory=1 << 30)).run
