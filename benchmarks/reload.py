"""Requests while the alias moves from one version to another: how many fail, and whether the memory of the server grows.

    python benchmarks/reload.py PACKAGE OTHER [--requests 100000] [--moves 40] [--workers 2] [--clients 8] [--monitor]

Two versions are published into a registry of its own, and `headrace serve` follows the alias `champion`. Plain sockets
ask for single rows, one million of them with ``--requests 1000000``; resident memory is that of the server and all
its processes, and what is counted as growth begins after a tenth of the requests and three moves, when each process
has loaded both versions. With ``--monitor`` it begins when each process remembers as many rows as it ever does. The
result goes to docs/benchmarks/reload.json, beside those of other numbers of requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop

from clients import Asked, ask, free_port, request_of, start, stop, tree
from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry
from headrace.serving.examples import example_row
from run import ROOT, machine

RESULT = ROOT / "docs" / "benchmarks" / "reload.json"
SAMPLES = 100
REMEMBERED = 200_000
"""Rows whose answers a process keeps for labels that come later, unless its recorder is told otherwise."""
MIB = 1 << 20


async def move(registry: Registry, asked: Asked, requests: int, moves: int) -> None:
    for number in range(1, moves + 1):
        while asked.count < number * requests // (moves + 1):  # noqa: ASYNC110 - clients only count
            await asyncio.sleep(0.05)
        await asyncio.to_thread(registry.set_alias, "model", "champion", 2 if number % 2 else 1)


async def watch(server: psutil.Process, asked: Asked, requests: int) -> list[tuple[int, float]]:
    memory: list[tuple[int, float]] = []
    while asked.count < requests:
        if not memory or asked.count - memory[-1][0] >= requests / SAMPLES:
            memory.append((asked.count, sum(each.memory_info().rss for each in tree(server)) / MIB))
        await asyncio.sleep(0.05)
    return memory


async def load(options: argparse.Namespace, registry: Registry, port: int, server: int) -> dict[str, Any]:
    row = example_row(read_package(options.package).manifest.signature)
    request = request_of("/v1/predict", {"rows": [row]})
    asked = Asked(lambda asked: asked.count >= options.requests)
    begun = time.perf_counter()
    _, _, memory = await asyncio.gather(
        ask(port, request, options.clients, asked),
        move(registry, asked, options.requests, options.moves),
        watch(psutil.Process(server), asked, options.requests),
    )
    took = time.perf_counter() - begun
    warm = max(options.requests / 10, 4 * options.requests / (options.moves + 1))
    if options.monitor:
        warm = max(warm, 1.2 * REMEMBERED * options.workers)
    steady = np.array([held for at, held in memory if at >= warm] or [memory[-1][1]])
    fifth = max(1, len(steady) // 5)
    first, last = float(np.median(steady[:fifth])), float(np.median(steady[-fifth:]))
    p50, p99 = np.quantile(np.array(asked.seconds) * 1000, [0.5, 0.99])
    return {
        "requests": asked.count,
        "failures": len(asked.failures),
        "first_failures": asked.failures[:5],
        "answered_by": dict(asked.models),
        "moves": options.moves,
        "workers": options.workers,
        "clients": options.clients,
        "monitor": options.monitor,
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


def write(result: dict[str, Any]) -> None:
    held = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    name = f"{result['requests'] // 1000 * 1000:,} requests{', monitored' if result['monitor'] else ''}"
    runs = {**held.get("runs", {}), name: result}
    RESULT.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")


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
        process = start(command, port, "/readyz", Path(place, "log"))
        try:
            result = uvloop.run(load(options, registry, port, process.pid))
        finally:
            stop(process)
    write(result)
    shown = {**result, "memory_mib": {**result["memory_mib"], "over_requests": "..."}}
    print(json.dumps(shown, indent=1))
    if result["failures"] or len(result["answered_by"]) < 2:
        raise SystemExit("requests failed, or the alias did not move")


if __name__ == "__main__":
    main()
