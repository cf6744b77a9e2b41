from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml
from pydantic import ValidationError
from tests.cluster.kube.schemas import CHART, kinds, problems
from tests.cluster.kube.store import without_nulls

from headrace.cluster.certificates import settings_at
from headrace.cluster.config import load_cluster
from headrace.cluster.coordinator import FAILED, INTERRUPTED
from headrace.cluster.kubernetes import (
    CERTIFICATES,
    KubernetesCluster,
    autoscaler_object,
    certificates_object,
    cluster_object,
    coordinator_object,
)
from headrace.errors import InputError

MANIFESTS = sorted(Path("cluster/kubernetes").glob("*.yaml"))
KEYS = {"kind": "kubernetes", "image": "headrace:1", "memory": "1GiB"}
FULL = {
    "workers": {"min": 2, "max": 8},
    "secret": "s3",
    "claim": "data",
    "node_selector": {"pool": "ml"},
    "local_directory": "/scratch",
    "time_limit": "12h",
}


def cluster_of(**keys: object) -> KubernetesCluster:
    return KubernetesCluster.model_validate({**KEYS, **keys})


@pytest.mark.parametrize("keys", [{}, {"tls": "off"}, FULL])
def test_what_is_asked_of_the_operator_fits_its_schemas(keys: dict[str, object]):
    cluster = cluster_of(**keys)
    made = without_nulls(cluster_object(cluster, "headrace-1"))
    assert problems(made) == []
    assert problems(autoscaler_object(cluster, "headrace-1")) == []
    made["spec"]["worker"]["replicsa"] = 2
    assert problems(made)


def test_pods_run_the_commands_that_distributed_has_with_their_limits():
    made = cluster_object(cluster_of(threads=3), "headrace-1")
    scheduler = made["spec"]["scheduler"]["spec"]["containers"][0]
    worker = made["spec"]["worker"]["spec"]["containers"][0]
    assert scheduler["args"][:2] == ["dask", "scheduler"]
    assert worker["args"][:4] == ["dask", "worker", "--nthreads=3", f"--memory-limit={1 << 30}"]
    assert worker["resources"]["limits"] == {"memory": "1536Mi"}
    environment = {entry["name"]: entry.get("value") for entry in worker["env"]}
    assert environment["OMP_NUM_THREADS"] == "1"
    settings = dask.config.deserialize(environment["DASK_INTERNAL_INHERIT_CONFIG"])
    assert settings["distributed"]["worker"]["memory"]["spill"] is False
    # what the kubelet and the operator ask, and nothing else
    assert settings["distributed"]["scheduler"]["http"]["routes"] == [
        "distributed.http.scheduler.api",
        "distributed.http.health",
    ]


def test_pods_are_encrypted_with_certificates_of_a_secret_that_goes_with_the_cluster():
    cluster = cluster_of()
    made = cluster_object(cluster, "headrace-1")["spec"]
    secret = certificates_object(cluster, "headrace-1", {"ca.pem": "A", "cert.pem": "B", "key.pem": "C"})
    for role in ("scheduler", "worker"):
        pod = made[role]["spec"]
        assert pod["volumes"] == [
            {"name": "certificates", "secret": {"secretName": secret["metadata"]["name"]}}
        ]
        (mount,) = pod["containers"][0]["volumeMounts"]
        environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
        assert environment["DASK_SCHEDULER_ADDRESS"].startswith("tls://headrace-1-scheduler.")
        comm = dask.config.deserialize(environment["DASK_INTERNAL_INHERIT_CONFIG"])["distributed"]["comm"]
        assert comm["require-encryption"] is True
        for role_ in ("scheduler", "worker"):
            files = (comm["tls"]["ca-file"], comm["tls"][role_]["cert"], comm["tls"][role_]["key"])
            assert [file.removeprefix(mount["mountPath"] + "/") for file in files] == list(
                secret["stringData"]
            )
    assert "tls://0.0.0.0" in made["scheduler"]["spec"]["containers"][0]["args"]


