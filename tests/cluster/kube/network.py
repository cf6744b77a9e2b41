"""The network of the pods: a bridge of this machine with an address for each, and a file of hosts for names of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tests.cluster.bridge import Bridge
from tests.cluster.kube.api import PODS, SERVICES
from tests.cluster.kube.controllers import conditions
from tests.cluster.kube.store import selected

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kube.store import Store


class Network(Bridge):
    """A bridge that exists while the context is open, and the names of what is behind it."""

    def __init__(self, hosts: Path) -> None:
        super().__init__("kub", 98)
        self.hosts = hosts
        self._fixed = "127.0.0.1 localhost\n"

    def __enter__(self) -> Self:
        self.hosts.write_text(self._fixed)
        return super().__enter__()

    def address(self, name: str) -> str:
        """Give an address to a pod, which finds its own name."""
        address = self.new_address()
        self._fixed += f"{address} {name}\n"
        return address

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
