"""A real Slurm of one node on loopback: munged, slurmctld and slurmd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tests.cluster.conftest import free_port, process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin"
PROGRAMS = {name: shutil.which(name, path=SEARCHED) for name in ("munged", "slurmctld", "slurmd", "sbatch")}


def missing() -> str:
    """Say why Slurm cannot be started here; empty when it can."""
    absent = [name for name, path in PROGRAMS.items() if path is None]
    if absent:
        return f"needs {', '.join(absent)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd starts jobs as other users, which needs root"


@contextmanager
def slurm(place: Path) -> Iterator[dict[str, str]]:
    """Start Slurm below `place`; yields the environment in which its commands find it."""
    for name in ("state", "spool", "munge"):
        (place / name).mkdir()
    key = place / "munge" / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    host = socket.gethostname()
    # what slurmd finds in this machine, NodeName=HOST CPUs=... RealMemory=...
    node = ask(dict(os.environ), str(PROGRAMS["slurmd"]), "-C").splitlines()[0].removeprefix("NodeName=")
    settings = {
        "ClusterName": "headrace",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": free_port(),
        "SlurmdPort": free_port(),
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={place}/munge/socket,cred_expire=10",  # a requeued job waits for so long
        "CredType": "cred/munge",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "StateSaveLocation": place / "state",
        "SlurmdSpoolDir": place / "spool",
        "SlurmctldPidFile": place / "slurmctld.pid",
        "SlurmdPidFile": place / "slurmd.pid",
        "SlurmctldLogFile": place / "slurmctld.log",
        "SlurmdLogFile": place / "slurmd.log",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
        "MpiDefault": "none",
        "ReturnToService": 2,
        "SchedulerType": "sched/backfill",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": 1,
        "JobAcctGatherParams": "OverMemoryKill",
        "AccountingStorageType": "accounting_storage/none",
        "KillWait": 5,
        "SchedulerParameters": "sched_interval=2,bf_interval=2",
        "NodeName": f"{node} NodeAddr=127.0.0.1 State=UNKNOWN",
        "PartitionName": f"debug Nodes={host} Default=YES MaxTime=INFINITE OverSubscribe=FORCE:4 State=UP",  # four jobs a core: what is tested waits more than it computes
    }
    file = place / "slurm.conf"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    environment = {**os.environ, "SLURM_CONF": str(file)}
    munge = [
        f"--{name}={place}/munge/{name.split('-')[0]}"
        for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    with ExitStack() as stack:
        words = [str(PROGRAMS["munged"]), "--foreground", "--force", f"--key-file={key}", *munge]
        stack.enter_context(process(words))
        wait_for((place / "munge" / "socket").exists)
        for daemon in (["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            words = [str(PROGRAMS[daemon[0]]), *daemon[1:]]
            stack.enter_context(process(words, env=environment))
        wait_for(lambda: "idle" in ask(environment, "sinfo", "-h", "-o", "%t"))
        yield {"SLURM_CONF": str(file)}


def ask(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def wait_for(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
