"""The HTTP interface of Kubernetes over a store: discovery, objects, watches, logs, and rights of service accounts."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
from aiohttp import web
from tests.cluster.kube.schemas import problems
from tests.cluster.kube.store import Kind, Object, RefusedError, Store, json_patch, merge_patch, selected

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALIDATED = kubernetes_validate.latest_version()


def fits_kubernetes(thing: Object) -> None:
    """Refuse what does not fit the schema of its kind, keys that it does not have included."""
    try:
        kubernetes_validate.validate(
            {key: value for key, value in thing.items() if key != "status"}, VALIDATED, strict=True
        )
    except kubernetes_validate.ValidationError as error:
        raise RefusedError(422, "Invalid", str(error)) from None


def builtin(api_version: str, plural: str, kind: str, *, namespaced: bool = True) -> Kind:
    group, _, version = api_version.rpartition("/")
    check: Callable[[Object], None] = fits_kubernetes if plural != "events" else lambda _object: None
    return Kind(group, version, plural, kind, namespaced=namespaced, status_apart=True, check=check)


PODS = builtin("v1", "pods", "Pod")
SERVICES = builtin("v1", "services", "Service")
SECRETS = builtin("v1", "secrets", "Secret")
CLAIMS = builtin("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
DEPLOYMENTS = builtin("apps/v1", "deployments", "Deployment")
JOBS = builtin("batch/v1", "jobs", "Job")
ROLES = builtin("rbac.authorization.k8s.io/v1", "roles", "Role")
BINDINGS = builtin("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding")
DEFINITIONS = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
KINDS = (
    *(PODS, SERVICES, SECRETS, CLAIMS, DEPLOYMENTS, JOBS, ROLES, BINDINGS, DEFINITIONS),
    builtin("v1", "events", "Event"),
    builtin("v1", "namespaces", "Namespace", namespaced=False),
    builtin("v1", "serviceaccounts", "ServiceAccount"),
    builtin("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
)


class Api:
    """Answers requests; `identities` says which service account a token belongs to, and nobody else is limited."""

    def __init__(self, store: Store, log_of: Callable[[str], Path | None]) -> None:
        self.store = store
        self.kinds = list(KINDS)
        self.identities: dict[str, tuple[str, str]] = {}
        self.refusals: list[str] = []
        """What service accounts asked for and had no right to."""
        self._log_of = log_of

    def define(self, definition: Object) -> None:
        """Take a CustomResourceDefinition."""
        self.store.create(DEFINITIONS, "", definition)
        spec = definition["spec"]
        (version,) = spec["versions"]

        def check(thing: Object) -> None:
            found = problems(thing)
            if found:
                raise RefusedError(422, "Invalid", "; ".join(found))

        self.kinds.append(
            Kind(
                spec["group"],
                version["name"],
                spec["names"]["plural"],
                spec["names"]["kind"],
                status_apart="status" in version.get("subresources", {}),
                check=check,
            )
        )

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            answer = await self._dispatch(request, request.path.strip("/").split("/"))
            if not answer.prepared:
                answer.force_close()  # clients of Kubernetes keep connections until they are collected
            return answer  # noqa: TRY300 - what is answered in place of it follows
        except ConnectionError:
            return web.Response(status=499)  # who asked is gone
        except RefusedError as refused:
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": refused.code,
                "reason": refused.reason,
                "message": refused.message,
            }
            refusal = web.json_response(status, status=refused.code)
            refusal.force_close()
            return refusal

    async def _dispatch(  # noqa: C901 - a server of Kubernetes has many verbs
        self, request: web.Request, parts: list[str]
    ) -> web.StreamResponse:
        discovered = self._discovery(parts)
        if discovered is not None:
            return web.json_response(discovered)
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (*parts[1:3], parts[3:])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        kind = next(
            (
                each
                for each in self.kinds
                if (each.group, each.version, each.plural) == (group, version, rest[0])
            ),
            None,
        )
        if kind is None:
            raise RefusedError(404, "NotFound", f"there is no {request.path}")
        name, sub = ([*rest[1:], "", ""])[:2]
        self._require_right(request, kind, namespace, name, sub)
        if not name:
            if request.method == "POST":
                return web.json_response(self.store.create(kind, namespace, await request.json()), status=201)
            if request.query.get("watch") in {"1", "true"}:
                return await self._watch(request, kind, namespace)
            return web.json_response(self._list(request, kind, namespace))
        thing = self.store.get(kind, namespace, name)
        if sub == "log":
            path = self._log_of(thing["metadata"]["uid"])
            return web.Response(text=path.read_text(errors="replace") if path else "")
        if sub == "portforward":
            return await forward(request, thing["status"]["podIP"])
        if request.method == "GET":
            return web.json_response(scale_of(thing) if sub == "scale" else thing)
        if request.method == "DELETE":
            policy = (await request.json() if request.can_read_body else {}).get("propagationPolicy")
            return web.json_response(self.store.delete(kind, thing, foreground=policy == "Foreground"))
        made = await request.json()
        if request.method == "PATCH":
            listed = isinstance(made, list)
            before = scale_of(thing) if sub == "scale" else thing
            made = json_patch(before, made) if listed else merge_patch(before, made)
        if sub == "scale":
            worker = {**thing["spec"]["worker"], "replicas": made["spec"]["replicas"]}
            made = {**thing, "spec": {**thing["spec"], "worker": worker}}
        return web.json_response(
            self.store.update(kind, thing, made, only="status" if sub == "status" else None)
        )

    def _discovery(self, parts: list[str]) -> Object | None:
        if parts == ["version"]:
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if parts == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            groups = {kind.group: kind for kind in self.kinds if kind.group}
            listed = []
            for name, kind in groups.items():
                version = {"groupVersion": kind.api_version, "version": kind.version}
                listed.append({"name": name, "versions": [version], "preferredVersion": version})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        api_version = "/".join(parts[1:])
        if len(parts) > 3 or api_version not in {kind.api_version for kind in self.kinds}:
            return None
        verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
        resources = []
        for kind in self.kinds:
            if kind.api_version == api_version:
                entry = {"singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind}
                resources.append({"name": kind.plural, "verbs": verbs, **entry})
                if kind.status_apart:
                    resources.append({"name": f"{kind.plural}/status", "verbs": verbs, **entry})
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": api_version,
            "resources": resources,
        }

    def _list(self, request: web.Request, kind: Kind, namespace: str) -> Object:
        found = [thing for thing in self.store.objects(kind, namespace or None) if fits_query(request, thing)]
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(self.store.version)},
            "items": found,
        }

    async def _watch(self, request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        after = int(request.query.get("resourceVersion") or self.store.version)
        end = time.monotonic() + float(request.query.get("timeoutSeconds", 300))
        position = next(
            (index for index, entry in enumerate(self.store.log) if entry[0] > after), len(self.store.log)
        )
        # a watch ends with the one who asked for it
        while time.monotonic() < end and request.transport is not None and not request.transport.is_closing():
            for version, what, other, thing in self.store.log[position:]:
                position, after = position + 1, version
                if (
                    other == kind
                    and namespace in {"", thing["metadata"].get("namespace", "")}
                    and fits_query(request, thing)
                ):
                    await response.write(json.dumps({"type": what, "object": thing}).encode() + b"\n")
            try:
                await asyncio.wait_for(self.store.changes(after), timeout=min(5, end - time.monotonic()))
            except TimeoutError:
                continue
        return response

    def _require_right(self, request: web.Request, kind: Kind, namespace: str, name: str, sub: str) -> None:
        """Look whether the service account of a token may do this, by the Roles that are bound to it."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        identity = self.identities.get(token)
        if identity is None:
            return
        verb = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}.get(request.method)
        if verb is None:
            watches = request.query.get("watch") in {"1", "true"}
            verb = "get" if name else "watch" if watches else "list"
        resource = f"{kind.plural}/{sub}" if sub else kind.plural
        for binding in self.store.objects(BINDINGS, namespace):
            for subject in binding["subjects"]:
                if (subject["namespace"], subject["name"]) == identity:
                    role = self.store.get(ROLES, namespace, binding["roleRef"]["name"])
                    for rule in role["rules"]:
                        if (
                            kind.group in rule["apiGroups"]
                            and resource in rule["resources"]
                            and verb in rule["verbs"]
                        ):
                            return
        self.refusals.append(f"{verb} {resource}")
        raise RefusedError(403, "Forbidden", f"{identity[1]} cannot {verb} {resource} in {namespace}")


async def forward(request: web.Request, address: str) -> web.WebSocketResponse:
    """Carry bytes between a websocket and a port of a pod; each message begins with the number of its channel."""
    port = int(request.query["ports"])
    reader, writer = await asyncio.open_connection(address, port)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    for channel in (b"\x00", b"\x01"):
        await socket.send_bytes(channel + port.to_bytes(2, "little"))

    async def answers() -> None:
        while data := await reader.read(1 << 16):
            await socket.send_bytes(b"\x00" + data)
        await socket.close()

    task = asyncio.create_task(answers())
    try:
        async for message in socket:
            writer.write(message.data[1:])
            await writer.drain()
    finally:
        task.cancel()
        writer.close()
    return socket


def scale_of(thing: Object) -> dict[str, Any]:
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": thing["metadata"],
        "spec": {"replicas": thing["spec"]["worker"]["replicas"]},
    }


def fits_query(request: web.Request, thing: Object) -> bool:
    return selected(thing, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
