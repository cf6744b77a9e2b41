"""The controllers that the tests need: Deployments and Jobs have their pods, Services an address, orphans are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.cluster.kube.api import CLAIMS, DEPLOYMENTS, JOBS, PODS, SERVICES
from tests.cluster.kube.store import FOREGROUND, RefusedError, merge_patch, now

if TYPE_CHECKING:
    from tests.cluster.kube.store import Kind, Object, Store

UNTOUCHED = (SERVICES, CLAIMS)
"""Kinds whose status the server writes when it sees them first."""


def reconcile(store: Store) -> None:
    """Do what is due after a change."""
    _remove_orphans(store)
    for deployment in store.objects(DEPLOYMENTS):
        _keep_pods(store, deployment)
    for job in store.objects(JOBS):
        _lead_job(store, job)
    for kind in UNTOUCHED:
        for thing in store.objects(kind):
            if "status" not in thing:
                new: dict[str, Any] = {"loadBalancer": {}} if kind is SERVICES else {"phase": "Bound"}
                store.set_status(kind, thing, **new)


def owned(store: Store, kind: Kind, owner: Object) -> list[Object]:
    uid = owner["metadata"]["uid"]
    return [
        thing
        for thing in store.objects(kind, owner["metadata"]["namespace"])
        if any(reference["uid"] == uid for reference in thing["metadata"].get("ownerReferences", []))
    ]


def conditions(thing: Object) -> dict[str, str]:
    """The state of each condition of an object."""
    return {each["type"]: each["status"] for each in thing.get("status", {}).get("conditions", [])}


def _remove_orphans(store: Store) -> None:
    found = list(store.everything())
    ending = {thing["metadata"]["uid"] for _, thing in found if ends_last(thing)}
    alive = {thing["metadata"]["uid"] for _, thing in found} - ending
    owners: set[str] = set()
    for kind, thing in found:
        references = {reference["uid"] for reference in thing["metadata"].get("ownerReferences", [])}
        owners |= references
        if references and not references & alive:
            store.delete(kind, thing, foreground=bool(references & ending))
    for kind, thing in found:
        if thing["metadata"]["uid"] in ending - owners:
            left = [name for name in thing["metadata"]["finalizers"] if name != FOREGROUND]
            store.update(kind, thing, merge_patch(thing, {"metadata": {"finalizers": left}}))


def ends_last(thing: Object) -> bool:
    """Whether an object is deleted after what it owns."""
    return "deletionTimestamp" in thing["metadata"] and FOREGROUND in thing["metadata"].get("finalizers", ())


def _make_pod(store: Store, owner: Object) -> None:
    template, meta = owner["spec"]["template"], owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    given = template["metadata"]
    labels = given.get("labels", {}) | {"batch.kubernetes.io/controller-uid": meta["uid"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{meta['name']}-",
            "labels": labels,
            "annotations": given.get("annotations", {}),
            "ownerReferences": [reference],
        },
        "spec": template["spec"],
    }
    try:
        store.create(PODS, meta["namespace"], pod)
    except RefusedError as refused:
        raise AssertionError(refused.message) from refused


def _keep_pods(store: Store, deployment: Object) -> None:
    pods = [
        pod
        for pod in owned(store, PODS, deployment)
        if pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}
        and "deletionTimestamp" not in pod["metadata"]
    ]
    wanted = deployment["spec"].get("replicas", 1) if "deletionTimestamp" not in deployment["metadata"] else 0
    for pod in pods[wanted:]:
        store.delete(PODS, pod)
    for _ in range(wanted - len(pods)):
        _make_pod(store, deployment)
    ready = sum(conditions(pod).get("Ready") == "True" for pod in pods)
    if deployment.get("status", {}).get("readyReplicas") != ready:
        store.set_status(DEPLOYMENTS, deployment, replicas=wanted, readyReplicas=ready)


def _lead_job(store: Store, job: Object) -> None:
    if {"Complete", "Failed"} & set(conditions(job)):
        return
    pods = owned(store, PODS, job)
    phases = [pod.get("status", {}).get("phase", "Pending") for pod in pods]
    # a container that is started again in its pod counts as a failure too
    failures = phases.count("Failed") + sum(restarts(pod) for pod in pods)
    if "Succeeded" in phases:
        _end_job(store, job, "Complete", succeeded=1)
    elif failures > job["spec"].get("backoffLimit", 6) or any(fails_job(job, pod) for pod in pods):
        for pod in pods:
            store.delete(PODS, pod)
        _end_job(store, job, "Failed", failed=failures)
    elif all(phase == "Failed" for phase in phases):
        _make_pod(store, job)


def fails_job(job: Object, pod: Object) -> bool:
    """Whether the policy of a job gives it up for the exit code of a pod."""
    rules = job["spec"].get("podFailurePolicy", {}).get("rules", [])
    wanted = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob"]
    return any(ending(pod).get("exitCode") in values for values in wanted)


def ending(pod: Object) -> dict[str, Any]:
    """How the container of a pod has ended; empty while it has not."""
    for each in pod.get("status", {}).get("containerStatuses", []):
        if "terminated" in each["state"]:
            return dict(each["state"]["terminated"])
    return {}


def _end_job(store: Store, job: Object, condition: str, **counts: Any) -> None:
    ended = {"type": condition, "status": "True", "lastTransitionTime": now()}
    store.set_status(JOBS, job, conditions=[ended], **counts)


def restarts(pod: Object) -> int:
    return sum(each["restartCount"] for each in pod.get("status", {}).get("containerStatuses", []))
