"""A Kubernetes of one machine for tests: server, controllers and kubelet in a thread, the real Dask operator as a pod."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
import urllib.request
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import ClientSession, web
from tests.cluster import bridge
from tests.cluster.kube.api import Api
from tests.cluster.kube.controllers import reconcile
from tests.cluster.kube.kubelet import Kubelet, kubeconfig, tree
from tests.cluster.kube.network import Network
from tests.cluster.kube.schemas import definitions
from tests.cluster.kube.store import Object, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OPERATOR = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "operator"},
    "spec": {
        "selector": {"matchLabels": {"app": "operator"}},
        "template": {
            "metadata": {"labels": {"app": "operator"}},
            "spec": {
                "serviceAccountName": "operator",
                "containers": [
                    {
                        "name": "operator",
                        "image": "ghcr.io/dask/dask-kubernetes-operator",
                        "args": [
                            *("kopf", "run", "-m", "dask_kubernetes.operator.controller"),
                            *("--all-namespaces", "--liveness=http://0.0.0.0:8080/healthz"),
                        ],
                        "ports": [{"name": "health", "containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"port": "health", "path": "/healthz"}},
                    }
                ],
            },
        },
    },
}


def missing(place: Path) -> str:
    """Say why pods cannot be started here; empty when they can."""
    why = bridge.missing()
    if why:
        return why
    for name in ("upper", "work", "root"):
        (place / name).mkdir()
    layers = f"lowerdir=/,upperdir={place}/upper,workdir={place}/work"
    script = f"mount -t overlay overlay -o {layers} {place}/root"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"pods need namespaces and overlayfs: {tried.stderr.strip()}" if tried.returncode else ""


class Kube:
    """A running cluster, as a test sees it: by its API, and by the processes of its pods."""

    def __init__(
        self, api: Api, url: str, network: Network, place: Path, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.api, self.url, self.network, self.place, self.loop = api, url, network, place, loop
        self.config = place / "config"

    def ask(self, path: str, method: str = "GET", body: Object | list[Object] | None = None) -> Any:
        """Call the API; without an account, that of an administrator."""
        request = urllib.request.Request(
            f"{self.url}{path}", method=method, data=None if body is None else json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read().decode()
        return text if path.endswith("/log") else json.loads(text)

    def apply(self, document: Object) -> None:
        """Create an object, and its namespace."""
        kind = next(each for each in self.api.kinds if each.kind == document["kind"])
        namespace = document["metadata"].get("namespace", "headrace")
        base = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"
        self.ask(
            f"{base}/namespaces/{namespace}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}",
            "POST",
            document,
        )

    def apply_file(self, path: Path) -> None:
        for document in yaml.safe_load_all(path.read_text()):
            self.apply(document)

    def pods(self, component: str, namespace: str = "headrace") -> list[Object]:
        """The pods of a component of Dask, those that are being deleted left out."""
        found = self.ask(f"/api/v1/namespaces/{namespace}/pods?labelSelector=dask.org/component={component}")
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    def job_pods(self, namespace: str = "headrace") -> list[Object]:
        found = self.ask(
            f"/api/v1/namespaces/{namespace}/pods?labelSelector=app.kubernetes.io/component=coordinator"
        )
        return list(found["items"])

    def jobs(self, namespace: str = "headrace") -> list[Object]:
        return list(self.ask(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"])

    def clusters(self, namespace: str = "headrace") -> list[Object]:
        return list(self.ask(f"/apis/kubernetes.dask.org/v1/namespaces/{namespace}/daskclusters")["items"])

    def log(self, pod: Object) -> str:
        meta = pod["metadata"]
        return str(self.ask(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"))

    def kill(self, pod: Object) -> None:
        """End the container of a pod, as a node that runs out of memory does: at once."""
        wanted = str(self.place / "pods" / pod["metadata"]["name"])
        for process in tree(os.getpid()):
            if process.name() == "unshare" and any(wanted in word for word in process.cmdline()):
                process.kill()

    def limit(self, pod: Object, memory: str) -> None:
        """Give the container of a pod another memory limit, as resizing it in place does."""
        meta = pod["metadata"]
        change = {"op": "replace", "path": "/spec/containers/0/resources/limits/memory", "value": memory}
        self.ask(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", "PATCH", [change])

    @contextmanager
    def exposed(self, port: int) -> Iterator[str]:
        """Let pods reach a port of this machine's loopback; yields the address."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

        async def start() -> asyncio.Server:
            return await asyncio.start_server(serve, self.network.gateway, port)

        server = asyncio.run_coroutine_threadsafe(start(), self.loop).result(10)
        try:
            yield f"{self.network.gateway}:{port}"
        finally:
            self.loop.call_soon_threadsafe(server.close)

    def run(
        self, name: str, words: list[str], *, account: str, look: Callable[[], None], seconds: float = 600
    ) -> tuple[str, str]:
        """Run a program in a pod of its own; returns its phase and what it printed, looking at something meanwhile."""
        container = {"name": "client", "image": "headrace", "args": words}
        spec = {"restartPolicy": "Never", "serviceAccountName": account, "containers": [container]}
        meta = {"name": name, "namespace": "headrace"}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        path = f"/api/v1/namespaces/headrace/pods/{name}"

        def over() -> bool:
            look()
            return self.ask(path).get("status", {}).get("phase") in {"Succeeded", "Failed"}

        wait_for(over, seconds, self.told)
        return self.ask(path)["status"]["phase"], self.ask(f"{path}/log")

    def told(self) -> str:
        """All pods with their states and the ends of their logs, for a test that fails."""
        found = self.ask("/api/v1/pods")["items"]
        return "\n".join(
            f"--- {pod['metadata']['name']}: {pod.get('status')}\n{self.log(pod)[-2_000:]}" for pod in found
        )


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes until it ends."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@contextmanager
def kubernetes(place: Path) -> Iterator[Kube]:
    """Start a cluster with the Dask operator below `place`; yields it when the operator is ready."""
    started: dict[str, Any] = {}
    ready = threading.Event()
    over = threading.Event()
    with Network(place / "hosts") as network:
        thread = threading.Thread(
            target=lambda: asyncio.run(_serve(place, network, started, ready, over)), name="kubernetes"
        )
        thread.start()
        try:
            assert ready.wait(30)
            kube = Kube(started["api"], started["url"], network, place, started["loop"])
            kube.config.write_text(kubeconfig(kube.url, "headrace", "administrator"))
            kube.apply({**OPERATOR, "metadata": {"name": "operator", "namespace": "dask-operator"}})
            wait_for(lambda: _available(kube), 180, kube.told)
            yield kube
        finally:
            over.set()
            thread.join(30)


