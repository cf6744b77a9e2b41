"""Workers as pods that the Dask operator starts; the objects are plain data, made before anything is asked for."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from headrace.cluster.certificates import settings_at, texts_of
from headrace.cluster.connect import KEPT_MEMORY, ONE_THREAD, TERMINATE_FRACTION, settings_of
from headrace.cluster.jobqueue import inherited
from headrace.cluster.workers import ScaledWorkers, Seconds
from headrace.errors import MissingExtraError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from distributed.security import Security

POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
VOLUME_SECURITY = {"fsGroup": 10001, "fsGroupChangePolicy": "OnRootMismatch"}
"""A volume comes as root's: it is given to the group of the user that cluster/Dockerfile makes."""
CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
SCHEDULER_MEMORY = 2 << 30
"""Bytes of the scheduler's pod: it holds the graph of a pass, and none of the data."""
HTTP_ROUTES = ("distributed.http.scheduler.api", "distributed.http.health")
"""What the scheduler answers over HTTP."""
CERTIFICATES = "/etc/headrace/certificates"
"""Where pods find the certificates of the run."""
KEPT_SECONDS = 7 * 86400
"""How long a Job that has ended can be looked at."""
ENDED_FOR_GOOD = (1, 2, 130)
"""Exit codes of a coordinator whose run has failed, was given wrong input or was cancelled."""
JOB_NAME, JOB_UID = "HEADRACE_JOB_NAME", "HEADRACE_JOB_UID"
"""Variables that tell the pod of a coordinator which Job it is of."""


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
        default=None,
        description="A PersistentVolumeClaim mounted at /data in all pods, for data and runs; group 10001 may write to it",
    )
    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes that may be used")

    time_limit: Seconds | None = Field(
        default=None, description="How long a submitted job may take in all, such as 12h"
    )

    @model_validator(mode="after")
    def _forwards_the_dashboard(self) -> KubernetesCluster:
        if self.dashboard != "off":
            raise ValueError("the dashboard is reached by kubectl port-forward; leave it out")
        return self

    def deploy(self, security: Security | None) -> AbstractContextManager[Any]:
        """Ask the operator for a cluster of pods, and remove it at the end."""
        from headrace.cluster.pods import pods

        # In the pod of a submitted job the cluster is named by the job and belongs to it: one that a killed coordinator
        # left is found, and it goes with the job whatever happens.
        uid = os.environ.get(JOB_UID)
        name = f"headrace-{(uid or secrets.token_hex(4))[:8]}"
        made = cluster_object(self, name)
        if uid is not None:
            job = {"apiVersion": "batch/v1", "kind": "Job", "name": os.environ[JOB_NAME], "uid": uid}
            made["metadata"]["ownerReferences"] = [job]
        parts = []
        if security is not None:
            parts.append(certificates_object(self, name, texts_of(security)))
        if self.bounds.min < self.bounds.max:
            parts.append(autoscaler_object(self, name))
        return pods(made, parts, protocol="tcp" if security is None else "tls", wait=self.wait)


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
    limits: dict[str, object] = {"nthreads": cluster.threads, "memory-limit": cluster.memory}
    if cluster.local_directory is not None:
        limits["local-directory"] = cluster.local_directory
    # The commands dask-scheduler and dask-worker, which dask-kubernetes calls by default, are gone from distributed.
    spec: dict[str, Any] = make_cluster_spec(
        name,
        image=cluster.image,
        n_workers=cluster.bounds.min,
        worker_command=["dask", "worker", *(f"--{key}={value}" for key, value in limits.items())],
    )
    spec["metadata"]["namespace"] = cluster.namespace
    scheduler, worker = spec["spec"]["scheduler"]["spec"], spec["spec"]["worker"]["spec"]
    protocol = "tls" if cluster.encrypted else "tcp"
    # the pod's address, which its service needs
    scheduler["containers"][0]["args"] = ["dask", "scheduler", "--host", f"{protocol}://0.0.0.0"]
    # The kubelet asks for health; the operator scales by HTTP, which also works when its Dask is of another version.
    settings = settings_of(cluster) | {"distributed.scheduler.http.routes": list(HTTP_ROUTES)}
    if cluster.encrypted:
        settings |= settings_at(CERTIFICATES)
    environment = {
        **ONE_THREAD,
        **KEPT_MEMORY,
        "DASK_INTERNAL_INHERIT_CONFIG": inherited(settings),
        "DASK_SCHEDULER_ADDRESS": f"{protocol}://{name}-scheduler.{cluster.namespace}.svc.cluster.local:8786",
    }
    # Kubernetes ends a pod at once at its limit; the nanny, which says why, must come first.
    _furnish(
        cluster, worker, environment, cpu=cluster.threads, memory=int(cluster.memory * TERMINATE_FRACTION)
    )
    _furnish(cluster, scheduler, environment, cpu=1, memory=SCHEDULER_MEMORY)
    for pod in (scheduler, worker):
        if cluster.encrypted:
            _mount(pod, "certificates", CERTIFICATES, {"secret": {"secretName": certificates_name(name)}})
    if cluster.local_directory is not None:
        # as much again as the blocks may take, for temporary files
        _mount(
            worker,
            "local",
            cluster.local_directory,
            {"emptyDir": {"sizeLimit": f"{2 * cluster.disk >> 20}Mi"}},
        )
    return spec


