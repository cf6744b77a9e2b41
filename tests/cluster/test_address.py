from __future__ import annotations

import logging
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import distributed
import pytest
from pydantic import ValidationError
from tests.cluster.conftest import dask_cluster, free_port, scheduler_of

from headrace.cluster import joining
from headrace.cluster.address import AddressCluster
from headrace.cluster.certificates import Certificates, write_certificates
from headrace.cluster.config import ClusterFile
from headrace.engine.terminations import paused
from headrace.errors import InputError, RunError
from headrace.runs import Workflow

if TYPE_CHECKING:
    from distributed import Client


def at(address: str, **keys: object) -> AddressCluster:
    return AddressCluster.model_validate(
        {"kind": "address", "address": address, "memory": "512MiB", "wait": "60s", **keys}
    )


def flags(directory: Path) -> tuple[str, ...]:
    return (
        "--tls-ca-file", f"{directory}/ca.pem", "--tls-cert", f"{directory}/cert.pem", "--tls-key", f"{directory}/key.pem",
    )  # fmt: skip


def variable(name: str) -> str | None:
    return os.environ.get(name)


def chunks_of(client: Client) -> int:
    from headrace.cluster.workers import parse_bytes

    return int(client.submit(parse_bytes, "1MiB", pure=False).result())


def test_a_scheduler_that_runs_is_joined_pinned_and_left_running(running_scheduler: str):
    cluster = at(running_scheduler, environment={"HEADRACE_TEST": "here"})
    for _ in range(2):
        with cluster.connect() as client:
            assert scheduler_of(client) == running_scheduler
            assert client.submit(variable, "HEADRACE_TEST", pure=False).result() == "here"
            assert client.submit(variable, "OPENBLAS_NUM_THREADS", pure=False).result() == "1"
            loaded = client.run(lambda: "headrace.training.streaming" in sys.modules)
            assert all(loaded.values())
            assert chunks_of(client) == 1 << 20


@pytest.mark.slow
def test_a_run_makes_the_same_model_there_as_here(running_scheduler: str, small_workflow: str):
    workflow = Workflow.load(small_workflow)
    here = ClusterFile(workers=1, processes=False, memory=512 << 20)
    hashes = {
        workflow.run(cluster, directory).run["model_sha256"]
        for directory, cluster in (("here", here), ("there", at(running_scheduler)))
    }
    assert len(hashes) == 1


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(joining, "CONNECT_SECONDS", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(RunError, match="the scheduler cannot be reached") as caught, at(address).connect():
        pass
    assert "\n" not in str(caught.value)
    assert address in str(caught.value)


def test_workers_that_do_not_come_are_counted(running_scheduler: str):
    cluster = at(running_scheduler, workers=3, wait="1s")
    with pytest.raises(RunError, match="1 of 3 workers came within 1 s"), cluster.connect():
        pass


def test_workers_that_are_paused_for_their_memory_are_told():
    with dask_cluster(environment={"DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "0.01"}) as address:
        with distributed.Client(address) as client:
            while not paused(client):
                time.sleep(0.1)
        cluster = at(address, workers=1, wait="1s")
        with pytest.raises(RunError, match=r"1 of 1 workers came.* 1 of them are paused"), cluster.connect():
            pass


def test_another_version_on_a_worker_is_one_line_before_anything_runs(tmp_path: Path):
    old = tmp_path / "headrace-0.0.1.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: headrace\nVersion: 0.0.1\n")
    with (
        dask_cluster(environment={"PYTHONPATH": str(tmp_path)}) as address,
        pytest.raises(RunError, match=r"headrace is \S+ here and 0\.0\.1 on tcp://127") as caught,
        at(address).connect(),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_headrace_is_sent_to_scheduler_and_workers_that_lack_it(tmp_path: Path):
    # -S leaves out the links to packages under development; all others are put back, without their metadata's own.
    bare = tmp_path / "bare"
    bare.mkdir()
    for entry in Path(distributed.__file__).parents[1].iterdir():
        if "headrace" not in entry.name:
            (bare / entry.name).symlink_to(entry)
    with (
        dask_cluster(environment={"PYTHONPATH": str(bare)}, python=(sys.executable, "-S")) as address,
        at(address).connect() as client,
    ):
        (path,) = client.run(origin).values()
        assert path.endswith(".zip/headrace/__init__.py")
        assert zipfile.is_zipfile(path.removesuffix("/headrace/__init__.py"))
        assert chunks_of(client) == 1 << 20


def origin() -> str:
    import headrace

    return str(headrace.__file__)


origin.__module__ = "__main__"  # sent by value: a worker does not have this file


def test_certificates_join_an_encrypted_scheduler_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        write_certificates(str(directory))
    with dask_cluster(*flags(ours)) as address:
        with at(address, tls={"directory": str(ours)}).connect() as client:
            assert scheduler_of(client).startswith("tls://")
            assert chunks_of(client) == 1 << 20
        monkeypatch.setattr(joining, "CONNECT_SECONDS", 2.0)
        with (
            pytest.raises(RunError, match="do not trust each other's certificates") as caught,
            at(address, tls={"directory": str(theirs)}).connect(),
        ):
            pass
        assert "\n" not in str(caught.value)


def test_an_expired_certificate_is_told_before_connecting(tmp_path: Path):
    write_certificates(str(tmp_path / "old"), days=-1)
    cluster = at("tls://127.0.0.1:1", tls={"directory": str(tmp_path / "old")})
    with pytest.raises(InputError, match="the certificate expired on") as caught, cluster.connect():
        pass
    assert "headrace cluster certs" in str(caught.value)


def test_a_key_is_for_its_owner_alone_and_never_replaced(tmp_path: Path):
    paths = write_certificates(str(tmp_path / "certs"))
    assert {Path(path).name for path in paths} == {"ca.pem", "cert.pem", "key.pem"}
    assert all(Path(path).stat().st_mode & 0o077 == 0 for path in paths)
    with pytest.raises(InputError, match="is there already"):
        write_certificates(str(tmp_path / "certs"))
    assert Certificates(directory=str(tmp_path / "certs")).security().require_encryption


def test_a_missing_certificate_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"ca\.pem: no such file"):
        Certificates(directory=str(tmp_path)).security()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"address": "tcp://10.0.0.1:8786"}, "not encrypted"),
        ({"address": "tls://10.0.0.1:8786"}, "needs certificates"),
        ({"address": "tcp://10.0.0.1:8786", "tls": {"directory": "x"}}, "write tls://"),
        ({"address": "10.0.0.1:8786"}, "pattern"),
    ],
)
def test_off_loopback_encryption_is_the_default(keys: dict[str, object], expected: str):
    with pytest.raises(ValidationError, match=expected):
        at(**keys)  # type: ignore[arg-type]  # wrong on purpose


def test_going_without_encryption_is_said_loudly(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(joining, "CONNECT_SECONDS", 0.2)
    cluster = at("tcp://192.0.2.1:8786", tls="off")
    with caplog.at_level(logging.WARNING, "headrace"), pytest.raises(RunError), cluster.connect():
        pass
    assert "WARNING: nothing between this process and the workers is encrypted" in caplog.text
