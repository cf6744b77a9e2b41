"""The OpenAPI document of a server: each input with its type, the range of training and an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import __version__
from headrace.serving.examples import example, example_row, is_whole

if TYPE_CHECKING:
    from headrace.packaging.signature import InputColumn, Signature
    from headrace.serving.options import LimitOptions

REQUEST_ID = r"^[A-Za-z0-9._-]{1,128}$"


def document(signature: Signature, version: str, limits: LimitOptions, *, keys: bool) -> dict[str, Any]:
    """Describe the server of a model.

    Parameters
    ----------
    signature : Signature
        What the model takes and gives.
    version : str
        Such as ``late@3``.
    limits : LimitOptions
        What is taken at most.
    keys : bool
        Whether keys are asked for.

    Returns
    -------
    dict
        OpenAPI 3.1.
    """
    row = example_row(signature)
    made = signature.made()
    columns = {column.name: column_schema(column, made.get(column.name)) for column in signature.asked}
    required = [column.name for column in signature.inputs if not column.nullable]
    schemas = {
        "Row": {"type": "object", "properties": columns, "required": required, "additionalProperties": True},
        "Rows": {
            "type": "object",
            "required": ["rows"],
            "additionalProperties": False,
            "properties": {
                "rows": {
                    "type": "array",
                    "items": _ref("Row"),
                    "minItems": 1,
                    "maxItems": limits.rows,
                }
            },
        },
        "Columns": {
            "type": "object",
            "required": ["columns"],
            "additionalProperties": False,
            "properties": {
                "columns": {
                    "type": "object",
                    "description": "Lists of one length.",
                    "required": required,
                    "additionalProperties": True,
                    "properties": {
                        name: {"type": "array", "items": schema, "minItems": 1, "maxItems": limits.rows}
                        for name, schema in columns.items()
                    },
                }
            },
        },
        "Answer": _answer(signature),
        "Feedback": _feedback(signature, limits),
        "Error": _ERROR,
    }
    secured: dict[str, Any] = {"security": [{"bearer": []}, {"header": []}]} if keys else {}
    body = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [_ref("Rows"), _ref("Columns")]},
                "examples": {
                    "rows": {"value": {"rows": [row]}},
                    "columns": {"value": {"columns": {name: [value] for name, value in row.items()}}},
                },
            },
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
    answer = {"description": "The answer.", "content": {"application/json": {"schema": _ref("Answer")}}}
    paths = {
        "/v1/predict": {
            "post": {
                "operationId": "predict",
                "summary": f"Ask {version}",
                "parameters": _PARAMETERS,
                "requestBody": body,
                "responses": {"200": answer, **_errors(413, 415, 422, 429, 503, keys=keys)},
                **secured,
            }
        },
        "/v1/feedback": {
            "post": {
                "operationId": "feedback",
                "summary": "Tell what was true",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _ref("Feedback")}},
                },
                "responses": {
                    "202": _json("Taken.", {"type": "object"}),
                    **_errors(413, 415, 422, 429, keys=keys),
                },
                **secured,
            }
        },
        "/v1/model": _get("model", "Signature, card and live figures", keys=keys, **secured),
        "/healthz": _get("health", "Whether the process lives"),
        "/readyz": _get("ready", "Whether it takes requests", also=(503,)),
        "/metrics": _get("metrics", "Prometheus metrics", kind="text/plain", keys=keys, **secured),
    }
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": version, "version": __version__, "description": f"Predicts {signature.target}."},
        "paths": paths,
        "components": {"schemas": schemas, **({"securitySchemes": schemes} if keys else {})},
    }


def column_schema(column: InputColumn, made_of: str | None = None) -> dict[str, Any]:
    """Describe the values of one column; its range is told and not demanded, for the guard decides about it."""
    kinds = {"numeric": "number", "boolean": "boolean", "string": "string", "datetime": "string"}
    kind = kinds.get(column.kind, "string")
    made: dict[str, Any] = {"type": [kind, "null"], "examples": [example(column)]}
    said = [made_of] if made_of else []
    if column.kind == "datetime":
        made["format"] = "date-time"
    if column.minimum is not None and column.maximum is not None:
        said.append(f"{column.minimum} to {column.maximum} in the training data")
        made["x-range"] = [column.minimum, column.maximum]
    if is_whole(column):
        said.append("integers")
    if column.categories:
        made["x-categories"] = list(column.categories)
    said.append("sometimes missing" if column.nullable else "never missing in the training data")
    made["description"] = f"{column.type}; {'; '.join(said)}."
    return made


def _answer(signature: Signature) -> dict[str, Any]:
    flag = {
        "type": "object",
        "required": ["column", "check", "rejected"],
        "properties": {
            "column": {"type": "string"},
            "check": {"enum": ["range", "category", "missing"]},
            "rejected": {"type": "boolean"},
        },
    }
    row: dict[str, Any] = {
        "prediction": {"description": "null for a row that the guard rejects."},
        "flags": {"type": "array", "items": flag},
    }
    if signature.classes:
        row["prediction"]["enum"] = [*signature.classes, None]
        row["probabilities"] = {
            "type": ["object", "null"],
            "properties": {
                str(label): {"type": "number", "minimum": 0, "maximum": 1} for label in signature.classes
            },
        }
    return {
        "type": "object",
        "required": ["model", "arm", "request_id", "rows"],
        "properties": {
            "model": {"type": "string"},
            "arm": {"enum": ["champion", "challenger"]},
            "request_id": {"type": "string"},
            "rows": {
                "type": "array",
                "items": {"type": "object", "required": ["prediction", "flags"], "properties": row},
            },
        },
    }


def _feedback(signature: Signature, limits: LimitOptions) -> dict[str, Any]:
    label: dict[str, Any] = {"enum": [*signature.classes, None]} if signature.classes else {}
    return {
        "type": "object",
        "required": ["request_id", "labels"],
        "additionalProperties": False,
        "properties": {
            "request_id": {"type": "string", "pattern": REQUEST_ID},
            "labels": {
                "type": "array",
                "description": "One for each row of the request; null where it is not known.",
                "items": label or {"type": ["number", "null"]},
                "minItems": 1,
                "maxItems": limits.rows,
            },
        },
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["status", "message", "request_id"],
            "properties": {
                "status": {"type": "integer"},
                "message": {"type": "string"},
                "where": {"type": "string"},
                "mend": {"type": "string"},
                "request_id": {"type": "string"},
            },
        }
    },
}
_PARAMETERS = [
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Names the request; one is made when it is left out.",
        "schema": {"type": "string", "pattern": REQUEST_ID},
    },
    {
        "name": "X-Request-Key",
        "in": "header",
        "description": "Requests of one key go to one arm.",
        "schema": {"type": "string", "maxLength": 256},
    },
]
_MEANINGS = {
    401: "No key, or an unknown one.",
    403: "The key does not open this.",
    413: "Too many bytes or rows.",
    415: "Another media type.",
    422: "The body is wrong; row and column are named.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "Not ready, or out of time; Retry-After says when to come again.",
}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: int, keys: bool) -> dict[str, Any]:
    told = (*statuses, 401, 403) if keys else statuses
    return {str(status): _json(_MEANINGS[status], _ref("Error")) for status in told}


def _get(
    name: str,
    summary: str,
    *,
    kind: str = "application/json",
    keys: bool = False,
    also: tuple[int, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    schema = {"type": "object" if kind == "application/json" else "string"}
    responses = {"200": {"description": "OK", "content": {kind: {"schema": schema}}}}
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "responses": {**responses, **_errors(*also, keys=keys)},
            **more,
        }
    }
