"""Three hosts of a network, each with an SSH server, a /tmp and a name of its own, which share one directory."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yaml
from tests.cluster import bridge
from tests.cluster.conftest import make_keys, require_sshd, sshd_settings, write_flights

from headrace.cli import run as headrace
from headrace.cluster import jobs
from headrace.cluster.config import ClusterFile
from headrace.data.storage import read_json
from headrace.runs import Workflow

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    Host = subprocess.Popen[bytes]

WAIT = "900"
"""Seconds that a test waits for a job, on a machine that may have much else to do."""

HOST = """hostname {name}
mount -t tmpfs tmpfs /mnt
mkdir /mnt/shared /mnt/upper /mnt/work
mount --bind {shared} /mnt/shared
mount -t overlay overlay -o lowerdir=/tmp,upperdir=/mnt/upper,workdir=/mnt/work /tmp
mount --bind /mnt/shared {shared}
mount -t proc proc /proc
exec {sshd} -D -f {place}/sshd_config -E {place}/log
"""


@pytest.fixture
def hosts(in_tmp: Path) -> Iterator[dict[str, Host]]:
    """The running hosts by address; ``cluster.yaml`` names them."""
    sshd, why = require_sshd(), bridge.missing()
    if why:
        pytest.skip(why)
    make_keys(in_tmp)
    with bridge.Bridge("ssh", 97) as network, ExitStack() as stack:
        started: dict[str, Host] = {}
        for name in ("one", "two", "three"):
            place, address = in_tmp / name, network.new_address()
            place.mkdir()
            (place / "sshd_config").write_text(sshd_settings(in_tmp, address, 22))
            script = HOST.format(name=name, shared=in_tmp, place=place, sshd=sshd)
            with (place / "output").open("wb") as output:
                started[address] = network.start(script, place, address, output)
            stack.callback(end, started[address])
        key = (in_tmp / "hostkey.pub").read_text()
        (in_tmp / "known_hosts").write_text("".join(f"{address} {key}" for address in started))
        document = {
            "kind": "ssh",
            "hosts": list(started),
            "user": "root",
            "key": str(in_tmp / "id"),
            "known_hosts": str(in_tmp / "known_hosts"),
            "interface": "eth0",
            "memory": "1GiB",
            "local_directory": str(in_tmp / "local"),
        }
        Path("cluster.yaml").write_text(yaml.safe_dump(document))
        yield started


def end(host: Host) -> None:
    host.kill()
    host.wait()


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("lost", [False, True], ids=["all stay", "one is lost"])
def test_flights_from_submit_to_report_on_three_hosts(
    lost: bool, hosts: dict[str, Host], capsys: pytest.CaptureFixture[str]
):
    workflow = write_flights()
    whole = Workflow.load(workflow).run(ClusterFile(workers=2, processes=False, memory=1 << 30), "whole").run
    assert headrace(["submit", workflow, "--cluster", "cluster.yaml", "--run", "run", "--json"]) == 0
    first = next(iter(hosts))
    assert json.loads(capsys.readouterr().out)["place"].endswith(f" of {first}")
    beat = beat_of_training("run")
    assert beat.host.startswith("one/")
    working = {str(urlsplit(worker).hostname) for worker in beat.memory}
    assert len(working) > 1
    assert working <= set(hosts)
    if lost:
        end(hosts[max(working - {first})])
    assert headrace(["jobs", "wait", "./run", "--timeout", WAIT]) == 0, told("run")
    assert "<svg" in Path("run/report.html").read_text()
    assert read_json("run/run.json")["model_sha256"] == whole["model_sha256"]


def beat_of_training(url: str) -> jobs.Heartbeat:
    limit = time.monotonic() + float(WAIT)
    while (beat := jobs.read_heartbeat(url)) is None or beat.stage != "train":
        assert time.monotonic() < limit, told(url)
        time.sleep(0.1)
    return beat


def told(url: str) -> str:
    return "".join(text for text, _ in jobs.read_log(url))
