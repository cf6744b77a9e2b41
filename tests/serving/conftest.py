"""A small package with an ONNX file, and one without, of the same model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from headrace.packaging.exports.files import exports_of
from headrace.packaging.inputs import to_frame, to_table
from headrace.packaging.package import read_package, write_package
from headrace.packaging.registry import Registry
from headrace.packaging.signature import InputColumn, Signature
from headrace.preparation.fitted import build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import Profile, profile_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.packaging.package import Package

ROW: dict[str, Any] = {"size": 9.5, "count": 3, "flag": True, "city": "Oslo", "at": "2013-10-01T17:30:00"}


def training_rows(rows: int = 400, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    seconds = rng.integers(1_356_998_400, 1_388_534_400, rows)
    return pa.table(
        {
            "size": pa.array(rng.normal(10, 2, rows), mask=rng.random(rows) < 0.1),
            "count": pa.array(rng.integers(0, 9, rows)),
            "flag": pa.array(rng.random(rows) < 0.3),
            "city": pa.array(rng.choice(["Oslo", "São Paulo", "b"], rows)),
            "at": pa.array(seconds.astype("datetime64[s]").astype("datetime64[us]")),
        }
    )


def trained(data: pa.Table, *, no: str = "no") -> tuple[Pipeline, Signature, Profile]:
    """A model of some rows, whose two classes are `no` and yes."""
    profile = profile_table(data)["all"]
    preparation = fit_preparation(profile, PrepareOptions(), features=list(profile.columns))
    transformer = build_transformer(preparation, dense=True)
    inputs = tuple(_input(name, column) for name, column in profile.columns.items())
    signature = Signature(inputs, "classification", "late", (no, "yes"))
    X = transformer.transform(to_frame(to_table(data, inputs)))
    y = np.where(X[:, 0] + X[:, 1] > 0, "yes", no)
    model = SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
    return Pipeline([("prepare", transformer), ("model", model)]), signature, profile


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    place = tmp_path_factory.mktemp("packages")
    pipeline, signature, profile = trained(training_rows())
    exports = exports_of(pipeline, signature, profile)
    for name, files, gates in (("onnx", exports.files, exports.gates), ("plain", {}, {})):
        write_package(
            place / name,
            pipeline=pipeline,
            signature=signature,
            profile=profile.to_dict(),
            metrics={"rows": 1, "metrics": {}, "slices": {}},
            provenance={},
            card={"name": "late"},
            exports=files,
            gates=gates,
        )
    return {name: read_package(place / name) for name in ("onnx", "plain")}


def _input(name: str, column: Any) -> InputColumn:
    moments = column.overall.moments
    low = high = None
    if column.kind in {"numeric", "datetime"}:
        low, high = moments.minimum, moments.maximum
        if column.kind == "datetime":
            low, high = column.shown(low), column.shown(high)
    known = None
    if column.kind == "string":
        known = tuple(value for value, _ in column.overall.hitters.items())
    return InputColumn(name, column.type, column.kind, column.overall.missing > 0, low, high, known)


class Running:
    """A server in a process of its own."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "headrace", "serve", *arguments, "--port", "0"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until = time.monotonic() + 60
        while not (heard := [line for line in self.log if line["event"] == "listening"]):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise AssertionError("\n".join(self.lines))
            time.sleep(0.02)
        self.url = heard[0]["url"]
        self.client = httpx.Client(base_url=self.url, verify=False, timeout=30)
        while True:
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.stop()
                    raise
            time.sleep(0.02)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def ask(self, *rows: dict[str, Any], **settings: Any) -> httpx.Response:
        return self.client.post("/v1/predict", json={"rows": list(rows)}, **settings)

    def stop(self) -> int:
        if hasattr(self, "client"):
            self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())


@pytest.fixture(scope="session")
def registry(packages: dict[str, Package], tmp_path_factory: pytest.TempPathFactory) -> str:
    """`late`: version 1 with an ONNX file, version 2 without."""
    url = str(tmp_path_factory.mktemp("registry"))
    for package in packages.values():
        Registry(url).publish("late", package.url)
    return url


@pytest.fixture(scope="session")
def served(registry: str) -> Iterator[Running]:
    """A server with the smallest limits that the tests can use."""
    limits = ["--max-body", "100000", "--max-rows", "200", "--max-seconds", "1.5", "--max-concurrent", "8"]
    running = Running("late@1", "--registry", registry, *limits)
    yield running
    running.stop()
