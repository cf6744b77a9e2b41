"""Clients that cost little: each sends a request over a plain socket as soon as its last one is answered."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
import urllib.request
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

PATIENCE = 30.0
"""Seconds after which an answer that has not come is a failure."""
_LENGTH = b"content-length:"
_MODEL = b'"model":"'


def request_of(path: str, body: Any) -> bytes:
    """Write a request once, to be sent many times."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


@dataclass
class Asked:
    """What all clients together have got so far."""

    ended: Callable[[Asked], bool]
    seconds: array[float] = field(default_factory=lambda: array("d"))
    failures: list[str] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)
    """Answers by the version that they name."""

    @property
    def count(self) -> int:
        """Requests that have ended."""
        return len(self.seconds) + len(self.failures)


class Connection(asyncio.Protocol):
    """Asks until all is asked; it takes a tenth of the time that asyncio's streams take."""

    def __init__(self, request: bytes, asked: Asked) -> None:
        self._request, self._asked = request, asked
        self._held = b""
        self._waits = False
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count an answer that is complete, and send the next request."""
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(_LENGTH) + len(_LENGTH)
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self._waits = False
        if head[9:12] == b"200":
            self._asked.seconds.append(time.perf_counter() - self._start)
            self._asked.models[body.partition(_MODEL)[2].partition(b'"')[0].decode()] += 1
        else:
            self._asked.failures.append(body[:200].decode())
        self._held = b""
        if self._asked.ended(self._asked):
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request that will get no answer."""
        if self._waits:
            self._asked.failures.append(f"connection lost: {exc!r}")
        self.closed.set_result(None)

    def _send(self) -> None:
        self._waits, self._start = True, time.perf_counter()
        self._transport.write(self._request)


async def ask(port: int, request: bytes, clients: int, asked: Asked) -> None:
    """Let clients ask until all is asked; who loses a connection opens another."""

    async def client() -> None:
        while not asked.ended(asked):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(request, asked), "127.0.0.1", port
            )
            await connection.closed

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if waiting:
        more, waiting = await asyncio.wait(waiting, timeout=PATIENCE)
        done |= more
    for task in waiting:
        asked.failures.append(f"no answer in {PATIENCE:g} s")
        task.cancel()
    for task in done:
        task.result()


def cpu_seconds(server: psutil.Process) -> float:
    """What a server and its processes have worked: on a busy machine it tells more than the clock."""
    return sum(sum(process.cpu_times()[:2]) for process in tree(server))


def tree(server: psutil.Process) -> list[psutil.Process]:
    """A server and all its processes."""
    return [server, *server.children(recursive=True)]


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(command: list[str], port: int, alive: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a server and wait until it answers; what it says goes to a file."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["MLFLOW_ALLOW_FILE_STORE"] = "true"  # without a tracking server it keeps its records in files
    environment["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{environment['PATH']}"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said, env=environment)
    until = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{alive}", timeout=1):
                return process
        except OSError as error:
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise SystemExit(f"{command}: did not start: {log.read_text()[-2000:]}") from error
            time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Let a server finish."""
    process.terminate()
    process.wait(60)
