"""A cluster of pods over its life: asked of the Dask operator, waited for, reached over TLS, and removed.

The class KubeCluster of dask-kubernetes speaks no TLS and waits without end for a scheduler whose pod cannot start, so
the operator is asked directly: its objects are its interface.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from headrace.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger("headrace")

POLL_SECONDS = 0.5
REMOVED_SECONDS = 120.0
"""How long the operator may take to remove a cluster."""


@contextmanager
def pods(
    cluster: dict[str, Any], parts: Sequence[dict[str, Any]], *, protocol: str, wait: float
) -> Iterator[str]:
    """Make a cluster of pods and yield the address of its scheduler; removed when the context ends.

    Parameters
    ----------
    cluster : dict
        The DaskCluster. One of the same name is removed first.
    parts : sequence of dict
        Objects that belong to it and go with it.
    protocol : str
        ``tcp`` or ``tls``.
    wait : float
        Seconds that the scheduler's pod may take to come.

    Raises
    ------
    RunError
        When Kubernetes refuses, the operator does nothing, or the scheduler's pod does not come.
    """
    with _refusals():
        made = _object(cluster)
        _remove(made)
    try:
        with _refusals():
            made.create()
            owner = {key: made.raw[key] for key in ("apiVersion", "kind")}
            owner |= {key: made.metadata[key] for key in ("name", "uid")}
            for part in parts:
                meta = {**part["metadata"], "ownerReferences": [owner]}
                _object({**part, "metadata": meta}).create()
            _wait_for_scheduler(made, wait)
        with _reached(made, protocol) as address:
            yield address
    finally:
        try:
            with _refusals():
                _remove(made)
        except RunError as error:  # it must not hide what the run came to
            logger.warning(
                "WARNING: the cluster of pods is left behind (%s); remove it: kubectl delete daskcluster -n %s %s",
                error.what,
                made.namespace,
                made.name,
            )


def _object(document: dict[str, Any]) -> Any:
    from kr8s.objects import new_class

    return new_class(document["kind"], document["apiVersion"])(document)


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in one line what Kubernetes answers."""
    import httpx
    import kr8s

    try:
        yield
    except (kr8s.ServerError, kr8s.NotFoundError, kr8s.APITimeoutError, httpx.HTTPError) as error:
        raise RunError(
            f"Kubernetes refuses ({' '.join(str(error).split())[:300]})",
            where="kind: kubernetes",
            mend="check that the Dask operator is installed, and: kubectl auth can-i create daskclusters",
        ) from error


def _wait_for_scheduler(made: Any, seconds: float) -> None:
    """Wait until the scheduler answers its kubelet.

    Raises
    ------
    RunError
        When it does not in time; says what hinders its pod.
    """
    from kr8s.objects import Pod

    labels = {"dask.org/cluster-name": made.name, "dask.org/component": "scheduler"}
    end = time.monotonic() + seconds
    told = "the operator has not made its pod"
    while time.monotonic() < end:
        for pod in Pod.list(namespace=made.namespace, label_selector=labels):
            status = dict(pod).get("status", {})
            if _is_ready(status):
                return
            told = _hindrance(status)
        time.sleep(POLL_SECONDS)
    raise RunError(
        f"the scheduler did not come within {seconds:.0f} s ({told})",
        where="kind: kubernetes",
        mend=f"kubectl describe pods -n {made.namespace} -l dask.org/cluster-name={made.name}, or raise wait",
    )


def _is_ready(status: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))


def _hindrance(status: dict[str, Any]) -> str:
    """Say why a pod is not ready."""
    for container in status.get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"its pod: {waiting.get('reason', 'waiting')} {waiting.get('message', '')}".strip()
    for condition in status.get("conditions", ()):
        if condition["status"] == "False" and condition.get("message"):
            return f"its pod: {condition['message']}"
    return f"its pod is {status.get('phase', 'Pending')}"


@contextmanager
def _reached(made: Any, protocol: str) -> Iterator[str]:
    """Yield the scheduler's address: that of its service within Kubernetes, else a port of this machine."""
    from kr8s.objects import Service

    name = f"{made.name}-scheduler"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        yield f"{protocol}://{name}.{made.namespace}:8786"
        return
    with _refusals():
        service = Service.get(name, namespace=made.namespace)
    with service.portforward(8786, local_port="auto") as port:
        yield f"{protocol}://127.0.0.1:{port}"


def _remove(made: Any) -> None:
    """Remove a cluster if it is there, and wait until it is gone."""
    import kr8s

    with suppress(kr8s.NotFoundError):
        made.delete(propagation_policy="Foreground")
    end = time.monotonic() + REMOVED_SECONDS
    while made.exists() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
