"""The image that pods run: built by podman from cluster/Dockerfile, and flights trained by containers of it alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster.conftest import ROOT
from tests.cluster.image import IMAGE, USER, Podman, UnavailableError, built, missing

from headrace.cluster.kubernetes import CERTIFICATES, KubernetesCluster, cluster_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing() or "podman is here"),
    pytest.mark.timeout(2_400),
]


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    try:
        with built() as made:
            yield made
    except UnavailableError as error:
        pytest.skip(f"the image cannot be built here: {error}")


def headrace(*words: str, place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr


def furnished(container: dict[str, Any], certificates: Path) -> list[str]:
    """Turn what Kubernetes is told of a container into what podman is told."""
    variables = [f"--env={entry['name']}={entry['value']}" for entry in container["env"] if "value" in entry]
    memory = container["resources"]["limits"]["memory"].removesuffix("i").lower()
    return [*variables, f"--memory={memory}", f"--volume={certificates}:{CERTIFICATES}:ro"]


def test_a_container_runs_as_nobody_and_says_what_it_is(podman):
    asked = [
        "id -u",
        "headrace --version",
        "dask-scheduler --help",
        "dask-worker --help",
        "find /opt/headrace -writable -not -type l",
    ]
    said = podman.run("--network=none", "--memory=300m", command=["sh", "-c", "; ".join(asked)])
    assert said.startswith(f"{USER}\nheadrace 0.1.0\n")
    assert said.count("Usage: dask ") == 2
    assert "/opt/headrace" not in said  # nothing of it can be written
    (image,) = json.loads(podman.ask("image", "inspect", IMAGE))
    assert image["Config"]["Cmd"] == ["headrace", "--help"]


def test_containers_train_flights_with_the_commands_of_pods_to_the_model_of_this_machine(podman, tmp_path):
    """Scheduler, workers and coordinator share one network, which reaches nothing else, and what they say is encrypted."""
    certificates, data = tmp_path / "certificates", tmp_path / "data"
    headrace("cluster", "certs", str(certificates), place=tmp_path)
    headrace("sample", "flights", "data/data/flights", place=tmp_path)
    for path in (certificates, *certificates.iterdir()):
        os.chown(path, USER, USER)
    shutil.copytree(ROOT / "examples" / "flights", data / "examples" / "flights")
    cluster = KubernetesCluster.model_validate(
        {"kind": "kubernetes", "image": IMAGE, "memory": "1GiB", "namespace": "ml", "claim": "data"}
    )
    spec = cluster_object(cluster, "flights")["spec"]
    (scheduler,) = spec["scheduler"]["spec"]["containers"]
    (worker,) = spec["worker"]["spec"]["containers"]
    # what Kubernetes does with a volume
    group = spec["worker"]["spec"]["securityContext"]["fsGroup"]
    os.chown(data, 0, group)
    data.chmod(0o2775)
    claim = [f"--volume={data}:/data", f"--group-add={group}"]
    host = "flights-scheduler.ml.svc.cluster.local"
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {host}\n")
    named = f"--volume={hosts}:/etc/hosts:ro"  # in place of a service and its name
    podman.start(
        "scheduler",
        "--network=none",
        named,
        *furnished(scheduler, certificates),
        command=scheduler["args"],
    )
    podman.wait_for("scheduler", "Scheduler at:")
    network = "--network=container:scheduler"
    for number in (1, 2):
        options = [named, *claim, *furnished(worker, certificates)]
        words = [word.replace("$(DASK_WORKER_NAME)", f"worker-{number}") for word in worker["args"]]
        podman.start(f"worker-{number}", network, *options, command=words)
    address = {
        "kind": "address",
        "address": f"tls://{host}:8786",
        "tls": {"directory": CERTIFICATES},
        "workers": 2,
        "memory": "1GiB",
        "wait": "1min",
    }
    (data / "address.yaml").write_text(yaml.safe_dump(address))
    inside = [
        network,
        named,
        *claim,
        f"--volume={certificates}:{CERTIFICATES}:ro",
        "--workdir=/data",
    ]
    workflow = "examples/flights/workflow.yaml"
    run = ["headrace", "run", workflow, "--cluster", "address.yaml", "--run", "runs/flights"]
    podman.run(*inside, command=run, timeout=600)

    record = json.loads((data / "runs" / "flights" / "run.json").read_text())
    assert len(record["peak_rss_bytes"]["workers"]) == 2
    assert "</html>" in (data / "runs" / "flights" / "report.html").read_text()[-100:]
    assert (data / "runs" / "flights" / "run.json").stat().st_uid == USER
    headrace("run", workflow, "--run", "runs/here", place=data)
    here = json.loads((data / "runs" / "here" / "run.json").read_text())
    assert record["model_sha256"] == here["model_sha256"]
