"""Single-row requests at 1, 8 and 64 clients: headrace serve, a bare FastAPI app, and MLflow on the same model.

    python benchmarks/serving.py PACKAGE [--seconds 5] [--mlflow /path/to/mlflow/python]

Every server runs alone, in one process; one load generator of plain sockets asks each. What matters is the ratios. What
headrace adds to ONNX Runtime is measured in one process, where calls of the runtime, requests to the application and
their steps take turns. The result goes to docs/benchmarks/serving.json and into the README beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import psutil
import uvloop

from clients import Asked, ask, cpu_seconds, free_port, request_of, start, stop
from headrace.packaging.exports.onnx_file import MODEL
from headrace.packaging.package import read_package
from headrace.serving import logs
from headrace.serving.answers import encode, rows_of
from headrace.serving.app import Server
from headrace.serving.batching import Batch
from headrace.serving.bodies import JSON, read_body
from headrace.serving.examples import example_row
from headrace.serving.feeds import feeds_of_rows
from headrace.serving.limits import Trace
from headrace.serving.loading import Models
from headrace.serving.options import ServeOptions
from run import ROOT, machine
from tables import with_serving

PLACE = ROOT / "docs" / "benchmarks"
CLIENTS = (1, 8, 64)
TURNS, CALLS = 20, 100
BARE = """
import json, sys
import numpy as np, pandas as pd, uvicorn
from fastapi import FastAPI
from headrace.packaging.package import read_package
package = read_package(sys.argv[1])
pipeline = package.model()
kinds = {column.name: column.kind for column in package.manifest.signature.inputs}
app = FastAPI()

@app.post("/predict")
def predict(rows: list[dict]):
    frame = pd.DataFrame(rows)
    for name, kind in kinds.items():
        if kind == "datetime":
            frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
        elif kind == "string":
            frame[name] = frame[name].astype("str")
        else:
            frame[name] = frame[name].astype("float64")
    return pipeline.predict_proba(frame).tolist()

uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""
SAVE = """
import pickle, sys, mlflow
mlflow.sklearn.save_model(pickle.load(open(sys.argv[1], "rb")), sys.argv[2], serialization_format="cloudpickle")
"""


async def load(
    port: int, request: bytes, clients: int, seconds: float, server: psutil.Process
) -> dict[str, float]:
    for share in (0.25, 1.0):  # first to warm up
        worked, begun = cpu_seconds(server), time.perf_counter()
        until = begun + share * seconds
        asked = Asked(lambda _, until=until: time.perf_counter() >= until)
        await ask(port, request, clients, asked)
        elapsed, worked = time.perf_counter() - begun, cpu_seconds(server) - worked
    if asked.failures:
        raise SystemExit(asked.failures[0])
    p50, p99 = np.quantile(np.array(asked.seconds) * 1000, [0.5, 0.99])
    return {
        "p50": round(float(p50), 3),
        "p99": round(float(p99), 3),
        "per_second": round(asked.count / elapsed, 1),
        "cpu_microseconds": round(worked / asked.count * 1e6),
    }


def measure(command: list[str], alive: str, path: str, body: Any, seconds: float) -> dict[str, Any]:
    port, request = free_port(), request_of(path, body)
    results = {}
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        process = start([*command, str(port)], port, alive, log)
        try:
            for clients in CLIENTS:
                at = log.stat().st_size
                figures = uvloop.run(load(port, request, clients, seconds, psutil.Process(process.pid)))
                results[str(clients)] = figures | told_in(log.read_bytes()[at:])
        finally:
            stop(process)
    return results


