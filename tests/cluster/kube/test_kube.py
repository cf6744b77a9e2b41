"""The real Dask operator and headrace in a Kubernetes of this machine: pods are local processes with their own network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import fsspec
import pyarrow.parquet as pq
import pytest
import yaml
from tests.cluster.kube.controllers import conditions, ending, restarts

from headrace.cluster.jobs import read_heartbeat, read_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.kube.cluster import Kube

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """A cluster with the operator, and the namespace that cluster/kubernetes/ makes."""
    pytest.importorskip("dask_kubernetes", reason="needs headrace[kubernetes]")
    from tests.cluster.kube.cluster import kubernetes, missing

    why = missing(tmp_path_factory.mktemp("probe"))
    if why:
        pytest.skip(why)
    with kubernetes(tmp_path_factory.mktemp("kube")) as started:
        for name in ("access", "network", "data"):
            started.apply_file(ROOT / f"cluster/kubernetes/{name}.yaml")
        yield started


@pytest.fixture
def storage(kube: Kube, s3: str) -> Iterator[str]:
    """An empty folder on S3, which pods reach by the Secret that cluster/kubernetes.yaml names."""
    port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
    assert port is not None
    names = (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
    )
    values = {name: os.environ[name] for name in names}
    with kube.exposed(port) as address:
        meta = {"name": "storage", "namespace": "headrace"}
        values["AWS_ENDPOINT_URL"] = f"http://{address}"
        kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": values})
        yield s3
        kube.ask("/api/v1/namespaces/headrace/secrets/storage", "DELETE")


def headrace(kube: Kube, *words: str) -> str:
    """Run the command as someone whose machine is not in the cluster."""
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *words],
        env={**os.environ, "KUBECONFIG": str(kube.config)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{kube.told()}"
    return done.stdout.strip()


def write_files(storage: str, *, every: int, **train: int) -> None:
    """Write one in `every` flights to storage, the workflow of the example that reads them there, and a small cluster of kubernetes.yaml."""
    document = yaml.safe_load((ROOT / "examples/flights/workflow.yaml").read_text())
    subprocess.run([sys.executable, "-m", "headrace", "sample", "flights", "flights"], check=True)
    for path in Path("flights").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        with fsspec.open(f"{storage}/{path}", "wb") as stream:
            pq.write_table(table.take(list(range(0, len(table), every))), stream)
    document["data"]["url"] = f"{storage}/flights"
    document["publish"] = {"registry": f"{storage}/registry"}
    document["train"] |= train
    document["evaluate"]["bootstrap"] = 5
    Path("workflow.yaml").write_text(yaml.safe_dump(document))
    small = {"workers": {"min": 1, "max": 2}, "threads": 1, "memory": "512MiB"}
    Path("cluster.yaml").write_text(
        yaml.safe_dump({"extends": str(ROOT / "cluster/kubernetes.yaml"), **small})
    )


def test_flights_from_submit_to_report_over_tls_with_a_worker_killed_and_a_coordinator_out_of_memory(
    kube: Kube, storage: str, in_tmp: Path
):
    from tests.cluster.kube.cluster import wait_for

    write_files(storage, every=16, epochs=3, patience=3)
    run = f"{storage}/runs/flights"
    headrace(kube, "submit", "workflow.yaml", "--cluster", "cluster.yaml", "--run", run)

    def stage() -> str:
        beat = read_heartbeat(run)
        return beat.stage if beat is not None else ""

    wait_for(lambda: stage() not in {"", "plan"}, 400, kube.told)
    (worker, *_) = kube.pods("worker")
    kube.kill(worker)
    wait_for(lambda: sum(restarts(pod) for pod in kube.pods("worker")) == 1, 60, kube.told)
    (pod,) = kube.job_pods()
    kube.limit(pod, "64Mi")
    wait_for(lambda: len(kube.job_pods()) == 2, 60, kube.told)
    assert [ending(pod)["reason"] for pod in kube.job_pods() if ending(pod)] == ["OOMKilled"]

    headrace(kube, "jobs", "wait", run, "--timeout", "600")
    filesystem = fsspec.filesystem("s3")
    assert filesystem.exists(f"{run}/report.html")
    wait_for(lambda: phases(kube) == ["Failed", "Succeeded"], 60, kube.told)
    assert kube.clusters() == []
    assert kube.api.refusals == []
    text = "".join(part for part, _ in read_log(run))
    assert text.count("coordinator ") == 2
    assert "WARNING" not in text


def phases(kube: Kube) -> list[str]:
    return sorted(pod["status"]["phase"] for pod in kube.job_pods())


def test_a_job_whose_run_was_given_wrong_input_is_given_up_at_once(kube: Kube, storage: str, in_tmp: Path):
    from tests.cluster.kube.cluster import wait_for

    document = yaml.safe_load((ROOT / "examples/flights/workflow.yaml").read_text())
    document["data"]["url"] = f"{storage}/nowhere"
    Path("workflow.yaml").write_text(yaml.safe_dump(document))
    keys = {"extends": str(ROOT / "cluster/kubernetes.yaml"), "workers": 1, "memory": "512MiB"}
    Path("cluster.yaml").write_text(yaml.safe_dump(keys))
    before = {job["metadata"]["uid"] for job in kube.jobs()}
    run = f"{storage}/runs/wrong"
    headrace(kube, "submit", "workflow.yaml", "--cluster", "cluster.yaml", "--run", run)

    def state() -> dict[str, str]:
        (job,) = (job for job in kube.jobs() if job["metadata"]["uid"] not in before)
        return conditions(job)

    wait_for(state, 120, kube.told)
    assert state() == {"Failed": "True"}
    beat = read_heartbeat(run)
    assert beat is not None
    assert beat.state == "failed"
    assert "nowhere" in beat.error


def test_a_cluster_stays_while_it_is_up(kube: Kube, in_tmp: Path):
    keys = {"kind": "kubernetes", "image": "headrace:1", "namespace": "headrace", "memory": "512MiB"}
    Path("cluster.yaml").write_text(yaml.safe_dump({**keys, "wait": "3min"}))
    headrace(kube, "cluster", "up", "cluster.yaml")
    try:
        for file in ("cluster.yaml", "cluster.up.yaml"):
            told = json.loads(headrace(kube, "cluster", "status", file, "--json"))
            assert told["encrypted"]
            assert [worker["memory"] for worker in told["workers"]] == [512 << 20]
        headrace(kube, "cluster", "check", "cluster.up.yaml")
        assert len(kube.clusters()) == 1
    finally:
        headrace(kube, "cluster", "down", "cluster.yaml")
    assert kube.clusters() == []
    assert not Path("cluster.up.yaml").exists()


def test_a_cluster_is_checked_from_outside_through_a_forwarded_port(kube: Kube, in_tmp: Path):
    keys = {"kind": "kubernetes", "image": "headrace:1", "namespace": "headrace", "memory": "512MiB"}
    Path("cluster.yaml").write_text(yaml.safe_dump({**keys, "wait": "3min"}))
    told = json.loads(headrace(kube, "cluster", "check", "cluster.yaml", "--json"))
    assert told["encrypted"]
    assert len(told["workers"]) == 1
    assert kube.clusters() == []
    secrets = kube.ask("/api/v1/namespaces/headrace/secrets")["items"]
    assert [
        secret["metadata"]["name"] for secret in secrets if "certificates" in secret["metadata"]["name"]
    ] == []


def test_scaling_and_a_pod_out_of_memory_under_kubecluster(kube: Kube):
    seen: list[dict[str, Any]] = []

    def look() -> None:
        for pod in kube.pods("worker"):
            for container in pod.get("status", {}).get("containerStatuses", ()):
                if container["restartCount"] and container["lastState"] not in seen:
                    seen.append(container["lastState"])

    options = {"kind": "kubernetes", "image": "headrace:1", "namespace": "headrace", "memory": "300MiB"}
    client = str(ROOT / "tests/cluster/kube/client.py")
    phase, printed = kube.run(
        "client", ["python", client, json.dumps({**options, "tls": "off"})], account="default", look=look
    )
    assert phase == "Succeeded", printed
    assert json.loads(printed.splitlines()[-1])["result"] == 4950
    assert [state["terminated"]["reason"] for state in seen] == ["OOMKilled"]
