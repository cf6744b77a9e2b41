from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from headrace.cluster.config import load_cluster
from headrace.cluster.kubernetes import KubernetesCluster, cluster_object, coordinator_object

MANIFESTS = sorted(Path("cluster/kubernetes").glob("*.yaml"))
KEYS = {"kind": "kubernetes", "image": "headrace:1", "memory": "1GiB", "tls": "off"}


@cache
def crds() -> dict[str, Any]:
    """Schemas of the operator's own kinds, from its chart."""
    found = find_spec("dask_kubernetes")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    documents = [
        document
        for file in folder.glob("*.yaml")
        for document in yaml.load_all(file.read_text(), yaml.CSafeLoader)
    ]
    return {
        document["spec"]["names"]["kind"]: document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for document in documents
    }


def strict(schema: Any) -> Any:
    """Refuse keys that a schema does not list, as the server's strict check does."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if (
        isinstance(made.get("properties"), dict)
        and "additionalProperties" not in made
        and not made.get("x-kubernetes-preserve-unknown-fields")
        and not {"apiVersion", "metadata"} <= set(made["properties"])
    ):
        made["additionalProperties"] = False
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


@cache
def strict_schema(kind: str) -> Any:
    schema = dict(crds()[kind])
    schema["properties"] = {
        **schema["properties"],
        "apiVersion": {},
        "kind": {},
        "metadata": {"type": "object"},
    }
    return strict(schema)


def problems(document: dict[str, Any]) -> list[str]:
    schema = strict_schema(document["kind"])
    return [error.message[:200] for error in jsonschema.Draft7Validator(schema).iter_errors(document)]


def without_nulls(value: Any) -> Any:
    """Drop nulls, as the server does."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def cluster_of(**keys: object) -> KubernetesCluster:
    return KubernetesCluster.model_validate({**KEYS, **keys})


def test_the_cluster_fits_the_schema_of_the_operator():
    cluster = cluster_of(
        workers={"min": 2, "max": 8}, secret="s3", claim="data", node_selector={"pool": "ml"}
    )
    made = without_nulls(cluster_object(cluster, "headrace-1"))
    assert problems(made) == []
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
    # the kubelet asks /health
    assert "http" not in settings["distributed"]["scheduler"]


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


def test_a_coordinator_that_dies_is_started_again():
    assert coordinator_pod()["restartPolicy"] == "OnFailure"
    assert coordinator_pod(service_account="me")["serviceAccountName"] == "me"


def test_what_the_operator_cannot_do_is_said_when_the_file_is_read():
    with pytest.raises(ValidationError, match="write tls: off"):
        cluster_of(tls="auto")
    with pytest.raises(ValidationError, match="kubectl port-forward"):
        cluster_of(dashboard="8787")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_for_users_fits_its_schemas(path: Path):
    known = crds()
    for document in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind", "metadata", "spec"} - {"spec"} <= set(document)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "headrace"
        if document["kind"] in known:
            assert problems(document) == []


@pytest.mark.parametrize("path", [*MANIFESTS, None], ids=str)
def test_kinds_of_kubernetes_itself_fit_its_schemas_strictly(path: Path | None):
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    documents = (
        [
            coordinator_object(
                cluster_of(secret="s3", claim="data", node_selector={"a": "b"}), "toy", ["python"]
            )
        ]
        if path is None
        else [each for each in yaml.safe_load_all(path.read_text()) if "dask.org" not in each["apiVersion"]]
    )
    for document in documents:
        validate.validate(document, validate.latest_version(), strict=True)


def test_the_manifests_run_the_commands_that_headrace_does():
    cluster, _ = yaml.safe_load_all(Path("cluster/kubernetes/cluster.yaml").read_text())
    (job,) = yaml.safe_load_all(Path("cluster/kubernetes/job.yaml").read_text())
    file: Any = load_cluster("cluster/kubernetes.yaml")
    made = cluster_object(file, "headrace")["spec"]
    for role in ("scheduler", "worker"):
        theirs = cluster["spec"][role]["spec"]["containers"][0]
        ours = made[role]["spec"]["containers"][0]
        assert theirs["args"][:2] == ours["args"][:2]
        assert theirs["securityContext"] == ours["securityContext"]
    pod = job["spec"]["template"]["spec"]
    ours = coordinator_object(file, "toy", ["python"])["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == ours["restartPolicy"]
    assert pod["securityContext"] == ours["securityContext"]


def test_a_coordinator_may_do_no_more_than_it_must():
    documents = yaml.safe_load_all(Path("cluster/kubernetes/access.yaml").read_text())
    (role,) = [document for document in documents if document["kind"] == "Role"]
    for rule in role["rules"]:
        assert "*" not in [*rule["resources"], *rule["verbs"], *rule["apiGroups"]]
        assert "secrets" not in rule["resources"]
