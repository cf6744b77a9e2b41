"""A version in MLflow: in a folder, and in a real server where ``MLFLOW_PYTHON`` names a Python that has one."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from headrace.cli import run
from headrace.errors import InputError, StorageError
from headrace.packaging import mirror as mirroring
from headrace.packaging.mirror import MANIFEST_TAG, mirror
from headrace.packaging.package import MANIFEST, read_package, sha256
from headrace.packaging.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")


@pytest.fixture(params=["folder", "server"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    if request.param == "folder":
        yield f"file://{tmp_path}/mlruns"
        return
    python = os.environ.get("MLFLOW_PYTHON")
    if python is None:
        pytest.skip("MLFLOW_PYTHON names no Python with mlflow")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [python, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        f"{tmp_path}/files",
    ]
    server = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def test_a_version_is_shown_with_metrics_parameters_and_the_very_files(uri, package, tmp_path, monkeypatch):
    held = read_package(package)
    done = mirror(held, "late", "late@3", uri)
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    shown = client.get_run(done.run_id)
    assert shown.info.status == "FINISHED"
    assert shown.info.run_name == "late@3"
    assert shown.data.metrics == {"roc_auc": 0.731, "roc_auc.low": 0.7, "roc_auc.high": 0.76, "log_loss": 0.5}
    assert shown.data.params["estimator"] == "sklearn.linear_model._stochastic_gradient.SGDClassifier"
    assert shown.data.params["loss"] == "log_loss"
    assert shown.data.tags[MANIFEST_TAG] == sha256(held.contents[MANIFEST])
    assert shown.data.tags["versions.scikit-learn"] == "1"
    (tmp_path / "taken").mkdir()
    folder = client.download_artifacts(done.run_id, "model", str(tmp_path / "taken"))
    assert read_package(folder).contents == held.contents
    registered = client.get_model_version("late", done.version)
    assert registered.run_id == done.run_id
    assert registered.tags["headrace.model_sha256"] == held.manifest.model_sha256

    with pytest.raises(InputError, match=f"shows late@3 already, as run {done.run_id}"):
        mirror(held, "late", "late@3", uri)

    def broken(package: object) -> None:
        raise KeyboardInterrupt

    (package / "manifest.json").write_text((package / "manifest.json").read_text() + " ")
    other = read_package(package)
    with monkeypatch.context() as patch:
        patch.setattr(mirroring, "_parameters", broken)
        with pytest.raises(KeyboardInterrupt):
            mirror(other, "late", "late@4", uri)
    assert mirror(other, "late", "late@4", uri).version == str(int(done.version) + 1)
    states = [each.info.status for each in client.search_runs([shown.info.experiment_id])]
    assert sorted(states) == ["FAILED", "FINISHED", "FINISHED"]


def test_the_command_names_run_and_version(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    Registry(tmp_path / "registry").publish("late", package)
    words = ["models", "mirror", "late", "--to", f"file://{tmp_path}/mlruns"]
    assert run([*words, "--registry", str(tmp_path / "registry")]) == 0
    assert capsys.readouterr().out.startswith("late@1 is run ")


def test_what_mlflow_refuses_is_one_line(package):
    with pytest.raises(StorageError, match="nowhere://x: MLflow refuses: ") as caught:
        mirror(read_package(package), "late", "late@3", "nowhere://x")
    assert "\n" not in str(caught.value)
