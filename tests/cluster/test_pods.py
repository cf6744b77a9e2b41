"""What is said when the operator, a pod or a right is missing; tests/cluster/kube has the rest, with the real operator."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.cluster.kube.api import PODS, Api
from tests.cluster.kube.controllers import reconcile
from tests.cluster.kube.kubelet import kubeconfig
from tests.cluster.kube.schemas import definitions
from tests.cluster.kube.store import Store

from headrace.cluster.kubernetes import KubernetesCluster, autoscaler_object, cluster_object
from headrace.cluster.pods import pods
from headrace.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLUSTER = KubernetesCluster.model_validate(
    {"kind": "kubernetes", "image": "headrace:1", "memory": "1GiB", "namespace": "ml", "tls": "off"}
)


class Server:
    """An API server with controllers, but without operator and kubelet."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = Store()
        self.api = Api(self.store, lambda _uid: None)
        self.thread = threading.Thread(target=self.loop.run_forever)

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def start(self) -> str:
        for definition in definitions():
            self.api.define(definition)
        self.runner = web.AppRunner(self.api.application(), shutdown_timeout=1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.controllers = asyncio.create_task(self.control())
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def control(self) -> None:
        while True:
            reconcile(self.store)
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self.controllers.cancel()
        await self.runner.cleanup()

    async def create(self, document: dict[str, Any]) -> None:
        self.store.create(PODS, "ml", document)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    gc.collect()  # kr8s goes on with the server of the test before as long as anything refers to it
    started = Server()
    started.thread.start()
    url = started.do(started.start())
    config = tmp_path / "config"
    config.write_text(kubeconfig(url, "ml", "mine"))
    monkeypatch.setenv("KUBECONFIG", str(config))
    yield started
    started.do(started.stop())
    started.loop.call_soon_threadsafe(started.loop.stop)
    started.thread.join()
    started.loop.close()


def kinds(server: Server) -> list[str]:
    return sorted(kind.kind for kind, _ in server.store.everything() if kind.group == "kubernetes.dask.org")


def test_without_an_operator_nothing_comes_and_nothing_is_left(server: Server):
    made = cluster_object(CLUSTER, "toy")
    parts = [autoscaler_object(CLUSTER, "toy")]
    with (
        pytest.raises(RunError, match=r"did not come within 1 s \(the operator has not made its pod\)"),
        pods(made, parts, protocol="tcp", wait=1),
    ):
        pass
    assert kinds(server) == []


def add_scheduler(server: Server, status: dict[str, Any]) -> None:
    """Make the pod that the operator would, as its kubelet would say that it is."""
    labels = {"dask.org/cluster-name": "toy", "dask.org/component": "scheduler"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "toy", "labels": labels},
        "spec": {"containers": [{"name": "it"}]},
        "status": status,
    }
    server.do(server.create(pod))


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def test_what_hinders_the_scheduler_is_told(server: Server):
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    add_scheduler(server, {"phase": "Pending", "containerStatuses": [waiting]})
    with (
        pytest.raises(RunError, match="ImagePullBackOff no such image"),
        pods(cluster_object(CLUSTER, "toy"), [], protocol="tcp", wait=1),
    ):
        pass


def test_a_missing_right_is_one_line(server: Server):
    server.api.identities["mine"] = ("ml", "nobody")
    with (
        pytest.raises(RunError, match=r"Kubernetes refuses \(.*cannot .* daskclusters"),
        pods(cluster_object(CLUSTER, "toy"), [], protocol="tcp", wait=1),
    ):
        pass


def test_a_scheduler_without_a_service_is_one_line(server: Server):
    add_scheduler(server, READY)
    with (
        pytest.raises(RunError, match=r"Kubernetes refuses \(.*toy-scheduler"),
        pods(cluster_object(CLUSTER, "toy"), [], protocol="tcp", wait=10),
    ):
        pass
    assert kinds(server) == []


def test_a_run_is_what_it_came_to_when_its_cluster_cannot_be_removed(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    add_scheduler(server, READY)
    with pods(cluster_object(CLUSTER, "toy"), [], protocol="tcp", wait=10) as address:
        assert address == "tcp://toy-scheduler.ml:8786"
        server.api.identities["mine"] = ("ml", "nobody")
    (told,) = caplog.messages
    assert "nobody cannot delete daskclusters" in told
    assert told.endswith("kubectl delete daskcluster -n ml toy")
