from __future__ import annotations

import datetime as dt
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import httpx
import psutil
import pytest

from headrace.cli import run
from headrace.errors import RunError
from headrace.monitoring.store import MonitorStore
from headrace.monitoring.strays import EVERY
from headrace.packaging.registry import Registry
from headrace.serving import server
from headrace.serving.options import ServeOptions

from .conftest import ROW, Running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Load:
    """Threads that ask without a pause, and what they got."""

    def __init__(self, running: Running, threads: int = 4, row: dict[str, Any] = ROW) -> None:
        self.statuses: list[int] = []
        self.models: list[str] = []
        self.failures: list[str] = []
        self._url, self._row = running.url, row
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def reach(self, requests: int) -> None:
        until = time.monotonic() + 60
        while len(self.statuses) < requests and time.monotonic() < until:
            time.sleep(0.01)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._ending.is_set():
                try:
                    answer = client.post("/v1/predict", json={"rows": [self._row]})
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    return
                self.statuses.append(answer.status_code)
                self.models.append(answer.json()["model"])


@pytest.fixture
def moving(packages: Any, tmp_path: Path) -> Registry:
    registry = Registry(str(tmp_path / "registry"))
    for package in packages.values():
        registry.publish("late", package.url)
    return registry


def exchange_under_load(registry: Registry, requests: int, moves: int) -> Load:
    running = Running("late", "--registry", registry.url, "--reload", "0.05", "--log", "errors")
    try:
        with Load(running) as load:
            for move in range(1, moves + 1):
                load.reach(move * requests // (moves + 1))
                registry.set_alias("late", "champion", 2 if move % 2 else 1)
                wanted = f"late@{2 if move % 2 else 1}"
                until = time.monotonic() + 30
                while load.models[-1] != wanted and time.monotonic() < until:
                    time.sleep(0.01)
            load.reach(requests)
    finally:
        assert running.stop() == 0
    return load


def test_a_moved_alias_exchanges_the_model_and_no_request_fails(moving: Registry):
    load = exchange_under_load(moving, 200, 2)
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert set(load.models) == {"late@1", "late@2"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_a_hundred_thousand_requests_none_fails_while_the_alias_moves(moving: Registry):
    load = exchange_under_load(moving, 100_000, 40)
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert len(load.statuses) >= 100_000


def test_a_damaged_version_leaves_the_old_one_serving(moving: Registry, tmp_path: Path):
    running = Running("late", "--registry", moving.url, "--reload", "0.05")
    try:
        (tmp_path / "registry/late/2/pipeline.skops").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
        moving.set_alias("late", "champion", 2)
        until = time.monotonic() + 20
        while not any(line["event"] == "model not exchanged" for line in running.log):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert running.ask(ROW).json()["model"] == "late@1"
        assert "headrace_reloads_total" in running.client.get("/metrics").text
    finally:
        running.stop()


def test_sigterm_lets_a_request_under_way_finish(registry: str):
    running = Running("late@1", "--registry", registry)
    answers = []
    body = json.dumps({"rows": [ROW] * 5}).encode()

    def slowly() -> Iterator[bytes]:
        yield body[:10]
        time.sleep(0.5)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        yield body[10:]

    answers.append(
        running.client.post("/v1/predict", content=slowly(), headers={"content-type": "application/json"})
    )
    assert running.stop() == 0
    assert answers[0].status_code == 200
    assert len(answers[0].json()["rows"]) == 5


@pytest.mark.slow
def test_several_processes_share_a_port_and_add_up_their_metrics(registry: str):
    running = Running("late@1", "--registry", registry, "--workers", "2", "--log", "errors")
    try:
        with Load(running) as load:
            load.reach(100)
        assert set(load.statuses) == {200}
        text = running.client.get("/metrics").text
        counted = [line for line in text.splitlines() if line.startswith("headrace_rows_total")]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) == len(load.statuses)
        children = psutil.Process(running.process.pid).children()
        workers = [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        until = time.monotonic() + 30
        while sum(line["event"] == "serving" for line in running.log) < 3:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert httpx.get(f"{running.url}/readyz").status_code == 200
    finally:
        assert running.stop() == 0


@pytest.mark.slow
def test_labels_find_the_process_that_answered(registry: str, tmp_path: Path):
    running = Running(
        *("late@1", "--registry", registry, "--workers", "2", "--log", "errors"),
        *("--monitor", str(tmp_path)),
    )
    try:
        # A connection stays with one process, so each request and each label has its own.
        asked = [httpx.post(f"{running.url}/v1/predict", json={"rows": [ROW]}).json() for _ in range(40)]
        for answer in asked:
            labels = {"request_id": answer["request_id"], "labels": ["yes"]}
            assert httpx.post(f"{running.url}/v1/feedback", json=labels).status_code == 202
        until = time.monotonic() + 60
        while not list(tmp_path.rglob("strays/*")) and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(2 * EVERY)
    finally:
        assert running.stop() == 0
    windows = MonitorStore(str(tmp_path), "late").read()
    assert sum(window.outcomes.rows for window in windows) == 40
    assert sum(window.traffic.unmatched for window in windows) == 0


@pytest.fixture(scope="module")
def divided(
    registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, dict[str, str]]]:
    """A server with TLS, keys, a guard that rejects, and a challenger; and its keys by scope."""
    place = tmp_path_factory.mktemp("divided")
    keys = {}
    for scope in ("predict", "feedback", "admin"):
        made = subprocess.run(
            [
                sys.executable,
                "-m",
                "headrace",
                "serve-key",
                str(place / "keys"),
                f"a-{scope}",
                "--scope",
                scope,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        keys[scope] = made.stdout.strip()
    certificate(place)
    (place / "guard.yaml").write_text("category: reject\n")
    running = Running(
        *("late@1", "--registry", registry, "--challenger", "late@2", "--share", "0.5"),
        *("--keys", str(place / "keys"), "--guard", str(place / "guard.yaml")),
        *("--tls-certificate", str(place / "cert.pem"), "--tls-key", str(place / "key.pem")),
    )
    yield running, keys
    running.stop()


def certificate(place: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (place / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (place / "key.pem").write_bytes(private)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("predict", {"/v1/model": 200, "/metrics": 403, "/openapi.json": 200}),
        ("feedback", {"/v1/model": 403, "/metrics": 403, "/openapi.json": 403}),
        ("admin", {"/v1/model": 200, "/metrics": 200, "/openapi.json": 200}),
        (None, {"/v1/model": 401, "/metrics": 401, "/openapi.json": 401, "/": 200, "/healthz": 200}),
    ],
)
def test_a_key_opens_what_its_scopes_say(divided: Any, scope: str | None, expected: dict[str, int]):
    running, keys = divided
    headers = bearer(keys[scope]) if scope else {}
    for path, status in expected.items():
        assert running.client.get(path, headers=headers).status_code == status, path
    assert running.ask(ROW, headers=headers).status_code == {
        "predict": 200,
        "feedback": 403,
        "admin": 200,
    }.get(scope or "", 401)
    labels = {"request_id": "a", "labels": ["yes"]}
    answer = running.client.post("/v1/feedback", json=labels, headers=headers)
    assert answer.status_code == {"predict": 403, "feedback": 202, "admin": 202}.get(scope or "", 401)


@pytest.mark.parametrize(
    "headers",
    [bearer("wrong"), {"x-api-key": "wrong"}, {"authorization": "Bearer"}, {"authorization": "Basic a"}],
)
def test_a_wrong_key_opens_nothing(divided: Any, headers: dict[str, str]):
    answer = divided[0].ask(ROW, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["strict-transport-security"]


def test_a_key_goes_to_one_arm_always_and_the_answer_names_it(divided: Any):
    running, keys = divided
    arms: dict[str, set[tuple[str, str]]] = {}
    for number in range(60):
        key = f"customer {number % 20}"
        said = running.ask(ROW, headers={**bearer(keys["predict"]), "x-request-key": key}).json()
        arms.setdefault(key, set()).add((said["arm"], said["model"]))
    assert all(len(seen) == 1 for seen in arms.values())
    assert {pair for seen in arms.values() for pair in seen} == {
        ("champion", "late@1"),
        ("challenger", "late@2"),
    }
    metrics = running.client.get("/metrics", headers=bearer(keys["admin"])).text
    assert 'headrace_rows_total{arm="challenger",version="late@2"}' in metrics


def test_a_rejected_row_has_no_prediction_and_alone_no_answer(divided: Any):
    running, keys = divided
    headers = bearer(keys["predict"])
    both = running.ask(ROW, {**ROW, "city": "Atlantis"}, headers=headers)
    assert both.status_code == 200
    assert both.json()["rows"][1] == {
        "prediction": None,
        "probabilities": None,
        "flags": [{"column": "city", "check": "category", "rejected": True}],
    }
    alone = running.ask({**ROW, "city": "Atlantis"}, headers=headers)
    assert alone.status_code == 422
    assert alone.json()["error"]["where"] == "row 0: city"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "anyone could ask from outside"),
        (["--challenger", "late@2"], "--challenger: a challenger needs a share or --shadow"),
        (["--share", "0.5"], "--challenger: a challenger needs a share"),
        (["--share", "2"], "share: Input should be less than or equal to 1"),
        (["--tls-key", "a.pem"], "--tls-certificate: a certificate and its key go together"),
        (["--keys", "absent"], "absent: cannot be read"),
        (["--host", "256.1.1.1", "--no-keys"], "cannot listen"),
        (["--log", "all"], "log: Input should be 'requests' or 'errors'"),
    ],
)
def test_options_that_cannot_be_are_told_in_one_line(
    registry: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["serve", "late@1", "--registry", registry, "--port", "0", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("spoilt", ["no certificate", "another key", "a key with a password"])
def test_a_certificate_that_cannot_be_used_is_told_in_one_line(
    registry: str, spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from cryptography.hazmat.primitives import serialization

    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate(tmp_path)
    if spoilt == "no certificate":
        pem.write_text("none")
    elif spoilt == "another key":
        own = pem.read_bytes()
        certificate(tmp_path)
        pem.write_bytes(own)
    else:
        held = serialization.load_pem_private_key(key.read_bytes(), None)
        locked = serialization.BestAvailableEncryption(b"secret")
        form = serialization.PrivateFormat.PKCS8
        key.write_bytes(held.private_bytes(serialization.Encoding.PEM, form, locked))
    tls = ["--tls-certificate", str(pem), "--tls-key", str(key)]
    assert run(["serve", "late@1", "--registry", registry, "--port", "0", *tls]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{pem}: cannot be used with {key}: " in line
    assert line.endswith("give the PEM of a certificate, and that of its key without a password")


@pytest.mark.parametrize("model", ["../late@1", "late@../../1", "late@1/../..", "/etc", "late@7", "unknown"])
def test_a_model_outside_of_the_registry_is_not_served(
    registry: str, model: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["serve", model, "--registry", registry, "--port", "0"]) in {1, 2}
    assert "Traceback" not in capsys.readouterr().err


def test_a_process_that_cannot_be_started_ends_those_that_were(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = multiprocessing.get_context("spawn")
    started: list[Any] = []

    class Refused(spawn.Process):  # type: ignore[name-defined,misc]  # a class that the context makes
        def start(self) -> None:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def make(**_: Any) -> Any:
        started.append(Refused() if started else spawn.Process(target=time.sleep, args=(600,)))
        return started[-1]

    monkeypatch.setattr(multiprocessing, "get_context", lambda _: SimpleNamespace(Process=make))
    with pytest.raises(RunError, match="a process cannot be started"):
        server.serve(ServeOptions(model="late@1", registry=registry, port=0, workers=2))
    assert len(started) == 2
    assert not started[0].is_alive()