def certificates_name(name: str) -> str:
    """Name the Secret with the certificates of a cluster."""
    return f"{name}-certificates"


def certificates_object(cluster: KubernetesCluster, name: str, files: dict[str, str]) -> dict[str, Any]:
    """Make the Secret with the certificates of a cluster."""
    meta = {"name": certificates_name(name), "namespace": cluster.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "stringData": files}


def autoscaler_object(cluster: KubernetesCluster, name: str) -> dict[str, Any]:
    """Make the DaskAutoscaler of a cluster file."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {"cluster": name, "minimum": cluster.bounds.min, "maximum": cluster.bounds.max},
    }


def coordinator_object(cluster: KubernetesCluster, name: str, command: list[str]) -> dict[str, Any]:
    """Make the Job whose pod leads a run; when it dies another is started, and goes on with the run.

    A run that has ended by itself would only come to the same end again, so that its exit code fails the Job. A pod whose node is drained or
    taken away is not counted among the failures.

    Parameters
    ----------
    command : list of str
        What the pod runs.
    """
    pod: dict[str, Any] = {
        "restartPolicy": "Never",  # which a policy for failures asks for
        "serviceAccountName": cluster.service_account,
        "containers": [{"name": "coordinator", "image": cluster.image, "args": command}],
    }
    _furnish(cluster, pod, ONE_THREAD | {JOB_NAME: name}, cpu=1, memory=max(SCHEDULER_MEMORY, cluster.memory))
    label = {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}
    pod["containers"][0]["env"].append({"name": JOB_UID, "valueFrom": {"fieldRef": label}})
    labels = {"app.kubernetes.io/name": "headrace", "app.kubernetes.io/component": "coordinator"}
    ended = {"containerName": "coordinator", "operator": "In", "values": list(ENDED_FOR_GOOD)}
    failures = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": ended},
    ]
    limit = {} if cluster.time_limit is None else {"activeDeadlineSeconds": round(cluster.time_limit)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": cluster.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 6,
            "podFailurePolicy": {"rules": failures},
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            **limit,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _furnish(
    cluster: KubernetesCluster, pod: dict[str, Any], environment: dict[str, str], *, cpu: int, memory: int
) -> None:
    """Give a pod its limits, environment, volume and as few rights as it can live with."""
    pod["securityContext"] = POD_SECURITY if cluster.claim is None else POD_SECURITY | VOLUME_SECURITY
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
        _mount(pod, "data", "/data", {"persistentVolumeClaim": {"claimName": cluster.claim}})


def _mount(pod: dict[str, Any], name: str, path: str, volume: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    pod.setdefault("volumes", []).append({"name": name, **volume})
    container.setdefault("volumeMounts", []).append({"name": name, "mountPath": path})
