"""What strangers send: each attack gets an answer that names it, and the server goes on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry
from headrace.packaging.signing import new_key_pair, sign

from .conftest import ROW, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from headrace.packaging.package import Package

JSON = {"content-type": "application/json"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


def text_of(**values: str) -> str:
    """The body of one row, some values replaced by what no JSON library would write."""
    row = {**{name: json.dumps(value) for name, value in ROW.items()}, **values}
    return '{"rows": [%s]}' % ("{" + ", ".join(f'"{name}": {value}' for name, value in row.items()) + "}")


@pytest.fixture(autouse=True)
def goes_on(served: Running) -> Iterator[None]:
    yield
    assert served.ask(ROW).status_code == 200


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("NaN", "NaN is not a finite number"),
        ("-Infinity", "-Infinity is not a finite number"),
        ("1e400", "inf is not a finite number"),
        ("9" * 400, "is not a finite number"),
        ('"9"', "'9' is not a finite number"),
        ("true", "True is not a finite number"),
        ("[" * 50 + "]" * 50, "is not a finite number"),
        ('{"a": 1}', "is not a finite number"),
    ],
)
def test_a_value_that_is_no_number_is_named_by_row_and_column(served: Running, value: str, said: str):
    answer = served.client.post("/v1/predict", content=text_of(size=value), headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["error"]["where"] == "row 0: size"
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (text_of(other="NaN"), "body"),
        (text_of(size="9" * 5000), "body"),
        ('{"rows": [{"size": 1, "size": 2}]}', "row 0"),
        ('{"rows": [{"city": "a"}], "rows": []}', "body"),
        (text_of(size='{"a": 1, "a": 2}'), "row 0: size"),
        ('{"columns": {"size": [1], "size": [2]}}', "column size"),
        ('{"columns": {"size": 1}}', "column size"),
        ("[" * 50_000, "body"),
        ('{"rows": ' + "[" * 20_000 + "]" * 20_000 + "}", "body"),
        ('{"a":' * 15_000 + "1" + "}" * 15_000, "body"),
        ("{}", "body"),
        ('{"rows": []}', ""),
        ('{"rows": [1]}', "row 0"),
        ('{"rows": {}}', "body: rows"),
        ('{"rows": [], "columns": {}}', "body"),
        ("null", "body"),
        ("", "body"),
        ('{"rows": [', "body"),
        (b"\xff\xfe\xfa", "body"),
        (text_of(city='"\\ud800"'), "row 0: city"),
        (text_of(at='"0001-01-01T00:00:00+23:59"'), None),
        (text_of(at='"2013-02-30"'), "row 0: at"),
        (text_of(flag="2"), "row 0: flag"),
    ],
)
def test_what_is_no_strict_json_is_refused(served: Running, body: str | bytes, where: str | None):
    answer = served.client.post("/v1/predict", content=body, headers=JSON)
    if where is None:
        assert answer.status_code in {200, 422}
        return
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"].get("where", "") == where


@pytest.mark.parametrize(
    "labels",
    [
        *("[NaN]", "[-Infinity]", "[1e400]", f"[{'9' * 400}]", f"[{'9' * 5000}]", "[true]", '[{"a": 1}]'),
        *(
            '["<script>"]',
            '["\\ud800"]',
            "[" * 20_000 + "]" * 20_000,
            "{}",
            "[]",
            "null",
            '["yes"',
            "[[" * 30_000,
        ),
        *('["yes"], "labels": ["no"]', '["yes"], "more": 1', '["yes"], "request_id": "../../b"'),
    ],
)
def test_labels_that_are_no_strict_json_or_no_classes_are_refused(served: Running, labels: str):
    body = '{"request_id": "a", "labels": %s}' % labels  # noqa: UP031 - braces of JSON
    answer = served.client.post("/v1/feedback", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["request_id"]


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"\xff\xff\xff\xff\x7f\xff\xff\xff", b"\x00" * 1000])
def test_what_is_no_arrow_stream_is_refused(served: Running, content: bytes):
    assert served.client.post("/v1/predict", content=content, headers=ARROW).status_code == 422


def test_a_broken_arrow_stream_is_refused(served: Running):
    from .conftest import training_rows
    from .test_app import stream_of

    whole = stream_of(training_rows(20))
    for place in range(8, len(whole), 97):
        broken = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        answer = served.client.post("/v1/predict", content=broken, headers=ARROW)
        assert answer.status_code in {200, 413, 422}, (place, answer.text)
    assert (
        served.client.post("/v1/predict", content=whole[: len(whole) // 2], headers=ARROW).status_code == 422
    )


def test_a_body_of_a_gigabyte_is_refused_before_it_is_read(served: Running):
    with socket.create_connection(served.address, timeout=10) as connection:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {10**9}\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(1000)


def test_a_body_of_unknown_length_is_cut_at_the_limit(served: Running):
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 50_000

    answer = None
    try:
        answer = served.client.post("/v1/predict", content=parts(), headers=JSON)
    except Exception as error:  # noqa: BLE001 - the connection may be closed while we still send
        assert "httpx" in type(error).__module__  # noqa: PT017 - any of its transport errors
    if answer is not None:
        assert answer.status_code == 413
    assert sent < 2000


def test_too_many_rows_are_refused(served: Running):
    answer = served.ask(*[{"city": "a"}] * 201)
    assert answer.status_code == 413
    assert "more than 200" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /v1/predict HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: "],
    ids=["nothing", "no end", "half a header"],
)
def test_a_client_that_sends_no_headers_is_let_go(served: Running, sent: bytes):
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
        assert time.monotonic() - started < 15


def test_a_connection_that_was_answered_is_let_go_too_when_its_next_headers_do_not_end(served: Running):
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 200 " in connection.recv(4096)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
        assert time.monotonic() - started < 15


def test_a_client_that_sends_its_body_slowly_is_told_so(served: Running):
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
        )
        assert b" 408 " in connection.recv(1000)


def test_more_requests_than_allowed_are_told_when_to_come_again(served: Running):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
    refused = None
    # A body that does not come holds its place for a moment only, which a busy machine may miss.
    for _ in range(10):
        held = [socket.create_connection(served.address, timeout=20) for _ in range(8)]
        try:
            for connection in held:
                connection.sendall(head)
            until = time.monotonic() + 1.2
            while time.monotonic() < until and refused is None:
                answer = served.ask(ROW)
                refused = answer if answer.status_code == 429 else None
            if refused is not None:
                assert served.client.get("/healthz").status_code == 200
                break
        finally:
            for connection in held:
                connection.close()
    assert refused is not None
    assert refused.headers["retry-after"] == "1"
    until = time.monotonic() + 10
    while served.ask(ROW).status_code == 429 and time.monotonic() < until:
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({}, 415),
        ({**JSON, "content-encoding": "gzip"}, 415),
    ],
)
def test_another_media_type_is_refused(served: Running, headers: dict[str, str], status: int):
    assert served.client.post("/v1/predict", content=text_of(), headers=headers).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/predict", 405),
        ("PUT", "/v1/feedback", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/v1/model/..%2f..%2fmanifest.json", 404),
        ("POST", "/" + "a" * 5000, 404),
    ],
)
def test_there_is_nothing_beside_the_endpoints(served: Running, method: str, path: str, status: int):
    answer = served.client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["status"] == status


def test_many_clients_at_once_all_get_their_own_answer(served: Running):
    def ask(number: int) -> Any:
        answer = served.ask({**ROW, "size": float(number % 10)}, headers={"x-request-id": f"n{number}"})
        return number, answer.status_code, answer.json()

    alone = {size: served.ask({**ROW, "size": float(size)}).json()["rows"] for size in range(10)}
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
        for number, status, document in pool.map(ask, range(140)):
            assert status == 200
            assert document["request_id"] == f"n{number}"
            told, known = document["rows"][0], alone[number % 10][0]
            assert told["probabilities"]["yes"] == pytest.approx(known["probabilities"]["yes"], abs=1e-12)
            assert told["flags"] == known["flags"]


def test_no_generated_request_makes_the_server_fail(served: Running):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings

    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    for operation in schema.get_all_operations():

        @given(case=operation.ok().as_strategy())
        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def holds(case: Any) -> None:
            assert case.call(base_url=served.url).status_code < 500

        holds()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


class Hostile:
    """A copy of a package that someone has changed; `ran` is there once code of theirs has run."""

    def __init__(self, package: Package, place: Path) -> None:
        self.folder, self.ran = place / "hostile", place / "ran"
        self.folder.mkdir()
        for name, content in package.contents.items():
            (self.folder / name).write_bytes(content)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, and its hash with it."""
        (self.folder / name).write_bytes(content)
        self.declare(files={name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}})

    def declare(self, **keys: dict[str, Any]) -> None:
        """Add to documents of the manifest."""
        manifest = json.loads((self.folder / "manifest.json").read_text())
        for key, values in keys.items():
            manifest[key] = {**manifest.get(key, {}), **values}
        (self.folder / "manifest.json").write_text(json.dumps(manifest))


