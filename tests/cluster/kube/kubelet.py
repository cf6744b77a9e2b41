"""Starts pods as local processes, each with its own network, process numbers, host name and file system.

A pod sees this machine's files read-only under a layer of its own, so that what an image would hold is there; its volumes,
and a file of hosts that stands for the cluster's DNS, are mounted over it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from aiohttp import ClientTimeout
from tests.cluster.kube.api import PODS, SECRETS
from tests.cluster.kube.store import Object, Store, now

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from aiohttp import ClientSession
    from tests.cluster.kube.network import Network

KUBECONFIG = "/var/run/secrets/kubeconfig"
"""Where a pod finds how to speak to the server."""
SMALLEST_GRACE = 5.0
"""Seconds that a pod has to end, however long its own are."""
_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_START = """hostname {name}
mount -t overlay overlay -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {root}
mount --rbind /dev {root}/dev; mount -t proc proc {root}/proc; mount -t tmpfs tmpfs {root}/tmp
mount --bind {hosts} {root}/etc/hosts; mount --bind /dev/null {root}/etc/resolv.conf
{volumes}
exec chroot {root} /usr/bin/env -i -C /tmp {environment} {command}
"""


@dataclass
class Container:
    """The one container of a pod."""

    place: Path
    address: str
    started: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    begin_after: float = 0.0
    ready: bool = False
    last: dict[str, Any] = field(default_factory=dict)
    """How it ended before."""
    reason: str = ""
    """Why the kubelet ended it."""
    end_by: float | None = None

    @property
    def log(self) -> Path:
        return self.place / "log"


class Kubelet:
    """Runs the pods of a store below `place`.

    Parameters
    ----------
    server : str
        URL of the API server.
    token : callable
        ``token(namespace, service_account)``: what the server knows the account by.
    """

    def __init__(
        self, store: Store, network: Network, place: Path, server: str, token: Callable[[str, str], str]
    ) -> None:
        self._store, self._network, self._place = store, network, place
        self._server, self._token = server, token
        self._environment = image_environment()
        self._containers: dict[str, Container] = {}

    def log_of(self, uid: str) -> Path | None:
        container = self._containers.get(uid)
        return container.log if container is not None and container.log.exists() else None

    async def step(self, session: ClientSession) -> None:
        """Look after every pod once."""
        for pod in list(self._store.objects(PODS)):
            container = self._containers.get(pod["metadata"]["uid"])
            if container is None:
                container = self._admit(pod)
            if "deletionTimestamp" in pod["metadata"]:
                self._end(pod, container)
                continue
            if pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}:
                continue
            if container.started is None:
                if time.monotonic() >= container.begin_after and self._has_secrets(pod):
                    self._begin(pod, container)
            elif container.started.poll() is not None:
                self._ended(pod, container)
            else:
                self._hold_to_limit(pod, container)
                if not container.ready:
                    container.ready = await self._probe(session, pod, container)
            self._report(pod, container)

    def stop(self) -> None:
        """End all processes."""
        for container in self._containers.values():
            if container.started is not None:
                container.started.kill()
                container.started.wait()

    def _admit(self, pod: Object) -> Container:
        place = self._place / pod["metadata"]["name"]
        for name in ("upper", "work", "root", "volumes"):
            (place / name).mkdir(parents=True)
        container = Container(place, self._network.address(pod["metadata"]["name"]))
        self._containers[pod["metadata"]["uid"]] = container
        return container

    def _begin(self, pod: Object, container: Container) -> None:
        (spec,) = pod["spec"]["containers"]
        environment = self._environment | self._variables(pod, spec)
        words = [
            re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), word)
            for word in (*spec.get("command", ()), *spec.get("args", ()))
        ]
        script = _START.format(
            place=container.place,
            root=container.place / "root",
            name=pod["metadata"]["name"],
            hosts=self._network.hosts,
            volumes="\n".join(self._mounts(pod, spec, container)),
            environment=" ".join(shlex.quote(f"{name}={value}") for name, value in environment.items()),
            command=shlex.join(words),
        )
        # a container starts with the image's files anew
        for name in ("upper", "work"):
            shutil.rmtree(container.place / name)
            (container.place / name).mkdir()
        with container.log.open("ab") as output:
            container.started = self._network.start(script, container.place, container.address, output)
        container.reason, container.ready = "", "readinessProbe" not in spec

    def _variables(self, pod: Object, spec: Object) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in spec.get("envFrom", ()):
            found |= self._secret(pod, source["secretRef"]["name"])
        labels = pod["metadata"].get("labels", {})
        fields = {f"metadata.labels['{key}']": value for key, value in labels.items()}
        for entry in spec.get("env", ()):
            value = entry.get("value", "")
            if "valueFrom" in entry:
                source = entry["valueFrom"]
                value = fields[source["fieldRef"]["fieldPath"]]
            found[entry["name"]] = value
        return found

    def _has_secrets(self, pod: Object) -> bool:
        """Whether the Secrets of its volumes exist; a pod waits for them."""
        wanted = {
            volume["secret"]["secretName"] for volume in pod["spec"].get("volumes", ()) if "secret" in volume
        }
        there = self._store.objects(SECRETS, pod["metadata"]["namespace"])
        return wanted <= {secret["metadata"]["name"] for secret in there}

    def _secret(self, pod: Object, name: str) -> dict[str, str]:
        secret = self._store.get(SECRETS, pod["metadata"]["namespace"], name)
        texts: dict[str, str] = secret.get("stringData", {})
        return texts | {
            key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()
        }

    def _mounts(self, pod: Object, spec: Object, container: Container) -> list[str]:
        sources: dict[str, Path] = {}
        for volume in pod["spec"].get("volumes", ()):
            if "persistentVolumeClaim" in volume:
                source = self._place / "claims" / volume["persistentVolumeClaim"]["claimName"]
                source.mkdir(parents=True, exist_ok=True)
            else:
                source = container.place / "volumes" / volume["name"]
                source.mkdir(exist_ok=True)
                if "secret" in volume:
                    for name, text in self._secret(pod, volume["secret"]["secretName"]).items():
                        (source / name).write_text(text)
            sources[volume["name"]] = source
        mounts = {KUBECONFIG: self._credentials(pod, container)}
        mounts |= {mount["mountPath"]: sources[mount["name"]] for mount in spec.get("volumeMounts", ())}
        root = container.place / "root"
        # the pod's own view decides where a path leads: /var/run is a link to /run
        return [
            f"mkdir -p {root}$(chroot {root} readlink -m {path}); "
            f"mount --bind {source} {root}$(chroot {root} readlink -m {path})"
            for path, source in mounts.items()
        ]

    def _credentials(self, pod: Object, container: Container) -> Path:
        """Write what lets the pod speak to the server as its service account."""
        place = container.place / "volumes" / "credentials"
        place.mkdir(exist_ok=True)
        namespace = pod["metadata"]["namespace"]
        token = self._token(namespace, pod["spec"].get("serviceAccountName", "default"))
        (place / "config").write_text(kubeconfig(self._server, namespace, token))
        return place

    async def _probe(self, session: ClientSession, pod: Object, container: Container) -> bool:
        (spec,) = pod["spec"]["containers"]
        probe = spec["readinessProbe"]["httpGet"]
        ports = {each["name"]: each["containerPort"] for each in spec["ports"]}
        port = ports.get(probe["port"], probe["port"])
        try:
            async with session.get(
                f"http://{container.address}:{port}{probe['path']}", timeout=ClientTimeout(1)
            ) as answer:
                return bool(answer.status == 200)
        except (OSError, TimeoutError):
            return False

    def _hold_to_limit(self, pod: Object, container: Container) -> None:
        (spec,) = pod["spec"]["containers"]
        limit = spec.get("resources", {}).get("limits", {}).get("memory")
        if limit is None or container.started is None:
            return
        number, unit = re.fullmatch(r"(\d+)(\w*)", limit).groups()  # type: ignore[union-attr]  # the schema saw to it
        resident = 0
        for process in tree(container.started.pid):
            try:
                resident += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        if resident > int(number) * _UNITS[unit]:
            container.reason = "OOMKilled"
            container.started.kill()
            container.started.wait()

    def _ended(self, pod: Object, container: Container) -> None:
        assert container.started is not None
        code = container.started.returncode
        code = 137 if code == -signal.SIGKILL else code
        reason = container.reason or ("Completed" if code == 0 else "Error")
        container.last = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}}
        container.started, container.ready = None, False
        policy = pod["spec"].get("restartPolicy", "Always")
        if policy == "Always" or (policy == "OnFailure" and code != 0):
            container.restarts += 1
            container.begin_after = time.monotonic() + min(5.0, 0.5 * container.restarts)
        else:
            phase = "Succeeded" if code == 0 else "Failed"
            ended = self._state(pod, container) | {"state": container.last}
            self._store.set_status(PODS, pod, phase=phase, containerStatuses=[ended])

    def _end(self, pod: Object, container: Container) -> None:
        process = container.started
        if process is None or process.poll() is not None:
            self._store.remove(PODS, pod)
        elif container.end_by is None:
            container.end_by = time.monotonic() + SMALLEST_GRACE
            for child in psutil.Process(process.pid).children():
                child.send_signal(signal.SIGTERM)
        elif time.monotonic() > container.end_by:
            process.kill()

    def _state(self, pod: Object, container: Container) -> dict[str, Any]:
        crashes: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff"}}
        running = container.started is not None
        state: dict[str, Any] = {"running": {}} if running else container.last if self._over(pod) else crashes
        return {
            "name": pod["spec"]["containers"][0]["name"],
            "restartCount": container.restarts,
            "ready": container.ready,
            "state": state,
            "lastState": container.last,
        }

    def _over(self, pod: Object) -> bool:
        return pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}

    def _report(self, pod: Object, container: Container) -> None:
        pod = self._store.get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if self._over(pod):
            return
        ready = "True" if container.ready and container.started is not None else "False"
        status = {
            "phase": "Running" if container.log.exists() else "Pending",
            "podIP": container.address,
            "hostIP": self._network.gateway,
            "conditions": [{"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": [self._state(pod, container)],
        }
        if json.dumps(pod.get("status")) != json.dumps(status):
            self._store.set_status(PODS, pod, **status)


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def image_environment() -> dict[str, str]:
    """What cluster/Dockerfile sets, with this Python in place of the image's."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        "HOME": "/tmp",
        "KUBECONFIG": f"{KUBECONFIG}/config",
        "KUBERNETES_SERVICE_HOST": "kubernetes",
        **one,
    }


def kubeconfig(server: str, namespace: str, token: str) -> str:
    """Write the file by which clients find the server."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kube",
        "clusters": [{"name": "kube", "cluster": {"server": server}}],
        "users": [{"name": "kube", "user": {"token": token}}],
        "contexts": [
            {"name": "kube", "context": {"cluster": "kube", "user": "kube", "namespace": namespace}}
        ],
    }
    return yaml.safe_dump(document)
