"""The schemas of the Dask operator's own kinds, read as strictly as the server does when it is asked to."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml


def _chart() -> Path:
    found = find_spec("dask_kubernetes")
    if found is None or found.origin is None:
        pytest.skip("needs headrace[kubernetes]", allow_module_level=True)
    return Path(found.origin).parent / "operator/deployment/helm/dask-kubernetes-operator"


CHART = _chart()
"""The operator's Helm chart, which its package brings."""


@cache
def definitions() -> tuple[dict[str, Any], ...]:
    """The CustomResourceDefinitions of the operator's chart."""
    return tuple(
        document
        for file in sorted((CHART / "crds").glob("*.yaml"))
        for document in yaml.load_all(file.read_text(), yaml.CSafeLoader)
    )


def kinds() -> set[str]:
    return {definition["spec"]["names"]["kind"] for definition in definitions()}


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
def validator(kind: str) -> jsonschema.Draft7Validator:
    (schema,) = [
        dict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        for definition in definitions()
        if definition["spec"]["names"]["kind"] == kind
    ]
    whole = {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
    schema["properties"] = {**schema["properties"], **whole}
    return jsonschema.Draft7Validator(strict(schema))


def problems(document: dict[str, Any]) -> list[str]:
    """What is wrong with an object of the operator."""
    errors = validator(document["kind"]).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]
