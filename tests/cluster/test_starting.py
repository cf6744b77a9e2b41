"""Where coordinators are started; over SSH and in Slurm they run in test_jobs.py and test_jobqueue.py."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from headrace.cli import run as headrace
from headrace.cluster import jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

KUBERNETES = "kind: kubernetes\nimage: headrace:1\nmemory: 512MiB\ntls: off\nnamespace: ml\n"


@contextmanager
def api_server(status: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Take what is created as a Kubernetes API server does; yields its URL and the objects."""
    created: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, code: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(200, {"major": "1", "minor": "35", "gitVersion": "v1.35.0"})

        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if status == 201:
                created.append({"path": self.path.partition("?")[0], **document})
            refusal = {"kind": "Status", "message": "jobs.batch is forbidden", "code": status}
            self.answer(status, document if status == 201 else refusal)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", created
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configure(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"name": "test"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{**named, "cluster": {"server": url}}],
        "users": [{**named, "user": {"token": "t"}}],
        "contexts": [{**named, "context": {"cluster": "test", "user": "test"}}],
    }
    Path("kubeconfig").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(Path("kubeconfig").resolve()))


def test_a_job_of_kubernetes_is_created_with_the_command_that_leads(
    small_workflow: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Path("cluster.yaml").write_text(KUBERNETES)
    with api_server(201) as (url, created):
        configure(url, monkeypatch)
        assert (
            headrace(["submit", small_workflow, "--cluster", "cluster.yaml", "--run", "memory://runs/k"]) == 0
        )
    told = capsys.readouterr()
    (document,) = created
    assert document["path"] == "/apis/batch/v1/namespaces/ml/jobs"
    (container,) = document["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["python", "-m", "headrace", "jobs", "lead", "memory://runs/k"]
    # another each time: a job that is resumed is another Job
    assert document["metadata"]["name"].rpartition("-")[0] == told.out.strip()
    assert jobs.read_job("memory://runs/k").place["what"].endswith("in namespace ml")


def test_a_job_that_is_refused_leaves_none(
    small_workflow: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Path("cluster.yaml").write_text(KUBERNETES)
    with api_server(403) as (url, _):
        configure(url, monkeypatch)
        assert (
            headrace(["submit", small_workflow, "--cluster", "cluster.yaml", "--run", "memory://runs/no"])
            == 1
        )
    line = capsys.readouterr().err
    assert "the job cannot be created" in line
    assert "forbidden" in line
    assert line.count("\n") == 1
    assert jobs.list_jobs("memory://runs/no") == []


def test_a_pod_cannot_see_a_directory_of_this_machine(
    small_workflow: str, capsys: pytest.CaptureFixture[str]
):
    Path("cluster.yaml").write_text(KUBERNETES)
    assert headrace(["submit", small_workflow, "--cluster", "cluster.yaml"]) == 2
    assert "--run s3://BUCKET/runs/NAME" in capsys.readouterr().err


def test_without_sbatch_a_job_of_slurm_is_one_line(
    small_workflow: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", "")
    Path("cluster.yaml").write_text("kind: slurm\nmemory: 512MiB\n")
    assert headrace(["submit", small_workflow, "--cluster", "cluster.yaml"]) == 1
    line = capsys.readouterr().err
    assert "there is no sbatch here" in line
    assert line.count("\n") == 1
    assert jobs.list_jobs("runs") == []