def _available(kube: Kube) -> bool:
    operator = kube.ask("/apis/apps/v1/namespaces/dask-operator/deployments/operator")
    return bool(operator.get("status", {}).get("readyReplicas"))


async def _serve(
    place: Path, network: Network, started: dict[str, Any], ready: threading.Event, over: threading.Event
) -> None:
    store = Store()
    tokens: dict[tuple[str, str], str] = {}

    def token(namespace: str, account: str) -> str:
        given = tokens.setdefault((namespace, account), uuid.uuid4().hex)
        if account == "headrace":  # the rights of others are not what is tested
            api.identities[given] = (namespace, account)
        return given

    api = Api(store, lambda uid: kubelet.log_of(uid))  # noqa: PLW0108 - the kubelet is made after it
    for definition in definitions():
        api.define(definition)
    runner = web.AppRunner(api.application(), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, network.gateway, 0)
    await site.start()
    (address,) = runner.addresses
    url = f"http://{network.gateway}:{address[1]}"
    kubelet = Kubelet(store, network, place / "pods", url, token)
    started |= {"api": api, "url": url, "loop": asyncio.get_running_loop()}
    ready.set()
    try:
        async with ClientSession() as session:
            while not over.is_set():
                reconcile(store)
                await kubelet.step(session)
                network.name_services(store)
                await asyncio.sleep(0.1)
    finally:
        kubelet.stop()
        await runner.cleanup()


def wait_for(
    condition: Callable[[], object], seconds: float = 60, told: Callable[[], str] = lambda: ""
) -> None:
    """Wait until something holds; `told` says what there is when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.1)