def test_nothing_is_mounted_without_encryption():
    made = cluster_object(cluster_of(tls="off"), "headrace-1")["spec"]
    for role in ("scheduler", "worker"):
        assert "volumes" not in made[role]["spec"]


def test_workers_have_a_volume_for_what_they_keep():
    made = cluster_object(cluster_of(tls="off", local_directory="/scratch", disk="1GiB"), "headrace-1")
    worker = made["spec"]["worker"]["spec"]
    assert worker["volumes"] == [{"name": "local", "emptyDir": {"sizeLimit": "2048Mi"}}]
    assert "--local-directory=/scratch" in worker["containers"][0]["args"]


def test_pods_have_few_rights():
    made = cluster_object(cluster_of(), "headrace-1")["spec"]
    for pod in (made["scheduler"]["spec"], made["worker"]["spec"], coordinator_pod()):
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def coordinator_pod(**keys: object) -> dict[str, Any]:
    pod: dict[str, Any] = coordinator_object(cluster_of(**keys), "toy-1", ["headrace"])["spec"]["template"][
        "spec"
    ]
    return pod


def test_a_volume_is_given_to_the_group_of_the_user_of_the_image():
    dockerfile = Path("cluster/Dockerfile").read_text()
    cluster = cluster_of(claim="data")
    spec = cluster_object(cluster, "headrace-1")["spec"]
    job = coordinator_object(cluster, "headrace-1", ["headrace"])["spec"]["template"]
    for pod in (spec["scheduler"], spec["worker"], job):
        group = pod["spec"]["securityContext"]["fsGroup"]
        assert f"--uid {group} --user-group" in dockerfile
        assert f"USER {group}\n" in dockerfile
    without = cluster_object(cluster_of(), "headrace-1")["spec"]["worker"]["spec"]
    assert "fsGroup" not in without["securityContext"]


def test_a_coordinator_that_dies_is_followed_by_another_until_its_run_has_ended():
    job = coordinator_object(cluster_of(), "toy-1", ["headrace"])["spec"]
    given_up = job["podFailurePolicy"]["rules"][-1]["onExitCodes"]["values"]
    assert given_up == [FAILED, InputError.exit_code, INTERRUPTED]
    assert job["backoffLimit"] == 6
    assert coordinator_pod(service_account="me")["serviceAccountName"] == "me"
    limited = coordinator_object(cluster_of(time_limit="12h"), "toy-1", ["headrace"])
    assert limited["spec"]["activeDeadlineSeconds"] == 12 * 3600


def test_what_cannot_be_done_is_said_when_the_file_is_read():
    with pytest.raises(ValidationError, match="kubectl port-forward"):
        cluster_of(dashboard="8787")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_for_users_fits_its_schemas(path: Path):
    for document in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind", "metadata", "spec"} - {"spec"} <= set(document)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "headrace"
        if document["kind"] in kinds():
            assert problems(document) == []


@pytest.mark.parametrize("path", [*MANIFESTS, None], ids=str)
def test_kinds_of_kubernetes_itself_fit_its_schemas_strictly(path: Path | None):
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    documents = (
        [
            coordinator_object(cluster_of(**FULL), "toy", ["python"]),
            certificates_object(cluster_of(), "toy", {"ca.pem": "text"}),
        ]
        if path is None
        else [each for each in yaml.safe_load_all(path.read_text()) if "dask.org" not in each["apiVersion"]]
    )
    for document in documents:
        validate.validate(document, validate.latest_version(), strict=True)