def refused(*arguments: str) -> str:
    """Start a server that must not come up; the one line that it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "headrace", "serve", *arguments, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return line


def file_is_changed(hostile: Hostile) -> None:
    content = bytearray((hostile.folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (hostile.folder / "model.onnx").write_bytes(bytes(content))


def file_is_added(hostile: Hostile) -> None:
    (hostile.folder / "sitecustomize.py").write_text(f"import os; os.mkdir({str(hostile.ran)!r})")


def file_is_elsewhere(hostile: Hostile) -> None:
    hostile.declare(files={"../../secret": {"sha256": "0" * 64, "bytes": 1}})


def pickle_in_place_of_the_model(hostile: Hostile) -> None:
    hostile.write("pipeline.skops", pickle.dumps(Bomb(str(hostile.ran))))


def pickle_in_an_array_of_the_model(hostile: Hostile) -> None:
    import zipfile

    array, made = io.BytesIO(), io.BytesIO()
    np.save(array, np.array([Bomb(str(hostile.ran))], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(hostile.folder / "pipeline.skops") as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            target.writestr(name, array.getvalue() if name.endswith(".npy") else source.read(name))
    hostile.write("pipeline.skops", made.getvalue())


def trusted_types_in_the_package(hostile: Hostile) -> None:
    step = FunctionTransformer(os.mkdir, kw_args={"path": str(hostile.ran)})
    hostile.write("pipeline.skops", skops.io.dumps(make_pipeline(step)))
    trusted = {"trusted": ["posix.mkdir"]}
    hostile.write("trusted.json", json.dumps(trusted).encode())
    hostile.declare(trusted=trusted, provenance=trusted, signature=trusted, gates={"skops": trusted})


def pickle_in_place_of_the_onnx_file(hostile: Hostile) -> None:
    hostile.write("model.onnx", pickle.dumps(Bomb(str(hostile.ran))))


def onnx_file_that_reads_another_file(hostile: Hostile) -> None:
    import onnx

    (hostile.folder.parent / "secret").write_bytes(b"s" * 64)
    model = onnx.load(hostile.folder / "model.onnx")
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.UINT8, dims=[64])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="secret")
    model.graph.initializer.append(weight)
    model.graph.node.append(onnx.helper.make_node("Identity", ["w"], ["probabilities of others"]))
    hostile.write("model.onnx", model.SerializeToString())


def feature_function_that_runs_programs(hostile: Hostile) -> None:
    hostile.declare(signature={"features_function": "subprocess:call"})


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("onnx", file_is_changed, "model.onnx was changed: its hash is not the one in the manifest"),
        ("onnx", file_is_added, "sitecustomize.py is not in the manifest of the package"),
        ("onnx", file_is_elsewhere, "names a file '../../secret' that cannot be in a package"),
        ("plain", pickle_in_place_of_the_model, "pipeline.skops: is not a skops file"),
        ("plain", pickle_in_an_array_of_the_model, "pipeline.skops: cannot be loaded"),
        ("plain", trusted_types_in_the_package, "holds types that are not trusted: posix.mkdir"),
        ("onnx", pickle_in_place_of_the_onnx_file, "model.onnx: cannot be loaded"),
        ("onnx", onnx_file_that_reads_another_file, "model.onnx: cannot be loaded"),
        ("plain", feature_function_that_runs_programs, "needs a feature function, which is not served"),
    ],
)
def test_a_hostile_package_is_not_served(
    packages: dict[str, Package],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    change: Callable[[Hostile], None],
    said: str,
):
    hostile = Hostile(packages[kind], tmp_path)
    monkeypatch.chdir(tmp_path)
    change(hostile)
    assert said in refused(str(hostile.folder))
    assert not hostile.ran.exists()


def test_a_manifest_that_was_changed_in_the_registry_is_not_served(
    packages: dict[str, Package], tmp_path: Path
):
    Registry(tmp_path / "registry").publish("late", packages["onnx"].url)
    manifest = tmp_path / "registry/late/1/manifest.json"
    manifest.write_text(manifest.read_text().replace('"passed": true', '"passed": false'))
    said = "manifest.json was changed after the version was published"
    assert said in refused("late", "--registry", str(tmp_path / "registry"))


def test_where_keys_are_named_an_unsigned_version_is_not_served_nor_exchanged_for(
    packages: dict[str, Package], tmp_path: Path
):
    pytest.importorskip("cryptography", reason="needs the extra sign")
    registry = Registry(tmp_path / "registry")
    for package in packages.values():
        registry.publish("late", package.url)
    new_key_pair(str(tmp_path / "key.pem"))
    policy = ("--registry", registry.url, "--trusted-keys", f"{tmp_path}/key.pem.pub")
    assert "is not signed, and unsigned models are refused here" in refused("late", *policy)
    sign(read_package(registry.resolve("late@1")), f"{tmp_path}/key.pem")
    running = Running("late", *policy, "--reload", "0.05")
    try:
        registry.set_alias("late", "champion", 2)
        until = time.monotonic() + 20
        while not any("is not signed" in line.get("error", "") for line in running.log):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert running.ask(ROW).json()["model"] == "late@1"
    finally:
        assert running.stop() == 0
