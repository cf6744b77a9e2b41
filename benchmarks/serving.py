"""Single-row requests at 1, 8 and 64 clients: headrace serve, a bare FastAPI app, and MLflow on the same model.

    python benchmarks/serving.py PACKAGE [--seconds 5] [--mlflow /path/to/mlflow/python]

Every server runs alone, in one process; one load generator of plain sockets asks each. What matters is the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop

CLIENTS = (1, 8, 64)
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


def request_of(path: str, body: Any) -> bytes:
    """Write a request once, to be sent many times."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer: its status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length.split(b":")[1]))


class Client(asyncio.Protocol):
    """Sends a request as soon as the last one is answered; it takes a tenth of the time that asyncio's streams take."""

    def __init__(self, request: bytes, until: float, took: list[float], failures: list[str]) -> None:
        self._request, self._until = request, until
        self._took, self._failures = took, failures
        self._held = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + len(b"content-length:")
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self._took.append(time.perf_counter() - self._start)
        if head[9:12] != b"200":
            self._failures.append(body[:200].decode())
        self._held = b""
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(exc)

    def _send(self) -> None:
        self._start = time.perf_counter()
        self._transport.write(self._request)


async def client(port: int, request: bytes, until: float, took: list[float], failures: list[str]) -> None:
    _, protocol = await asyncio.get_running_loop().create_connection(
        lambda: Client(request, until, took, failures), "127.0.0.1", port
    )
    await protocol.done


async def load(
    port: int, path: str, body: Any, clients: int, seconds: float, server: psutil.Process
) -> dict[str, float]:
    request = request_of(path, body)
    for warm in (True, False):
        took: list[float] = []
        failures: list[str] = []
        worked, start = cpu_seconds(server), time.perf_counter()
        until = start + (seconds / 4 if warm else seconds)
        await asyncio.gather(*[client(port, request, until, took, failures) for _ in range(clients)])
        elapsed, worked = time.perf_counter() - start, cpu_seconds(server) - worked
    if failures:
        raise SystemExit(f"{path}: {failures[0]}")
    p50, p99 = np.quantile(np.array(took) * 1000, [0.5, 0.99])
    return {
        "p50": round(float(p50), 3),
        "p99": round(float(p99), 3),
        "per_second": round(len(took) / elapsed, 1),
        "cpu_microseconds": round(worked / len(took) * 1e6),
    }


def cpu_seconds(server: psutil.Process) -> float:
    """What a server and its processes have worked: on a busy machine it tells more than the clock."""
    tree = [server, *server.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in tree)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def started(process: subprocess.Popen[bytes], port: int, alive: str) -> None:
    """Wait until a server answers."""
    until = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{alive}", timeout=1):
                return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{process.args}: did not start") from error
            time.sleep(0.1)


def measure(
    command: list[str], port: int, alive: str, path: str, body: Any, seconds: float
) -> dict[str, Any]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["MLFLOW_ALLOW_FILE_STORE"] = "true"  # without a tracking server it keeps its records in files
    environment["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{environment['PATH']}"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
    try:
        started(process, port, alive)
        return {
            str(clients): uvloop.run(load(port, path, body, clients, seconds, psutil.Process(process.pid)))
            for clients in CLIENTS
        }
    finally:
        process.terminate()
        process.wait(30)


def onnx_alone(package: Any, row: dict[str, Any]) -> float | None:
    """Milliseconds of the bare call of ONNX Runtime on one row, at the median."""
    from headrace.packaging.exports.onnx_file import MODEL, OnnxModel
    from headrace.serving.feeds import feeds_of_rows

    if MODEL not in package.contents:
        return None
    model = OnnxModel(package.contents[MODEL], package.manifest.signature)
    feeds = feeds_of_rows([row], package.manifest.signature.inputs)
    took = []
    for _ in range(3000):
        start = time.perf_counter()
        model.run(feeds)
        took.append(time.perf_counter() - start)
    return round(float(np.median(took)) * 1000, 4)


def main() -> None:
    from headrace.packaging.package import read_package
    from headrace.serving.examples import example_row

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mlflow", help="a Python that has mlflow, headrace and their dependencies")
    options = parser.parse_args()
    package = read_package(options.package)
    row = example_row(package.manifest.signature)
    results: dict[str, Any] = {"onnxruntime_alone_ms": onnx_alone(package, row)}
    with tempfile.TemporaryDirectory() as place:
        port = free_port()
        serve = [sys.executable, "-m", "headrace", "serve", options.package, "--port", str(port)]
        results["headrace"] = measure(serve, port, "/readyz", "/v1/predict", {"rows": [row]}, options.seconds)
        port = free_port()
        bare = Path(place, "bare.py")
        bare.write_text(BARE)
        command = [sys.executable, str(bare), options.package, str(port)]
        results["fastapi"] = measure(command, port, "/openapi.json", "/predict", [row], options.seconds)
        if options.mlflow:
            import pickle

            Path(place, "model.pkl").write_bytes(pickle.dumps(package.model()))
            Path(place, "save.py").write_text(SAVE)
            saved = f"{place}/mlflow"
            subprocess.run([options.mlflow, f"{place}/save.py", f"{place}/model.pkl", saved], check=True)
            port = free_port()
            command = [
                options.mlflow,
                "-m",
                "mlflow",
                "models",
                "serve",
                "-m",
                saved,
                "--env-manager",
                "local",
            ]
            body = {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
            results["mlflow"] = measure(
                [*command, "-p", str(port)], port, "/ping", "/invocations", body, options.seconds
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
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