def test_the_manifests_run_the_commands_that_headrace_does():
    cluster, _ = yaml.safe_load_all(Path("cluster/kubernetes/cluster.yaml").read_text())
    (job,) = yaml.safe_load_all(Path("cluster/kubernetes/job.yaml").read_text())
    given: Any = load_cluster("cluster/kubernetes.yaml")
    file = given.model_copy(update={"claim": None})  # the manifests have data and runs on a store
    made = cluster_object(file, "headrace")["spec"]
    for role in ("scheduler", "worker"):
        theirs = cluster["spec"][role]["spec"]["containers"][0]
        ours = made[role]["spec"]["containers"][0]
        assert theirs["args"][:2] == ours["args"][:2]
        assert theirs["securityContext"] == ours["securityContext"]
    pod = job["spec"]["template"]["spec"]
    made_job = coordinator_object(file, "toy", ["python"])["spec"]
    ours = made_job["template"]["spec"]
    assert pod["restartPolicy"] == ours["restartPolicy"] == "Never"
    assert job["spec"]["podFailurePolicy"] == made_job["podFailurePolicy"]
    assert pod["securityContext"] == ours["securityContext"]


def paths(values: Any, before: str = "") -> set[str]:
    """The keys of a document, the dots of its levels between them."""
    if not isinstance(values, dict) or not values:
        return {before}
    return {path for key, value in values.items() for path in paths(value, f"{before}.{key}".lstrip("."))}


def test_the_values_for_the_operator_are_keys_of_its_chart():
    values = yaml.safe_load(Path("cluster/helm/operator.yaml").read_text())
    chart = yaml.safe_load((CHART / "values.yaml").read_text())
    free = {path for path in paths(chart) if not any(path.startswith(key) for key in ("resources", "podSec"))}
    assert (
        paths({key: value for key, value in values.items() if key not in {"resources", "podSecurityContext"}})
        <= free
    )
    assert {"resources", "podSecurityContext"} <= set(chart)
    # what it was tested with
    assert values["image"]["tag"] == version("dask-kubernetes")


DASK_CHART = {
    "fullnameOverride", "jupyter.enabled", "jupyter.rbac",
    *(
        f"{role}.{key}"
        for role in ("scheduler", "worker")
        for key in ("image.repository", "image.tag", "extraArgs", "env", "resources", "securityContext", "readinessProbe")
    ),
    "worker.replicas", "worker.custom_scheduler_url", "worker.threads_per_worker",
}  # fmt: skip
"""The keys that are used of those that the chart dask documents in its values.yaml (appVersion 2023.10.1)."""


def test_the_values_for_the_chart_of_dask_are_its_keys_and_make_pods_that_fit():
    values = yaml.safe_load(Path("cluster/helm/values.yaml").read_text())
    deep = ("env", "resources", "securityContext", "readinessProbe", "extraArgs")
    for role in ("scheduler", "worker"):
        validate_pod(values[role])
        for key in deep:
            values[role].pop(key, None)
    assert paths(values) <= DASK_CHART


def validate_pod(values: dict[str, Any]) -> None:
    """Check what the chart copies into its pods."""
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    kept = {key: values[key] for key in ("env", "resources", "readinessProbe") if key in values}
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod"},
        "spec": {
            "securityContext": values["securityContext"],
            "containers": [{"name": "it", "args": values["extraArgs"], **kept}],
        },
    }
    validate.validate(pod, validate.latest_version(), strict=True)


def test_a_cluster_that_stays_takes_its_certificates_as_dask_reads_them():
    """Dask reads each variable as the setting that headrace would give."""
    cluster, _ = yaml.safe_load_all(Path("cluster/kubernetes/cluster.yaml").read_text())
    wanted = settings_at(CERTIFICATES)
    for role in ("scheduler", "worker"):
        (container,) = cluster["spec"][role]["spec"]["containers"]
        read = dask.config.collect_env({entry["name"]: entry["value"] for entry in container["env"]})
        for name, value in wanted.items():
            if f".{'worker' if role == 'scheduler' else 'scheduler'}." not in name:
                assert dask.config.get(name, config=read) == value


def test_a_coordinator_may_do_no_more_than_it_must():
    documents = yaml.safe_load_all(Path("cluster/kubernetes/access.yaml").read_text())
    (role,) = [document for document in documents if document["kind"] == "Role"]
    for rule in role["rules"]:
        assert "*" not in [*rule["resources"], *rule["verbs"], *rule["apiGroups"]]
        # what others keep in Secrets cannot be read
        assert "secrets" not in rule["resources"] or rule["verbs"] == ["create"]
