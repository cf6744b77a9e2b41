from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from tests.cluster.conftest import free_port, scheduler_of

from headrace.cluster.config import load_cluster
from headrace.cluster.gateway import GatewayWorkers
from headrace.errors import InputError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {"kind": "gateway", "address": "https://gateway.example.org", "memory": "512MiB", "user": "me"}
SERVER = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.address = "127.0.0.1:{server}"
c.Proxy.address = "127.0.0.1:{proxy}"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = "open sesame"
c.ClusterConfig.worker_cores = 1
c.ClusterConfig.worker_memory = "512 M"
# the commands dask-scheduler and dask-worker, which it calls by default, are gone from distributed
c.ClusterConfig.scheduler_cmd = ["dask", "scheduler"]
c.ClusterConfig.worker_cmd = ["dask", "worker"]
c.UnsafeLocalBackend.clusters_directory = "{place}"
c.UnsafeLocalBackend.inherited_environment = ["PATH"]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real gateway that starts its clusters as processes of this machine."""
    for package, extra in (
        ("dask_gateway", "headrace[gateway]"),
        ("dask_gateway_server", "dask-gateway-server"),
    ):
        if find_spec(package) is None:
            pytest.skip(f"needs {extra}")
    from tests.cluster.slurm import wait_for

    place = tmp_path_factory.mktemp("gateway")
    proxy = free_port()
    (place / "config.py").write_text(SERVER.format(server=free_port(), proxy=proxy, place=place / "clusters"))
    log, beside = place / "log", Path(sys.executable).parent
    with log.open("wb") as output:
        started = subprocess.Popen(
            [str(beside / "dask-gateway-server"), "-f", str(place / "config.py")],
            env={**os.environ, "PATH": f"{beside}:{os.environ['PATH']}"},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: "server started" in log.read_text(), 120)
        yield f"http://127.0.0.1:{proxy}"
    finally:
        started.terminate()
        started.wait(60)


@pytest.mark.slow
def test_workers_of_a_gateway_are_encrypted_and_scale(gateway: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DASK_GATEWAY_PASSWORD", "open sesame")
    keys = {**KEYS, "address": gateway, "workers": {"min": 1, "max": 2}, "wait": "3min"}
    cluster = GatewayWorkers.model_validate(keys)
    with cluster.connect() as client:
        assert scheduler_of(client).startswith("tls://")
        assert client.submit(divmod, 7, 2).result() == (3, 1)
        assert client.submit(os.environ.get, "OPENBLAS_NUM_THREADS").result() == "1"


@pytest.mark.slow
def test_a_wrong_password_is_one_line(gateway: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DASK_GATEWAY_PASSWORD", "barley")
    cluster = GatewayWorkers.model_validate({**KEYS, "address": gateway})
    with pytest.raises(RunError, match="Unauthorized") as caught, cluster.connect():
        pass
    assert "DASK_GATEWAY_PASSWORD" in str(caught.value)
    assert "barley" not in str(caught.value)


@pytest.mark.slow
def test_an_option_that_the_gateway_has_not_is_one_line(gateway: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DASK_GATEWAY_PASSWORD", "open sesame")
    cluster = GatewayWorkers.model_validate({**KEYS, "address": gateway, "options": {"cores": 3}})
    with pytest.raises(RunError, match="cores"), cluster.connect():
        pass


def test_a_missing_password_is_said_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dask_gateway", reason="needs headrace[gateway]")
    monkeypatch.delenv("DASK_GATEWAY_PASSWORD", raising=False)
    with pytest.raises(InputError, match="export DASK_GATEWAY_PASSWORD"):
        GatewayWorkers.model_validate(KEYS).identity()


def test_a_password_is_not_sent_unencrypted():
    with pytest.raises(ValidationError, match="https://"):
        GatewayWorkers.model_validate({**KEYS, "address": "http://gateway.example.org"})
    with pytest.raises(ValidationError, match="leave tls out"):
        GatewayWorkers.model_validate({**KEYS, "tls": {"directory": "certificates"}})


def test_the_file_for_users_is_read():
    cluster: Any = load_cluster("cluster/gateway.yaml")
    assert (cluster.fewest_workers, cluster.worker_count) == (2, 16)
    assert cluster.encrypted
