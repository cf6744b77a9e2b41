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


async def client(port: int, request: bytes, until: float, took: list[float], failures: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        start = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.split(b":")[1]))
        took.append(time.perf_counter() - start)
        if b" 200 " not in head[:20]:
            failures.append(body[:200].decode())
    writer.close()
    await writer.wait_closed()


async def load(port: int, path: str, body: Any, clients: int, seconds: float) -> dict[str, float]:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    request = head.encode() + content
    for warm in (True, False):
        took: list[float] = []
        failures: list[str] = []
        start = time.perf_counter()
        until = start + (seconds / 4 if warm else seconds)
        await asyncio.gather(*[client(port, request, until, took, failures) for _ in range(clients)])
        elapsed = time.perf_counter() - start
    if failures:
        raise SystemExit(f"{path}: {failures[0]}")
    p50, p99 = np.quantile(np.array(took) * 1000, [0.5, 0.99])
    return {
        "p50": round(float(p50), 3),
        "p99": round(float(p99), 3),
        "per_second": round(len(took) / elapsed, 1),
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def measure(
    command: list[str], port: int, alive: str, path: str, body: Any, seconds: float
) -> dict[str, Any]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{environment['PATH']}"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{alive}", timeout=1):
                    break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{command}: did not start") from error
                time.sleep(0.1)
        return {str(clients): asyncio.run(load(port, path, body, clients, seconds)) for clients in CLIENTS}
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
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
