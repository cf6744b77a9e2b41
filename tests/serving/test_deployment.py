from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from headrace.cli import run
from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry

from .conftest import ROW, Running

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.packaging.package import Package

SECRET_KEY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["key"],
    "properties": {"name": {"type": "string"}, "key": {"type": "string"}, "optional": {"type": "boolean"}},
}
SERVICE_MONITOR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["endpoints", "selector"],
            "properties": {
                "selector": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}
                    },
                },
                "endpoints": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                            "authorization": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {"type": {"type": "string"}, "credentials": SECRET_KEY},
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What a ServiceMonitor of ours uses of the definition of the Prometheus operator, strictly."""


def exported(place: Path, model: str, registry: str) -> dict[str, Any]:
    assert run(["models", "export", model, "--kubernetes", str(place), "--registry", registry]) == 0
    return {each["kind"]: each for each in yaml.safe_load_all((place / "kubernetes.yaml").read_text())}


@pytest.fixture(scope="module")
def deployment(registry: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    place = tmp_path_factory.mktemp("deployment") / "late"
    return place, exported(place, "late@champion", registry)


@pytest.fixture(scope="module")
def remote(packages: dict[str, Package], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a registry that pods can reach."""
    Registry("memory://deployed").publish("Late_flights.2", packages["plain"].url)
    place = tmp_path_factory.mktemp("remote") / "late"
    return exported(place, "Late_flights.2@champion", "memory://deployed")


def container_of(objects: dict[str, Any]) -> dict[str, Any]:
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize("kind", ["Deployment", "Service", "HorizontalPodAutoscaler", "NetworkPolicy"])
def test_kinds_of_kubernetes_itself_fit_its_schemas_strictly(deployment: Any, remote: Any, kind: str):
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    for objects in (deployment[1], remote):
        validate.validate(objects[kind], validate.latest_version(), strict=True)
        changed = json.loads(json.dumps(objects[kind]))
        changed["spec"]["unknown"] = 1
        with pytest.raises(validate.ValidationError):
            validate.validate(changed, validate.latest_version(), strict=True)


def test_the_monitor_fits_what_its_operator_takes(deployment: Any, remote: Any):
    for objects in (deployment[1], remote):
        jsonschema.Draft202012Validator(SERVICE_MONITOR).validate(objects["ServiceMonitor"])


def test_objects_name_each_other(deployment: Any, remote: Any):
    for objects, name in ((deployment[1], "late"), (remote, "late-flights-2")):
        labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
        assert {each["metadata"]["name"] for each in objects.values()} == {name}
        assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
        assert objects["Service"]["spec"]["selector"].items() <= labels
        assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels
        assert objects["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
        (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
        (port,) = objects["Service"]["spec"]["ports"]
        (listening,) = container_of(objects)["ports"]
        assert endpoint["port"] == port["name"]
        assert port["targetPort"] == listening["name"]
        asked = objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
        assert asked.items() <= objects["Service"]["metadata"]["labels"].items()


def test_pods_have_few_rights_and_limits(deployment: Any):
    pod = deployment[1]["Deployment"]["spec"]["template"]["spec"]
    container = container_of(deployment[1])
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}\n" in (deployment[0] / "Dockerfile").read_text()
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert deployment[1]["NetworkPolicy"]["spec"]["egress"] == []


def test_a_model_of_a_store_is_read_from_there(remote: Any):
    assert container_of(remote)["args"][:5] == [
        *("headrace", "serve", "Late_flights.2@champion", "--registry", "memory://deployed"),
    ]
    assert container_of(remote)["envFrom"]
    ports = [port["port"] for rule in remote["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 443]


def test_the_image_holds_the_package_and_what_it_was_trained_with(deployment: Any, registry: str):
    place, objects = deployment
    text = (place / "Dockerfile").read_text()
    assert (
        read_package(place / "late@1").manifest == read_package(Registry(registry).resolve("late")).manifest
    )
    assert 'COPY ["late@1", "/srv/late@1"]' in text
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    assert json.loads(command) == container_of(objects)["args"]
    assert "#   docker build -t late:1 .\n" in text
    assert container_of(objects)["image"] == "late:1"
    assert re.search(r"^ARG BASE=python:3\.\d+-slim-bookworm$", text, re.MULTILINE)
    requirements = (place / "requirements.txt").read_text().splitlines()
    assert requirements[0].startswith("headrace[serve]==")
    assert "onnxruntime>=1.23" in requirements


def test_the_command_of_the_image_serves_and_probes_are_answered(deployment: Any):
    place, objects = deployment
    container = container_of(objects)
    arguments = [argument.replace("/srv/", f"{place}/") for argument in container["args"][2:]]
    (variable,) = container["env"]
    lines = f"planning predict {hashlib.sha256(b'a').hexdigest()};prometheus admin {hashlib.sha256(b'b').hexdigest()}"
    running = Running(*arguments, environment={variable["name"]: lines})
    try:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert running.client.get(container[probe]["httpGet"]["path"]).status_code == 200
        answer = running.ask(ROW, headers={"authorization": "Bearer a"})
        assert answer.json()["model"] == "late@1"
        (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
        assert running.client.get(endpoint["path"], headers={"authorization": "Bearer b"}).status_code == 200
    finally:
        assert running.stop() == 0


def test_without_its_secret_a_pod_does_not_start(deployment: Any):
    place, objects = deployment
    arguments = [argument.replace("/srv/", f"{place}/") for argument in container_of(objects)["args"]]
    ended = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "anyone could ask from outside" in ended.stderr


def test_a_folder_in_use_and_a_model_that_cannot_be_served_are_refused(
    packages: dict[str, Package], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "used").mkdir()
    (tmp_path / "used/mine").write_text("")
    model = packages["plain"].url
    assert run(["models", "export", model, "--kubernetes", str(tmp_path / "used")]) == 1
    assert "not empty" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "used").iterdir()] == ["mine"]
    changed = tmp_path / "changed"
    changed.mkdir()
    for name, content in packages["plain"].contents.items():
        (changed / name).write_bytes(content)
    (changed / "pipeline.skops").write_bytes(b"other")
    assert run(["models", "export", str(changed), "--kubernetes", str(tmp_path / "new")]) == 1
    assert "pipeline.skops was changed" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
