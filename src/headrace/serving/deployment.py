"""Files that deploy a server: the Dockerfile of its image, and its Kubernetes objects as plain data."""

from __future__ import annotations

import json
import platform
import re
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from headrace import __version__
from headrace.data.directories import aside
from headrace.data.storage import is_local, join, open_filesystem
from headrace.packaging.exports.onnx_file import MODEL
from headrace.packaging.package import PIPELINE, read_package
from headrace.packaging.trust import needed_trust
from headrace.serving.loading import Place
from headrace.serving.predictor import Predictor

if TYPE_CHECKING:
    from headrace.packaging.package import Package

PORT = 8000
USER = 10001
OBJECTS = "kubernetes.yaml"
_PINNED = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")
_STORES = {"s3": ("s3", "s3a"), "gcs": ("gs", "gcs"), "azure": ("abfs", "abfss", "az")}
"""Extras by the protocols that they bring."""
_LIBRARIES = 512 << 20
"""Bytes of a server without a model."""
_TIMES = 8
"""Bytes in memory for each byte of a package: while a newer version is loaded, two are held."""


def deploy(model: str, directory: str, *, registry: str, image: str | None = None) -> list[str]:
    """Write a Dockerfile, its requirements, and Kubernetes objects; all appear at once or none does.

    A model of a registry that pods can reach is read from there, so that they follow its alias; any other is put into
    the image.

    Parameters
    ----------
    model : str
        ``late``, ``late@3``, ``late@champion``, or the folder of a package.
    directory : str
        A folder that does not exist yet, or is empty.
    registry : str
        Folder or URL of the registry.
    image : str, optional
        Name of the image that will be built; by default that of the model, tagged with its version.

    Returns
    -------
    list of str
        The files.

    Raises
    ------
    InputError
        When there is no such model.
    PackageError
        When the package is damaged, or cannot be served.
    StorageError
        When the folder exists with content or cannot be written.
    """
    place = Place(model, registry)
    url, version = place.find()
    package = read_package(url)
    Predictor(package)
    remote = None if place.is_folder or is_local(open_filesystem(registry)[0]) else registry
    name = _name(version)
    image = image or f"{name}:{version.partition('@')[2] or 1}"
    folder = version if remote is None else None
    source = [f"/srv/{folder}"] if remote is None else [model, "--registry", remote]
    command = ["headrace", "serve", *source, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - of a pod; keys are asked for
    made = objects(package, name, image, command, reads_registry=remote is not None)
    files = {
        "Dockerfile": _dockerfile(package, version, image, folder, command),
        "requirements.txt": _requirements(package, remote),
        OBJECTS: yaml.dump_all(made, Dumper=_Plain, sort_keys=False),
    }
    with aside(directory) as target:
        for file, text in files.items():
            (target / file).write_text(text, encoding="utf-8")
        if folder is not None:
            (target / folder).mkdir()
            for file, content in package.contents.items():
                (target / folder / file).write_bytes(content)
    return [join(directory, file) for file in files]


class _Plain(yaml.SafeDumper):
    """YAML without anchors: what is said twice stands twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say that nothing is shared."""
        del data
        return True


def objects(
    package: Package, name: str, image: str, command: list[str], *, reads_registry: bool
) -> list[dict[str, Any]]:
    """Make the objects: Deployment, Service, HorizontalPodAutoscaler, NetworkPolicy, ServiceMonitor."""
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "headrace"}
    metadata = {"name": name, "labels": labels}
    mine = {"matchLabels": {"app.kubernetes.io/name": name}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": mine,
                # A pod leaves when another one is ready, so that an update fails no request.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": _pod(package, name, image, command, reads_registry=reads_registry),
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "selector": mine["matchLabels"],
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": 2,
                "maxReplicas": 10,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 70},
                        },
                    }
                ],
            },
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            "spec": {
                "podSelector": mine,
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"ports": [{"protocol": "TCP", "port": "http"}]}],
                # With its model in the image a server connects to nothing.
                "egress": _egress() if reads_registry else [],
            },
        },
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": metadata,
            "spec": {
                "selector": mine,
                "endpoints": [
                    {
                        "port": "http",
                        "path": "/metrics",
                        "interval": "30s",
                        "authorization": {"credentials": {"name": f"{name}-keys", "key": "admin"}},
                    }
                ],
            },
        },
    ]


def _pod(
    package: Package, name: str, image: str, command: list[str], *, reads_registry: bool
) -> dict[str, Any]:
    size = sum(len(content) for content in package.contents.values())
    memory = f"{-(-(_LIBRARIES + _TIMES * size) >> 20)}Mi"
    keys = {"name": f"{name}-keys", "key": "keys"}
    container = {
        "name": "server",
        "image": image,
        "args": command,
        "ports": [{"name": "http", "containerPort": PORT}],
        "env": [{"name": "HEADRACE_KEYS", "valueFrom": {"secretKeyRef": keys}}],
        # A model is read, checked and warmed up before its server is ready.
        "startupProbe": _probe("/readyz", period=2, failures=60),
        "readinessProbe": _probe("/readyz", period=5, failures=2),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        # Requests come for a moment after a pod is told to end, until everyone knows.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {
            "requests": {"cpu": "500m", "memory": memory},
            "limits": {"cpu": "2", "memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod's own
    }
    if reads_registry:
        container["envFrom"] = [{"secretRef": {"name": f"{name}-storage", "optional": True}}]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _egress() -> list[dict[str, Any]]:
    """Names and the store of the registry, by HTTPS."""
    return [
        {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
        {"ports": [{"protocol": "TCP", "port": 443}]},
    ]


def _dockerfile(package: Package, version: str, image: str, folder: str | None, command: list[str]) -> str:
    trained = package.manifest.provenance.get("versions", {}).get("python", platform.python_version())
    environment = Environment(
        loader=PackageLoader("headrace.serving", "templates"),
        autoescape=False,  # noqa: S701 - no page; what is filled in are names without special characters, and JSON
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("Dockerfile.j2").render(
        base=f"python:{'.'.join(trained.split('.')[:2])}-slim-bookworm",
        version=version,
        image=image,
        folder=folder,
        user=USER,
        port=PORT,
        command=json.dumps(command),
    )


def _requirements(package: Package, registry: str | None) -> str:
    """Name what a server needs, in the versions that the model was trained with."""
    trained = package.manifest.provenance.get("versions", {})
    extras = ["serve"]
    if any(name.startswith("xgboost.") for name in needed_trust(package.contents[PIPELINE])):
        extras.append("boost")
    protocol = (registry or "").partition("://")[0]
    extras += [extra for extra, names in _STORES.items() if protocol in names]
    lines = [f"headrace[{','.join(extras)}]=={__version__}"]
    if MODEL in package.contents:
        lines.append("onnxruntime>=1.23")
    lines += [f"{name}=={held}" for name, held in trained.items() if name in _PINNED]
    return "\n".join(lines) + "\n"


def _name(version: str) -> str:
    """Make a name that Kubernetes takes, of a model's."""
    name = re.sub(r"[^a-z0-9]+", "-", version.partition("@")[0].lower()).strip("-")[:40].rstrip("-")
    return name if name[:1].isalpha() else f"model-{name}".rstrip("-")
