"""Requests while the alias moves from one version to another: how many fail, and whether the memory of the server grows.

    python benchmarks/reload.py PACKAGE OTHER [--requests 100000] [--moves 40] [--workers 2] [--clients 8]

Two versions are published into a registry of its own, and `headrace serve` follows the alias `champion`. Plain sockets
ask for single rows, one million of them with ``--requests 1000000``; resident memory is that of the server and all
its processes, and what is counted as growth begins after a tenth of the requests and three moves, when each process
has loaded both versions. The result goes to docs/benchmarks/reload.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry
from headrace.serving.examples import example_row
from serving import answer_of, free_port, request_of, started

RESULT = Path(__file__).parents[1] / "docs" / "benchmarks" / "reload.json"
SAMPLES = 200
MIB = 1 << 20


@dataclass
class Asked:
    """What the clients have got so far."""

    wanted: int
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    models: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.seconds) + len(self.failures)


async def client(port: int, request: bytes, asked: Asked) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while asked.count < asked.wanted:
        start = time.perf_counter()
        try:
            writer.write(request)
            status, body = await asyncio.wait_for(answer_of(reader), 30)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            asked.failures.append(repr(error))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        if status == 200:
            asked.seconds.append(time.perf_counter() - start)
            model = json.loads(body)["model"]
            asked.models[model] = asked.models.get(model, 0) + 1
        else:
            asked.failures.append(body[:200].decode())
    writer.close()


async def move(registry: Registry, asked: Asked, moves: int) -> None:
    for number in range(1, moves + 1):
        while asked.count < number * asked.wanted // (moves + 1):  # noqa: ASYNC110 - clients only count
            await asyncio.sleep(0.05)
        await asyncio.to_thread(registry.set_alias, "model", "champion", 2 if number % 2 else 1)


async def watch(server: psutil.Process, asked: Asked, memory: list[tuple[int, float]]) -> None:
    while asked.count < asked.wanted:
        if not memory or asked.count - memory[-1][0] >= asked.wanted / SAMPLES:
            tree = [server, *server.children(recursive=True)]
            memory.append((asked.count, sum(process.memory_info().rss for process in tree) / MIB))
        await asyncio.sleep(0.05)


async def load(options: argparse.Namespace, registry: Registry, port: int, server: int) -> dict[str, Any]:
    row = example_row(read_package(options.package).manifest.signature)
    request = request_of("/v1/predict", {"rows": [row]})
    asked, memory = Asked(options.requests), []
    begun = time.perf_counter()
    await asyncio.gather(
        *[client(port, request, asked) for _ in range(options.clients)],
        move(registry, asked, options.moves),
        watch(psutil.Process(server), asked, memory),
    )
    took = time.perf_counter() - begun
    warm = max(options.requests / 10, 4 * options.requests / (options.moves + 1))
    steady = np.array([held for at, held in memory if at >= warm])
    fifth = max(1, len(steady) // 5)
    first, last = float(np.median(steady[:fifth])), float(np.median(steady[-fifth:]))
    p50, p99 = np.quantile(np.array(asked.seconds) * 1000, [0.5, 0.99])
    return {
        "requests": asked.count,
        "failures": len(asked.failures),
        "first_failures": asked.failures[:5],
        "answered_by": asked.models,
        "moves": options.moves,
        "workers": options.workers,
        "clients": options.clients,
        "seconds": round(took, 1),
        "requests_per_second": round(asked.count / took, 1),
        "milliseconds": {"p50": round(float(p50), 3), "p99": round(float(p99), 3)},
        "memory_mib": {
            "after_warm_up": round(first, 1),
            "at_the_end": round(last, 1),
            "growth": round(last / first - 1, 4),
            "over_requests": [[at, round(held, 1)] for at, held in memory],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package")
    parser.add_argument("other", help="another model of the same target")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--monitor", action="store_true", help="record too: what 200,000 rows were told is remembered"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        registry = Registry(f"{place}/registry")
        for package in (options.package, options.other):
            registry.publish("model", package)
        port = free_port()
        command = [
            *(sys.executable, "-m", "headrace", "serve", "model@champion", "--registry", registry.url),
            *("--port", str(port), "--workers", str(options.workers), "--reload", "0.5", "--log", "errors"),
            *(("--monitor", f"{place}/monitor") if options.monitor else ()),
        ]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        with Path(place, "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
            try:
                started(process, port, "/readyz")
                result = asyncio.run(load(options, registry, port, process.pid))
            finally:
                process.terminate()
                process.wait(60)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    shown = {**result, "memory_mib": {**result["memory_mib"], "over_requests": "..."}}
    print(json.dumps(shown, indent=1))
    if result["failures"] or len(result["answered_by"]) < 2:
        raise SystemExit("requests failed, or the alias did not move")


if __name__ == "__main__":
    main()
