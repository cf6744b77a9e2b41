"""Answers of a model written as JSON or as an Arrow IPC stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from headrace.serving.predictor import Answer

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(document: Any) -> bytes:
    """Write compact JSON; NaN and infinities are refused."""
    return _encode(document).encode("utf-8", "replace")


def rows_of(answer: Answer, classes: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Write each row of an answer: ``prediction``, ``probabilities`` by class, ``flags``.

    A rejected row has a null prediction and no probabilities, and so has one for which the model gives no finite
    number.
    """
    outputs, labels = answer.outputs, answer.labels.tolist()
    names = [str(label) for label in classes]
    with_probabilities = outputs.ndim == 2
    refused = answer.rejected
    if outputs.dtype.kind == "f":
        finite = np.isfinite(outputs)
        if not finite.all():
            refused = refused | ~(finite.all(axis=1) if with_probabilities else finite)
    # The flags of each row are looked up once, not by a search for every row.
    flags: dict[int, list[dict[str, Any]]] = {}
    for finding in answer.findings:
        said = {"column": finding.column, "check": finding.check, "rejected": finding.rejected}
        for flagged in finding.rows.tolist():
            flags.setdefault(flagged, []).append(said)
    rows = []
    for number, (values, label, is_refused) in enumerate(
        zip(outputs.tolist(), labels, refused.tolist(), strict=True)
    ):
        row: dict[str, Any] = {"prediction": None if is_refused else label}
        if with_probabilities:
            row["probabilities"] = None if is_refused else dict(zip(names, values, strict=True))
        row["flags"] = flags.get(number, [])
        rows.append(row)
    return rows


def table_of(answer: Answer, classes: tuple[Any, ...], *, said: dict[str, str]) -> bytes:
    """Write an answer as an Arrow IPC stream.

    Columns ``prediction``, ``probability_CLASS`` for each class and ``flags`` (list of ``column: check``); what was
    `said` of the whole answer is in the metadata of the schema.
    """
    absent = answer.rejected
    columns = {"prediction": pa.array(answer.labels.tolist(), mask=absent if absent.any() else None)}
    if answer.outputs.ndim == 2:
        for number, label in enumerate(classes):
            columns[f"probability_{label}"] = pa.array(
                np.ascontiguousarray(answer.outputs[:, number], np.float64), mask=absent
            )
    flags: list[list[str]] = [[] for _ in range(len(answer.labels))]
    for finding in answer.findings:
        for row in finding.rows.tolist():
            flags[row].append(f"{finding.column}: {finding.check}")
    columns["flags"] = pa.array(flags, pa.list_(pa.string()))
    table = pa.table(columns).replace_schema_metadata(said)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
