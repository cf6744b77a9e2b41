"""The network of the pods: a bridge of this machine with an address for each, and a file of hosts for names of services."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Self

from tests.cluster.kube.api import PODS, SERVICES
from tests.cluster.kube.controllers import conditions
from tests.cluster.kube.store import selected

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kube.store import Store


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """A bridge that exists while the context is open."""

    def __init__(self, hosts: Path) -> None:
        self.hosts = hosts
        self._number = os.getpid() % 250 + 1
        self._bridge = f"hrkube{self._number}"
        self._next = 2
        self._wires = 0
        self.gateway = f"10.98.{self._number}.1"
        self._fixed = "127.0.0.1 localhost\n"

    def __enter__(self) -> Self:
        self.hosts.write_text(self._fixed)
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{self.gateway}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        return self

    def __exit__(self, *_error: object) -> None:
        ip("link", "del", self._bridge)
        # a network without processes may live on with a connection that is not over
        for number in range(1, self._wires + 1):
            wire = ["ip", "link", "del", f"hrk{self._number}w{number}"]
            subprocess.run(wire, check=False, capture_output=True)

    def address(self, name: str) -> str:
        """Give an address to a pod, which finds its own name."""
        self._next += 1
        address = f"10.98.{self._number}.{self._next - 1}"
        self._fixed += f"{address} {name}\n"
        return address

    def join(self, process: subprocess.Popen[bytes], ready: Path, address: str) -> None:
        """Connect a process that waits in a network of its own, and let it go on."""
        end = time.monotonic() + 10
        while not ready.exists():
            assert process.poll() is None, "unshare failed"
            assert time.monotonic() < end
            time.sleep(0.005)
        self._wires += 1
        outer = f"hrk{self._number}w{self._wires}"
        pid = str(process.pid)
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", pid)
        ip("link", "set", outer, "master", self._bridge, "up")
        subprocess.run(
            ["nsenter", "-t", pid, "-n", "ip", "addr", "add", f"{address}/24", "dev", "eth0"], check=True
        )
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()

    def name_services(self, store: Store) -> None:
        """Write which ready pod answers for each service."""
        lines = [self._fixed]
        for service in store.objects(SERVICES):
            wanted = service["spec"].get("selector", {})
            for pod in store.objects(PODS, service["metadata"]["namespace"]):
                labels = ",".join(f"{key}={value}" for key, value in wanted.items())
                if wanted and selected(pod, labels, "") and conditions(pod).get("Ready") == "True":
                    name = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
                    lines.append(f"{pod['status']['podIP']} {name} {name}.svc.cluster.local\n")
        text = "".join(lines)
        if self.hosts.read_text() != text:
            # in place: pods have this very file mounted, and may read it now
            with self.hosts.open("r+") as stream:
                stream.write(text)
                stream.truncate()
