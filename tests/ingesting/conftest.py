"""Ingest files in an empty directory, and what they wrote."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.ingesting.collection import Collected, ingest
from headrace.ingesting.options import FilesSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Bench:
    """A directory in which ingests run."""

    folder: Path
    lines: list[str] = field(default_factory=list)

    def spec(self, source: dict[str, Any], **more: Any) -> str:
        path = self.folder / "ingest.yaml"
        path.write_text(yaml.safe_dump({"to": str(self.folder / "out"), "source": source, **more}))
        return str(path)

    def __call__(self, source: dict[str, Any], **more: Any) -> Collected:
        self.lines.clear()
        return ingest(self.spec(source, **more), self.lines.append)

    def files(self, text: str | bytes, name: str = "in.csv", **more: Any) -> Collected:
        data = text.encode() if isinstance(text, str) else text
        (self.folder / name).write_bytes(data)
        keys = set(FilesSource.model_fields) - {"kind", "url"}
        source = {key: more.pop(key) for key in list(more) if key in keys}
        return self({"kind": "files", "url": str(self.folder / name), **source}, **more)

    @property
    def table(self) -> pa.Table:
        paths = sorted(
            path for path in (self.folder / "out").rglob("*.parquet") if "_ingest" not in path.parts
        )
        return pa.concat_tables([pq.ParquetFile(path).read() for path in paths])

    @property
    def quarantine(self) -> list[dict[str, Any]]:
        paths = sorted((self.folder / "out" / "_ingest" / "quarantine").glob("*.parquet"))
        return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@dataclass
class Server:
    """Answers GET and HEAD by a function of the path, and keeps what was asked."""

    url: str
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Serve a function (method, path with query, headers) -> (status, headers, body) on loopback."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(answer: Callable[[str, str, dict[str, str]], Answer]) -> Server:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _respond(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append((self.command, self.path, headers))
                status, more, body = answer(self.command, self.path, headers)
                length = more.pop("content-length", str(len(body)))
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                if length != str(len(body)):
                    self.close_connection = True

            do_GET = do_HEAD = _respond  # noqa: N815 names of http.server

            def log_message(self, *_: Any) -> None:
                pass

        web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server = Server(f"http://127.0.0.1:{web.server_port}")
        thread = threading.Thread(target=web.serve_forever, args=(0.05,))
        thread.start()
        running.append((web, thread))
        return server

    yield start
    for web, thread in running:
        web.shutdown()
        thread.join()
        web.server_close()
