from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from headrace.cli import run as headrace

LAPTOP = "kind: laptop\nworkers: 1\nmemory: 512MiB\nprocesses: true\n"


def test_a_cluster_is_up_joined_asked_and_ended(in_tmp: Path, capsys: pytest.CaptureFixture[str]):
    Path("c.yaml").write_text(LAPTOP)
    assert headrace(["cluster", "status", "c.yaml"]) == 2
    assert "c.yaml: is not up" in capsys.readouterr().err
    assert headrace(["cluster", "up", "c.yaml"]) == 0
    try:
        assert "headrace run WORKFLOW --cluster c.up.yaml" in capsys.readouterr().out
        holder = int(Path("c.up.yaml").read_text().splitlines()[0].rsplit(maxsplit=1)[-1])
        workers = psutil.Process(holder).children(recursive=True)
        assert headrace(["cluster", "up", "c.yaml"]) == 2
        assert "is up already" in capsys.readouterr().err
        assert headrace(["cluster", "status", "c.yaml", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert [worker["memory"] for worker in document["workers"]] == [512 << 20]
    finally:
        assert headrace(["cluster", "down", "c.yaml"]) == 0
    assert not Path("c.up.yaml").exists()
    _, alive = psutil.wait_procs([*workers], timeout=15)
    assert not alive
    assert not psutil.pid_exists(holder) or psutil.Process(holder).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_cluster_that_stays_keeps_its_certificates_while_it_does(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
):
    document: dict[str, Any] = {
        "kind": "cloud",
        "class": "distributed.LocalCluster",
        "memory": "512MiB",
        "options": {
            "protocol": "tls://", "processes": False, "n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1",
            "dashboard_address": "127.0.0.1:0",
        },
    }  # fmt: skip
    Path("c.yaml").write_text(yaml.safe_dump(document))
    assert headrace(["cluster", "up", "c.yaml"]) == 0
    try:
        assert Path("c.up.certificates/key.pem").stat().st_mode & 0o077 == 0
        assert headrace(["cluster", "status", "c.up.yaml"]) == 0
        assert "encrypted" in capsys.readouterr().out
    finally:
        assert headrace(["cluster", "down", "c.up.yaml"]) == 0
    assert not Path("c.up.certificates").exists()


def test_check_starts_compares_and_ends(in_tmp: Path, capsys: pytest.CaptureFixture[str]):
    Path("c.yaml").write_text(LAPTOP.replace("true", "false"))
    assert headrace(["cluster", "check", "c.yaml"]) == 0
    assert "1 workers in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAPTOP.replace("true", "false"), "threads of a process cannot be joined"),
        ("kind: address\naddress: tcp://127.0.0.1:1\nmemory: 1GiB\n", "runs already"),
        ("kind: cloud\nclass: no.Where\nmemory: 1GiB\n", "there is no no.Where"),
    ],
)
def test_what_cannot_be_up_is_one_line(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
):
    Path("c.yaml").write_text(text)
    assert headrace(["cluster", "up", "c.yaml"]) != 0
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


def test_only_what_up_has_started_is_ended(in_tmp: Path, capsys: pytest.CaptureFixture[str]):
    Path("c.yaml").write_text("kind: address\naddress: tcp://127.0.0.1:1\nmemory: 1GiB\n")
    assert headrace(["cluster", "down", "c.yaml"]) == 2
    assert "only what headrace cluster up has started is ended" in capsys.readouterr().err


def test_certificates_and_schema_come_from_the_command_line(in_tmp: Path, capsys: pytest.CaptureFixture[str]):
    assert headrace(["cluster", "certs", "certs", "--days", "2"]) == 0
    assert "--tls-ca-file certs/ca.pem" in capsys.readouterr().out
    assert headrace(["cluster", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "headrace cluster"