def told_in(log: bytes) -> dict[str, float]:
    """What headrace logs of each request: milliseconds from its headers to the end of its answer."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b'{"at"')]
    took = [line["milliseconds"] for line in lines if line.get("path") == "/v1/predict"]
    return {"server_p50": round(float(np.median(took)), 3)} if took else {}


class Inside:
    """The application in this process, asked about one row without a socket."""

    def __init__(self, package: str) -> None:
        options = ServeOptions(model=package)
        self.server = Server(options, Models(options))
        self.slot = self.server.models.slots["champion"]
        self.signature = self.slot.predictor.signature
        row = example_row(self.signature)
        self.content = json.dumps({"rows": [row]}).encode()
        self.feeds = feeds_of_rows([row], self.signature.inputs)
        self.answer = self.slot.predictor.answer(self.feeds)
        self.batch = Batch(self.slot, False, self.feeds, self.answer, 1e-4, ("",), (1,))
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        content = read_package(package).contents[MODEL]
        self.session = ort.InferenceSession(content, settings, providers=["CPUExecutionProvider"])

    async def request(self) -> None:
        length = b"%d" % len(self.content)
        headers = [(b"host", b"a"), (b"content-type", JSON.encode()), (b"content-length", length)]
        scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.content, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            assert message.get("status", 200) == 200

        await self.server.app(scope, receive, send)

    def steps(self) -> dict[str, float]:
        """Do what a request needs, one step after the other, and take the time of each."""
        predictor, metrics = self.slot.predictor, self.server.metrics
        ends = [("", time.perf_counter())]
        body = read_body(self.content, JSON, 10)
        ends.append(("read strict JSON", time.perf_counter()))
        feeds = body.feeds(self.signature)
        ends.append(("values to tensors", time.perf_counter()))
        predictor.guard.check(feeds)
        ends.append(("guard", time.perf_counter()))
        predictor.outputs(feeds)
        ends.append(("ONNX Runtime, between other work", time.perf_counter()))
        said = {"model": self.slot.version, "arm": self.slot.arm, "request_id": "0" * 32}
        encode({**said, "rows": rows_of(self.answer, self.signature.classes)})
        ends.append(("write JSON", time.perf_counter()))
        metrics.batch(self.batch)
        metrics.request("/v1/predict", 200, 1e-4, self.slot.version, self.slot.arm)
        ends.append(("metrics", time.perf_counter()))
        logs.write_request(Trace("0" * 32, "POST", "/v1/predict", 0.0, 200, 1e-4, self.slot.version))
        ends.append(("line in the log", time.perf_counter()))
        return {name: end - begun for (_, begun), (name, end) in itertools.pairwise(ends)}

    async def measure(self) -> dict[str, Any]:
        """Microseconds at the median: the bare call, again and again as it is fastest; whole requests; their steps."""
        bare: list[float] = []
        whole: list[float] = []
        steps: list[dict[str, float]] = []
        for turn in range(TURNS + 1):
            if turn == 1:  # the first one warms up
                for taken in (bare, whole, steps):
                    taken.clear()
            for _ in range(CALLS):
                begun = time.perf_counter()
                self.session.run(None, self.feeds)
                bare.append(time.perf_counter() - begun)
            for _ in range(CALLS):
                begun = time.perf_counter()
                await self.request()
                whole.append(time.perf_counter() - begun)
            steps += [self.steps() for _ in range(CALLS)]
        parts = {name: microseconds([each[name] for each in steps]) for name in steps[0]}
        parts["request, turn of the loop, answer"] = microseconds(whole) - sum(parts.values())
        return {
            "onnxruntime": microseconds(bare),
            "request": microseconds(whole),
            "over_onnxruntime": microseconds(whole) - microseconds(bare),
            "steps": parts,
        }


def microseconds(seconds: list[float]) -> int:
    return round(float(np.median(seconds)) * 1e6)


def ours_inside(package: str) -> dict[str, Any]:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        return uvloop.run(Inside(package).measure())


def saved_for_mlflow(python: str, package: Any, place: str) -> str:
    Path(place, "model.pkl").write_bytes(pickle.dumps(package.model()))
    Path(place, "save.py").write_text(SAVE)
    subprocess.run([python, f"{place}/save.py", f"{place}/model.pkl", f"{place}/mlflow"], check=True)
    return f"{place}/mlflow"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mlflow", help="a Python that has mlflow, headrace and their dependencies")
    options = parser.parse_args()
    package = read_package(options.package)
    row = example_row(package.manifest.signature)
    results: dict[str, Any] = {"inputs": len(row), "machine": machine(), "seconds": options.seconds}
    results["load_average"] = round(os.getloadavg()[1], 1)
    results["inside_microseconds"] = ours_inside(options.package)
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "headrace", "serve", options.package, "--port"]
        results["headrace"] = measure(command, "/readyz", "/v1/predict", {"rows": [row]}, options.seconds)
        bare = Path(place, "bare.py")
        bare.write_text(BARE)
        command = [sys.executable, str(bare), options.package]
        results["fastapi"] = measure(command, "/openapi.json", "/predict", [row], options.seconds)
        if options.mlflow:
            saved = saved_for_mlflow(options.mlflow, package, place)
            serve = ["-m", "mlflow", "models", "serve", "-m", saved, "--env-manager", "local", "-p"]
            body = {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
            results["mlflow"] = measure(
                [options.mlflow, *serve], "/ping", "/invocations", body, options.seconds
            )
    ours = results["headrace"]
    for other in ("fastapi", "mlflow"):
        if other in results:
            results[f"requests/s, headrace over {other}"] = {
                clients: round(ours[clients]["per_second"] / held["per_second"], 1)
                for clients, held in results[other].items()
            }
            results[f"processor time, {other} over headrace"] = {
                clients: round(held["cpu_microseconds"] / ours[clients]["cpu_microseconds"], 1)
                for clients, held in results[other].items()
            }
    (PLACE / "serving.json").write_text(json.dumps(results, indent=1) + "\n")
    readme = PLACE / "README.md"
    readme.write_text(with_serving(readme.read_text(), results))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
