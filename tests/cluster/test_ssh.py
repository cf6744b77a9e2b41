from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError
from tests.cluster.conftest import scheduler_of

from headrace.cluster.ssh import SshCluster, run_there
from headrace.errors import RunError


def certificates_left() -> set[Path]:
    return set(Path("/tmp").glob("headrace-" + "[0-9a-f]" * 16))


def command_lines(pid: int) -> list[str]:
    process = psutil.Process(pid)
    return [" ".join(each.cmdline()) for each in (process, *process.parents())]


@pytest.mark.slow
def test_workers_on_hosts_are_encrypted_and_gone_at_the_end(ssh_server: dict[str, Any]):
    before = certificates_left()

    class Elsewhere(SshCluster):
        on_this_machine = property(lambda _self: False)  # as hosts of a network are

    cluster = Elsewhere.model_validate({**ssh_server, "workers": 2})
    with cluster.connect() as client:
        assert scheduler_of(client).startswith("tls://")
        assert len(client.nthreads()) == 2
        pids = client.run(os.getpid)
        assert client.submit(os.environ.get, "OPENBLAS_NUM_THREADS").result() == "1"
        (folder,) = certificates_left() - before
        assert folder.stat().st_mode & 0o077 == 0
        key = (folder / "key.pem").read_text().splitlines()[1]
        lines = [line for pid in pids.values() for line in command_lines(pid)]
        assert not any(key in line for line in lines)
        workers = [psutil.Process(pid) for pid in pids.values()]
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive
    assert certificates_left() == before


def test_on_loopback_alone_nothing_is_encrypted(ssh_server: dict[str, Any]):
    with SshCluster.model_validate(ssh_server).connect() as client:
        assert scheduler_of(client).startswith("tcp://127.0.0.1:")
        assert len(client.nthreads()) == 1


def test_a_host_whose_key_is_not_known_is_refused(ssh_server: dict[str, Any], tmp_path: Path):
    (tmp_path / "empty").write_text("")
    cluster = SshCluster.model_validate({**ssh_server, "known_hosts": str(tmp_path / "empty")})
    with pytest.raises(RunError, match="Host key is not trusted") as caught, cluster.connect():
        pass
    assert "\n" not in str(caught.value)


def test_a_command_that_fails_there_is_one_line(ssh_server: dict[str, Any]):
    cluster = SshCluster.model_validate(ssh_server)
    assert run_there(cluster, "127.0.0.1", [("cat", "one"), ("echo two", "")]) == ["one", "two\n"]
    with pytest.raises(RunError, match="No such file"):
        run_there(cluster, "127.0.0.1", [("ls /nowhere", "")])


def test_workers_are_shared_evenly_by_hosts():
    keys = {"kind": "ssh", "hosts": ["a", "b"], "memory": "1GiB"}
    assert SshCluster.model_validate(keys).worker_count == 2
    assert SshCluster.model_validate({**keys, "workers": 6}).worker_count == 6
    with pytest.raises(ValidationError, match="give a multiple"):
        SshCluster.model_validate({**keys, "workers": 3})
    assert SshCluster.model_validate(keys).encrypted
    assert not SshCluster.model_validate({**keys, "hosts": ["localhost", "127.0.0.1"]}).encrypted
