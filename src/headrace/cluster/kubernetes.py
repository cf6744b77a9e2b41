"""Workers as pods that the Dask operator starts; the objects are plain data, made before anything is asked for."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from headrace.cluster.connect import KEPT_MEMORY, ONE_THREAD, TERMINATE_FRACTION, settings_of
from headrace.cluster.jobqueue import inherited
from headrace.cluster.workers import ScaledWorkers
from headrace.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed.security import Security

POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SCHEDULER_MEMORY = 2 << 30
"""Bytes of the scheduler's pod: it holds the graph of a pass, and none of the data."""


class KubernetesCluster(ScaledWorkers):
    """Workers as pods, started by the operator of dask-kubernetes."""

    kind: Literal["kubernetes"] = Field(
        description="kubernetes: each worker a pod, started by the Dask operator"
    )
    image: str = Field(
        min_length=1, description="Image with headrace, as cluster/Dockerfile builds it; name its digest"
    )
    namespace: str = Field(default="default", description="Namespace of all objects")
    service_account: str = Field(
        default="headrace",
        description="Account of the coordinator of a submitted job; cluster/kubernetes/ has it",
    )
    secret: str | None = Field(
        default=None, description="A Secret whose entries become environment variables of all pods"
    )
    claim: str | None = Field(
        default=None, description="A PersistentVolumeClaim mounted at /data in all pods, for data and runs"
    )
    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes that may be used")

    @model_validator(mode="after")
    def _says_that_it_is_open(self) -> KubernetesCluster:
        if self.tls != "off":
            raise ValueError(
                "the operator starts schedulers without encryption; write tls: off, and keep others away by "
                "cluster/kubernetes/network.yaml or an encrypted pod network"
            )
        if self.dashboard != "off":
            raise ValueError("the dashboard is reached by kubectl port-forward; leave it out")
        return self

    @contextmanager
    def deploy(self, security: Security | None) -> Iterator[Any]:
        """Ask the operator for a cluster of pods, and remove it at the end."""
        del security
        try:
            from dask_kubernetes.operator import KubeCluster
        except ImportError:
            raise MissingExtraError.for_extra("dask-kubernetes", "kubernetes") from None
        name = f"headrace-{secrets.token_hex(4)}"
        with KubeCluster(
            custom_cluster_spec=cluster_object(self, name),
            namespace=self.namespace,
            resource_timeout=int(self.wait),
            quiet=True,
        ) as cluster:
            if self.bounds.min < self.bounds.max:
                cluster.adapt(minimum=self.bounds.min, maximum=self.bounds.max)
            yield cluster


def cluster_object(cluster: KubernetesCluster, name: str) -> dict[str, Any]:
    """Make the DaskCluster of a cluster file.

    Raises
    ------
    MissingExtraError
        When dask-kubernetes is not installed.
    """
    try:
        from dask_kubernetes.operator import make_cluster_spec
    except ImportError:
        raise MissingExtraError.for_extra("dask-kubernetes", "kubernetes") from None
    limits = {"nthreads": cluster.threads, "memory-limit": cluster.memory}
    # The commands dask-scheduler and dask-worker, which dask-kubernetes calls by default, are gone from distributed.
    spec: dict[str, Any] = make_cluster_spec(
        name,
        image=cluster.image,
        n_workers=cluster.bounds.min,
        worker_command=["dask", "worker", *(f"--{key}={value}" for key, value in limits.items())],
    )
    spec["metadata"]["namespace"] = cluster.namespace
    scheduler, worker = spec["spec"]["scheduler"]["spec"], spec["spec"]["worker"]["spec"]
    scheduler["containers"][0]["args"] = ["dask", "scheduler", "--host", "0.0.0.0"]  # noqa: S104 - the pod's address, which its service needs
    settings = settings_of(cluster)
    # the kubelet asks the scheduler over HTTP whether it is well
    settings.pop("distributed.scheduler.http.routes", None)
    environment = {**ONE_THREAD, **KEPT_MEMORY, "DASK_INTERNAL_INHERIT_CONFIG": inherited(settings)}
    # Kubernetes ends a pod at once at its limit; the nanny, which says why, must come first.
    _furnish(
        cluster, worker, environment, cpu=cluster.threads, memory=int(cluster.memory * TERMINATE_FRACTION)
    )
    _furnish(cluster, scheduler, environment, cpu=1, memory=SCHEDULER_MEMORY)
    return spec


def coordinator_object(cluster: KubernetesCluster, name: str, command: list[str]) -> dict[str, Any]:
    """Make the Job whose pod leads a run; when it dies it is started again, and goes on with the run.

    Parameters
    ----------
    command : list of str
        What the pod runs.
    """
    pod: dict[str, Any] = {
        "restartPolicy": "OnFailure",
        "serviceAccountName": cluster.service_account,
        "containers": [{"name": "coordinator", "image": cluster.image, "args": command}],
    }
    _furnish(cluster, pod, ONE_THREAD, cpu=1, memory=max(SCHEDULER_MEMORY, cluster.memory))
    labels = {"app.kubernetes.io/name": "headrace", "app.kubernetes.io/component": "coordinator"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": cluster.namespace, "labels": labels},
        "spec": {"backoffLimit": 6, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def _furnish(
    cluster: KubernetesCluster, pod: dict[str, Any], environment: dict[str, str], *, cpu: int, memory: int
) -> None:
    """Give a pod its limits, environment, volume and as few rights as it can live with."""
    pod["securityContext"] = POD_SECURITY
    if cluster.node_selector:
        pod["nodeSelector"] = dict(cluster.node_selector)
    (container,) = pod["containers"]
    amounts = {"cpu": str(cpu), "memory": f"{memory >> 20}Mi"}
    container["resources"] = {"requests": amounts, "limits": {"memory": amounts["memory"]}}
    container["securityContext"] = CONTAINER_SECURITY
    container["env"] = [
        *({"name": key, "value": value} for key, value in environment.items()),
        *(entry for entry in container.get("env") or () if entry["name"] not in environment),
    ]
    if cluster.secret is not None:
        container["envFrom"] = [{"secretRef": {"name": cluster.secret}}]
    if cluster.claim is not None:
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": cluster.claim}}]
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
