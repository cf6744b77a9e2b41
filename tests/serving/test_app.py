from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pyarrow as pa
import pytest

from headrace.packaging.model import Model

from .conftest import ROW, Running, training_rows

if TYPE_CHECKING:
    from headrace.packaging.package import Package

ARROW = "application/vnd.apache.arrow.stream"


def stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def test_rows_columns_and_arrow_are_answered_alike_and_as_the_loaded_model_does(
    served: Running, packages: dict[str, Package]
):
    table = training_rows(30, seed=7)
    expected = Model(packages["onnx"]).predict_proba(table)
    rows = [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
        for row in table.to_pylist()
    ]
    by_rows = served.ask(*rows).json()
    by_columns = served.client.post(
        "/v1/predict", json={"columns": {name: [row[name] for row in rows] for name in rows[0]}}
    ).json()
    by_arrow = served.client.post(
        "/v1/predict", content=stream_of(table), headers={"content-type": ARROW}
    ).json()
    assert by_rows["model"] == "late@1"
    assert by_rows["arm"] == "champion"
    assert by_rows["rows"] == by_columns["rows"] == by_arrow["rows"]
    said = [[row["probabilities"]["no"], row["probabilities"]["yes"]] for row in by_rows["rows"]]
    np.testing.assert_allclose(said, expected, atol=1e-9)
    assert [row["prediction"] for row in by_rows["rows"]] == Model(packages["onnx"]).predict(table).tolist()


def test_an_answer_may_be_an_arrow_stream(served: Running):
    answer = served.ask(ROW, {**ROW, "city": "Atlantis"}, headers={"accept": ARROW})
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.column_names == ["prediction", "probability_no", "probability_yes", "flags"]
    assert table["flags"].to_pylist() == [[], ["city: category"]]
    assert table.schema.metadata[b"model"] == b"late@1"


def test_a_request_keeps_its_id_and_an_unfit_one_is_replaced(served: Running):
    named = served.ask(ROW, headers={"x-request-id": "order-17"})
    assert named.json()["request_id"] == named.headers["x-request-id"] == "order-17"
    unfit = served.ask(ROW, headers={"x-request-id": "a b<script>"})
    assert unfit.json()["request_id"] == unfit.headers["x-request-id"] != "a b<script>"


def test_flags_name_column_and_check(served: Running):
    rows = served.ask(ROW, {**ROW, "city": "Atlantis", "size": 1e9}).json()["rows"]
    assert rows[0]["flags"] == []
    assert {(flag["column"], flag["check"], flag["rejected"]) for flag in rows[1]["flags"]} == {
        ("city", "category", False),
        ("size", "range", False),
    }


def test_metrics_count_requests_rows_batches_and_findings(served: Running):
    served.ask({**ROW, "city": "Mu"})
    text = served.client.get("/metrics").text
    for name in (
        'headrace_requests_total{path="/v1/predict",status="200"}',
        'headrace_request_seconds_bucket{arm="champion",le="0.001",path="/v1/predict",version="late@1"}',
        'headrace_rows_total{arm="champion",version="late@1"}',
        'headrace_batch_rows_count{arm="champion",version="late@1"}',
        'headrace_guard_rows_total{arm="champion",check="category",column="city",rejected="false",version="late@1"}',
        'headrace_model_served{arm="champion",runtime="onnxruntime",version="late@1"} 1.0',
    ):
        assert name in text, name


def test_openapi_tells_types_ranges_and_examples_that_are_answered(served: Running):
    document = served.client.get("/openapi.json").json()
    row = document["components"]["schemas"]["Row"]
    assert row["properties"]["count"]["type"] == ["number", "null"]
    assert row["properties"]["count"]["x-range"] == [0, 8]
    assert row["properties"]["at"]["format"] == "date-time"
    assert "size" not in row["required"]
    post = document["paths"]["/v1/predict"]["post"]
    answers = document["components"]["schemas"]["Answer"]
    for example in post["requestBody"]["content"]["application/json"]["examples"].values():
        answer = served.client.post("/v1/predict", json=example["value"])
        assert answer.status_code == 200, answer.text
        jsonschema.validate(answer.json(), answers)
        assert answer.json()["rows"][0]["flags"] == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/model", "/openapi.json", "/", "/nowhere"])
def test_every_answer_carries_the_security_headers(served: Running, path: str):
    headers = served.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"request_id": "a-1", "labels": ["yes", None]}, 202, ""),
        ({"request_id": "a-1", "labels": ["maybe"]}, 422, "row 0"),
        ({"request_id": "a-1", "labels": [True]}, 422, "row 0"),
        ({"request_id": "a 1", "labels": ["yes"]}, 422, "request_id"),
        ({"request_id": "a-1"}, 422, "body"),
        ({"request_id": "a-1", "labels": []}, 422, "labels"),
        ({"request_id": "a-1", "labels": ["yes"] * 201}, 413, "body"),
    ],
)
def test_feedback_is_held_against_the_classes(served: Running, body: Any, status: int, said: str):
    answer = served.client.post("/v1/feedback", json=body)
    assert answer.status_code == status
    if said:
        assert said in answer.json()["error"]["where"]


def test_logs_tell_what_happened_and_no_value_of_a_feature(served: Running):
    served.ask({**ROW, "city": "Xanadu-secret"}, headers={"x-request-id": "logged-1"})
    served.ask({**ROW, "size": "Xanadu-secret"}, headers={"x-request-id": "logged-2"})
    served.client.get("/healthz")
    lines = {line.get("request_id"): line for line in served.log}
    assert lines["logged-1"]["status"] == 200
    assert lines["logged-1"]["model"] == "late@1"
    assert lines["logged-2"]["status"] == 422
    assert lines["logged-2"]["error"] == "row 0: size"
    assert not any("Xanadu" in line for line in served.lines)
