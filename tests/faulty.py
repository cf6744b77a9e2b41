"""A faulty HTTP proxy for tests: it stands before a real store and spoils a share of what goes through.

What happens to a request follows from the seed, the request, and how often it came before, never from the time:
a request that failed has another draw when it comes again.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HOP = {"connection", "keep-alive", "transfer-encoding", "proxy-connection"}
"""Headers that are about one connection and are not passed on."""


@dataclass(frozen=True)
class Faults:
    """Share of the requests that each fault befalls."""

    busy: float = 0.0
    """Answered 503 with the words of S3, not passed on."""
    throttled: float = 0.0
    """Answered 429, not passed on."""
    reset: float = 0.0
    """The connection is reset before the request is passed on."""
    lost: float = 0.0
    """Passed on and done; the connection is reset in place of the answer."""
    stalled: float = 0.0
    """Nothing comes for `stall` seconds."""
    truncated: float = 0.0
    """The answer breaks off in the middle of its body."""
    stall: float = 10.0
    """Seconds."""


@dataclass
class Proxy:
    """A proxy that runs."""

    port: int
    upstream: int
    faults: Faults
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    """How often each fault has happened, and ``passed``."""
    seen: Counter[str] = field(default_factory=Counter)
    ends_at: str = ""
    """Once a request has these words in it, that one and every later one is reset."""
    ended: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def draw(self, request: str) -> str:
        """Decide what befalls a request."""
        with self.lock:
            self.seen[request] += 1
            self.ended = self.ended or bool(self.ends_at and self.ends_at in request)
            if self.ended:
                self.done["reset"] += 1
                return "reset"
            number = random.Random(f"{self.seed} {request} {self.seen[request]}").random()
            drawn = "passed"
            for name in ("busy", "throttled", "reset", "lost", "stalled", "truncated"):
                number -= getattr(self.faults, name)
                if number < 0:
                    drawn = name
                    break
            self.done[drawn] += 1
            return drawn


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle_any(self) -> None:
        body = self._body()
        fault = self.proxy.draw(f"{self.command} {self.path} {self.headers.get('Range', '')}")
        if fault == "busy":
            return self._refuse(503, "SlowDown")
        if fault == "throttled":
            return self._refuse(429, "TooManyRequests")
        if fault == "reset":
            return self._reset()
        if fault == "stalled":
            time.sleep(self.proxy.faults.stall)
            return self._reset()
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "lost":
            return self._reset()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {*HOP, "content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if fault == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self._hang_up()
        self.wfile.write(content)
        return None

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 http.server asks for these names

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refuse(self, status: int, code: str) -> None:
        content = b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have gone."""


@contextmanager
def before(upstream: int, faults: Faults, *, seed: int = 0) -> Iterator[Proxy]:
    """Run a proxy before the HTTP server at a port of this machine."""
    proxy = Proxy(free_port(), upstream, faults, seed)
    server = _Server(("127.0.0.1", proxy.port), type("Handler", (_Handler,), {"proxy": proxy}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
