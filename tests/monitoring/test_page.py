"""The page and the commands say what is in the store, whatever stands in the values, and of nothing too."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.monitoring.conftest import Served

from headrace.cli import run
from headrace.monitoring.alerts import Alert
from headrace.monitoring.measures import measure
from headrace.monitoring.options import AlertmanagerSink
from headrace.monitoring.recording import Recorder, grid_of
from headrace.monitoring.sinks import send
from headrace.monitoring.windows import merge_by, whole
from headrace.packaging.package import write_package
from headrace.packaging.registry import Registry
from headrace.packaging.signature import InputColumn, Signature
from headrace.profiling.profile import Profile, profile_table
from headrace.report.monitor import render_monitor

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.monitoring.grids import Grid

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    import pyarrow as pa
    from sklearn.linear_model import LogisticRegression

    place = tmp_path_factory.mktemp("registry")
    rng = np.random.default_rng(0)
    table = pa.table({"size": rng.normal(10, 2, 5000), "city": rng.choice(["Oslo"] * 99 + ["Rome"], 5000)})
    profile = profile_table(table)["all"]
    inputs = tuple(InputColumn(name, column.type, column.kind) for name, column in profile.columns.items())
    write_package(
        place / "package",
        pipeline=LogisticRegression().fit([[0.0], [1.0]], ["no", "yes"]),
        signature=Signature(inputs, "classification", "late", ("no", "yes")),
        profile=profile.to_dict(),
        metrics={"rows": 1, "metrics": {}, "slices": {}},
        provenance={},
        card={"name": "late"},
    )
    models = Registry(place / "models")
    for _ in range(2):
        models.publish("late", place / "package")
    (place / "profile.json").write_text(
        profile_table(table.set_column(0, "size", pa.array(rng.normal(14, 2, 5000))))["all"].to_json()
    )
    return str(place)


@pytest.fixture
def store(registry: str, tmp_path: Path) -> str:
    """An hour of two arms, of which both moved half-way."""
    from headrace.packaging.package import read_package

    models = Registry(f"{registry}/models")
    grid = grid_of(read_package(models.resolve("late@1")))
    served = Served(Recorder(str(tmp_path / "store"), "late", find=lambda _: grid))
    now = time.time() // 60 * 60
    rng = np.random.default_rng(1)
    for minute in range(0, 60, 3):
        moved = minute >= 30
        truth = rng.random(60) < 0.5
        scores = np.clip(truth * 0.5 + rng.random(60) * 0.5, 0.01, 0.99)
        city = NASTY if moved else "Oslo"
        at = now - 3600 + 60 * minute
        names = served.predict(at, 60, shift=5 * moved, city=city, scores=scores)
        served.predict(at, 60, arm="challenger", version="late@2", ids=names, scores=rng.random(60))
        served.label(at, names, ["yes" if each else "no" for each in truth])
    served.fail(now - 60, 500)
    served.take()
    return str(tmp_path / "store")


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = run(["monitor", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_commands_tell_drift_alerts_and_the_better_arm(
    store: str, registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("late", "--store", store)
    models = ("--registry", f"{registry}/models")
    page = tmp_path / "page.html"
    code, report = asked(capsys, "report", *where, *models, "--last", "2h", "--html", str(page))
    champion = next(each for each in report["windows"] if each["arm"] == "champion")
    assert (code, champion["drifted"], champion["rows"]) == (0, ["city", "size"], 1200)
    text = page.read_text()
    assert NASTY not in text
    assert "&lt;script&gt;alert(1)" in text
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{name: moved, metric: drift, above: 1, window: 2h}]\n")
    code, watched = asked(capsys, "watch", *where, *models, "--rules", str(rules), "--once")
    assert (code, {alert["column"] for alert in watched["firing"]}) == (1, {"size", "city"})
    code, watched = asked(capsys, "watch", *where, *models, "--rules", str(rules), "--once")
    assert (code, watched["changed"]) == (1, [])
    code, better = asked(capsys, "ab", *where, "--loss", "log_loss")
    assert (code, better["verdict"], better["paired"]) == (0, "champion", True)


def test_a_version_whose_inputs_moved_is_not_promoted(
    store: str, registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(f"{registry}/models", tmp_path / "models")
    Registry(tmp_path / "models").set_alias("late", "champion", 2)
    words = ["models", "promote", "late@1", "--registry", str(tmp_path / "models"), "--json"]
    assert run([*words, "--store", store]) == 1
    said = capsys.readouterr().err
    assert "its latency cannot be measured: cannot answer for a row like those of its training" in said
    for column in ("city", "size"):
        assert re.search(rf"beyond the limit of 1 since its training: .*\b{column} by [0-9.]+", said)
    assert run([*words, "--store", store, "--last", "soon"]) == 2
    assert "'soon' is no span of time" in capsys.readouterr().err
    assert run([*words, "--store", store, "--force"]) == 0
    note = json.loads(capsys.readouterr().out)["note"]
    assert set(note["drift"]["moved"]) >= {"size", "city"}
    assert note["drift"]["rows"] == 1200
    assert any("size by" in line for line in note["against"])


def test_a_profile_of_scored_rows_is_drift(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("ingest", "late@1", f"{registry}/profile.json", "--store", str(tmp_path))
    _, told = asked(capsys, *words, "--registry", f"{registry}/models")
    assert (told["arm"], told["rows"], told["drifted"]) == ("batch", 5000, ["size"])
    _, report = asked(capsys, "report", "late", "--store", str(tmp_path), "--registry", f"{registry}/models")
    assert report["windows"][0]["drifted"] == ["size"]


def test_without_labels_there_is_no_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["monitor", "ab", "late", "--store", str(tmp_path)]) == 2
    assert "there are no labels of a champion" in capsys.readouterr().err


def test_an_empty_store_has_a_page(grid: Grid) -> None:
    assert "No rows" in render_monitor([], [], profiles={}, alerts=(), width=60, title="late", now=0.0)


def test_one_minute_has_a_page(served: Served, grid: Grid) -> None:
    served.predict(time.time(), 5)
    served.take()
    windows = served.recorder.store.read()
    found = [measure(window, {grid.digest: grid}) for window in whole(windows)]
    line = [measure(window, {grid.digest: grid}) for window in merge_by(windows, 60)]
    empty = Profile(0, {})
    page = render_monitor(
        found, line, profiles={"late@1": empty}, alerts=(), width=60, title="late", now=time.time()
    )
    assert "too few rows" in page


@pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="Alertmanager is not installed")
def test_alertmanager_takes_what_is_sent(tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    words = ["prometheus-alertmanager", f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/am"]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [*words, f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        now = time.time()
        alert = Alert(
            "moved", "critical", "drift", "late@1", "champion", "size", "firing", now, now, 2.0, 1.0, now
        )
        send(AlertmanagerSink(kind="alertmanager", url=url), [alert])
        with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
            held = json.loads(answer.read())
        assert [each["labels"]["column"] for each in held] == ["size"]
    finally:
        process.terminate()
        process.wait()
