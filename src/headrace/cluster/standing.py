"""Clusters that stay: started by a process of their own, joined through a file that it writes, ended by name."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from headrace.cluster.address import AddressCluster
from headrace.cluster.certificates import Certificates, write_certificates
from headrace.cluster.config import ClusterFile, load_cluster
from headrace.cluster.detached import start_detached
from headrace.cluster.workers import RemoteWorkers
from headrace.data.storage import write_bytes
from headrace.errors import InputError, RunError
from headrace.optionfile import parse_document

if TYPE_CHECKING:
    from headrace.cluster.workers import Workers

ENDING = ".up.yaml"
END_SECONDS = 150.0
"""How long a cluster may take to end before its process is: that of pods two minutes."""
_HOLDER = "# headrace cluster up: process "


def joining_file(file: str) -> str:
    """Name the file that joins the cluster of `file` while it is up.

    Examples
    --------
    >>> joining_file("cluster/ssh.yaml")
    'cluster/ssh.up.yaml'
    """
    path = Path(file)
    return file if file.endswith(ENDING) else str(path.with_name(path.stem + ENDING))


def begin(file: str, target: str) -> str:
    """Start the cluster of `file` in a process of its own, which writes `target` when its workers are there.

    Returns
    -------
    str
        The scheduler's address.

    Raises
    ------
    InputError
        When it is up already, or its kind cannot stay.
    RunError
        When it does not come up.
    """
    cluster = load_cluster(file)
    _require_startable(cluster, file)
    if Path(target).exists():
        raise InputError(
            "is up already, or its file was left behind", where=target, mend=f"headrace cluster down {file}"
        )
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told")
        holder = start_detached(["cluster", "hold", file, target], str(told))
        try:
            while not Path(target).exists():
                if not holder.lives_here():
                    raise RunError(_last_line(told.read_text()), where=file)
                time.sleep(0.1)
        except KeyboardInterrupt:
            os.kill(holder.pid, signal.SIGTERM)
            raise
    return str(parse_document(Path(target).read_text(), target)["address"])


def hold(file: str, target: str) -> None:
    """Keep the cluster of `file` until this process is told to end; `target` joins it meanwhile."""
    cluster = load_cluster(file)
    _require_startable(cluster, file)
    certificates = Path(target).resolve().with_suffix(".certificates")
    if isinstance(cluster, RemoteWorkers) and cluster.encrypted and not isinstance(cluster.tls, Certificates):
        write_certificates(str(certificates))
        cluster = cluster.model_copy(update={"tls": Certificates(directory=str(certificates))})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with cluster.connect() as client:
            address = client.scheduler_info(n_workers=-1)["address"]
            write_bytes(target, _joining(cluster, address).encode())
            while client.status == "running":
                time.sleep(0.2)
    finally:
        Path(target).unlink(missing_ok=True)
        rmtree(certificates, ignore_errors=True)


def running(file: str) -> Workers:
    """Read how the cluster of `file` is joined.

    Raises
    ------
    InputError
        When it is not up.
    """
    if Path(joining_file(file)).exists():
        return load_cluster(joining_file(file))
    cluster = load_cluster(file)
    if isinstance(cluster, AddressCluster):
        return cluster
    raise InputError("is not up", where=file, mend=f"headrace cluster up {file}")


def end(file: str) -> None:
    """End the cluster of `file`, and wait until its process has.

    Raises
    ------
    InputError
        When it is not up, or was not started by `begin` on this machine.
    """
    target = file if _holder(file) else joining_file(file)
    number = _holder(target)
    if number is None:
        raise InputError("is not up", where=file, mend="only what headrace cluster up has started is ended")
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        # a number may have been given to another process since
        if "hold" in process.cmdline() and target in process.cmdline():
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
    Path(target).unlink(missing_ok=True)


def _holder(target: str) -> int | None:
    with suppress(OSError):
        for line in Path(target).read_text().splitlines():
            if line.startswith(_HOLDER):
                return int(line.removeprefix(_HOLDER))
    return None


def _require_startable(cluster: Workers, file: str) -> None:
    if isinstance(cluster, AddressCluster):
        raise InputError("runs already", where=file, mend=f"use it: headrace run WORKFLOW --cluster {file}")
    if isinstance(cluster, ClusterFile) and not cluster.processes:
        raise InputError(
            "threads of a process cannot be joined by another", where=f"{file}: processes", mend="write true"
        )


def _joining(cluster: Workers, address: str) -> str:
    tls: Any = getattr(cluster, "tls", "auto")
    document = {
        "kind": "address",
        "address": address,
        "workers": cluster.worker_count,
        "threads": cluster.threads,
        "memory": cluster.memory_bytes,
        "disk": cluster.disk,
        **({"local_directory": cluster.local_directory} if cluster.local_directory else {}),
        **({"tls": tls.model_dump()} if isinstance(tls, Certificates) else {}),
        **({"tls": "off"} if tls == "off" else {}),
    }
    return f"{_HOLDER}{os.getpid()}\n{yaml.safe_dump(document, sort_keys=False)}"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("headrace: ") if lines else "the cluster ended before it was up"
