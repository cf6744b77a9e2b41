"""A network of this machine: a bridge, and processes behind it that have a network and an address of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_START = "setpriv --pdeathsig KILL unshare --mount --net --uts --pid --fork --kill-child sh -c"
"""With this process ends the script behind it, and with the script all that it started."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def missing() -> str:
    """Say why there can be no such network here; empty when there can."""
    absent = [
        name for name in ("setpriv", "unshare", "nsenter", "ip", "hostname") if shutil.which(name) is None
    ]
    if absent:
        return f"needs {', '.join(absent)}: apt-get install util-linux iproute2 hostname"
    if os.geteuid() != 0:
        return "needs networks and file systems of its own, which needs root"
    try:
        ip("link", "add", "hrprobe", "type", "bridge")
        ip("link", "del", "hrprobe")
    except subprocess.CalledProcessError as error:
        return f"needs a network bridge: {error.stderr.decode().strip()}"
    return ""


class Bridge:
    """A bridge that exists while the context is open.

    Parameters
    ----------
    name : str
        Of its devices, three letters.
    network : int
        Second number of its addresses, ``10.NETWORK.*.*``.
    """

    def __init__(self, name: str, network: int) -> None:
        number = os.getpid() % 250 + 1
        self._bridge = f"hr{name}{number}"
        self._network = f"10.{network}.{number}"
        self._next = 2
        self._wires = 0
        self.gateway = f"{self._network}.1"

    def __enter__(self) -> Self:
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{self.gateway}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        return self

    def __exit__(self, *_error: object) -> None:
        ip("link", "del", self._bridge)
        # a network without processes may live on with a connection that is not over
        for number in range(1, self._wires + 1):
            wire = ["ip", "link", "del", f"{self._bridge}w{number}"]
            subprocess.run(wire, check=False, capture_output=True)

    def new_address(self) -> str:
        self._next += 1
        return f"{self._network}.{self._next - 1}"

    def start(self, script: str, place: Path, address: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Run a shell script that has a network, mounts, processes and a hostname of its own.

        Parameters
        ----------
        place : Path
            A directory for a file that says how far it is.
        """
        ready = place / "ready"
        ready.unlink(missing_ok=True)
        begin = f"set -e\necho > {ready}; read _go\nip link set lo up; ip link set eth0 up\n"
        process = subprocess.Popen(
            [*_START.split(), begin + script], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + 10
        while not ready.exists():
            assert process.poll() is None, "unshare failed"
            assert time.monotonic() < end
            time.sleep(0.005)
        self._wires += 1
        outer = f"{self._bridge}w{self._wires}"
        pid = str(process.pid)
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", pid)
        ip("link", "set", outer, "master", self._bridge, "up")
        subprocess.run(
            ["nsenter", "-t", pid, "-n", "ip", "addr", "add", f"{address}/24", "dev", "eth0"], check=True
        )
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        return process
