"""Ended at any moment and resumed, a run ends with the identical model, every row counted once, published once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace import rundir
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.data.storage import join, list_names, read_json, remove_tree, write_bytes
from headrace.engine import ledger
from headrace.engine.events import ChunkDone, EpochScored, Event, PassEnded, StageStarted
from headrace.errors import InputError
from headrace.packaging.registry import Registry
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS, FILES = 4_800, 8
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
ONE = ClusterFile(workers=1, memory=1 << 30)
TWO = ClusterFile(workers=2, memory=1 << 30)

# A file is a chunk, and every chunk is committed, so that any moment has a record just before it.
PROGRAM = """
import sys
from headrace.data import chunks
from headrace.engine import ledger
chunks.LARGEST = 24_000
ledger.COMMIT_SECONDS = float(sys.argv.pop(1))
from headrace.cli import main
main()
"""


class Stopped(BaseException):
    """Ends a run as a signal would: nothing of headrace catches it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of eight chunks."""
    place = tmp_path_factory.mktemp("resume")
    rng = np.random.default_rng(0)
    (place / "data").mkdir()
    for number in range(FILES):
        x = rng.normal(size=(ROWS // FILES, 2))
        color = rng.choice(["red", "green", "blue"], ROWS // FILES)
        y = (x[:, 0] + x[:, 1] + (color == "red") + rng.normal(size=ROWS // FILES) > 0).astype(int)
        table = pa.table({"x": x[:, 0], "z": x[:, 1], "color": color, "y": y})
        pq.write_table(table, place / "data" / f"part-{number:02}.parquet")
    (place / "w.yaml").write_text(yaml.safe_dump(document(place)))
    (place / "two.yaml").write_text("workers: 2\nmemory: 512MiB\n")
    return place


def document(place: Path, **changes: Any) -> dict[str, Any]:
    return {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": str(place / "data")},
        "models": [
            {"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"},
            {"name": "bayes", "estimator": "sklearn.naive_bayes.GaussianNB"},
            {"name": "net", "estimator": "sklearn.neural_network.MLPClassifier"},
        ],
        "train": {"epochs": 2},
        "evaluate": {"bootstrap": 5, "slices": ["color"]},
        "publish": {"registry": "registry"},
        **changes,
    }


def workflow(place: Path) -> Workflow:
    return Workflow.parse(yaml.safe_dump(document(place)))


@pytest.fixture(autouse=True, scope="module")
def commit_at_every_chunk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "LARGEST", 24_000)
        patch.setattr(ledger, "COMMIT_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def whole(place: Path, commit_at_every_chunk: None) -> dict[str, Any]:
    """What an uninterrupted run says."""
    before = Path.cwd()
    os.chdir(place)
    try:
        run = workflow(place).run(THREADS, "whole").run
    finally:
        os.chdir(before)
    assert run["chunks"] == FILES
    return run


def require_same(run: dict[str, Any], whole: dict[str, Any], registry: str = "registry") -> None:
    assert run["model_sha256"] == whole["model_sha256"]
    assert run["best"]["metrics"] == whole["best"]["metrics"]
    assert run["data_passes"] == whole["data_passes"]
    assert [each["rows"] for each in run["passes"]] == [ROWS] * len(whole["passes"])
    # Blocks that are still in a worker's cache are not read again, so bytes may be fewer and never more.
    for once, never in zip(run["passes"], whole["passes"], strict=True):
        assert once["bytes"] <= never["bytes"]
    assert [each["chunks"] for each in run["passes"]] == [FILES] * len(whole["passes"])
    assert Registry(registry).versions("toy") == [1]
    assert Registry(registry).aliases("toy") == {"champion": 1}
    assert run["model"] == "toy@1"


def stop_at(wanted: Callable[[Event], bool], *, number: int = 1) -> Callable[[Event], None]:
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        seen += wanted(event)
        if seen == number and wanted(event):
            raise Stopped

    return listen


def chunk_of(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, ChunkDone) and event.name == name


def stage(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, StageStarted) and event.stage == name


SLOW = {"before the profile", "before training", "after its scores", "before the package"}
"""Moments between those that are always tried."""

MOMENTS = {
    "before the profile": (stage("profile"), 1),
    "in the profile": (chunk_of("profile"), 6),
    "before training": (stage("train"), 1),
    "in the first epoch": (chunk_of("epoch 1"), 5),
    "after the first epoch": (lambda event: isinstance(event, PassEnded) and event.name == "epoch 1", 1),
    "after its scores": (lambda event: isinstance(event, EpochScored), 1),
    "in the second epoch": (chunk_of("epoch 2"), 6),
    "in the test": (chunk_of("test"), 5),
    "before the package": (stage("package"), 1),
    "before it is published": (stage("publish"), 1),
}


@pytest.mark.parametrize(
    "moment", [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in MOMENTS]
)
def test_a_run_that_stops_anywhere_goes_on_to_the_same_model(
    moment: str, place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    wanted, number = MOMENTS[moment]
    with pytest.raises(Stopped):
        workflow(place).run(THREADS, "run", [stop_at(wanted, number=number)])
    heard: list[Event] = []
    run = Workflow.resume("run", THREADS, [heard.append]).run
    require_same(run, whole)
    assert run["resumed"] == 1
    if moment.startswith("in the"):
        # What was committed is told at once and not read again; in flight were at most four chunks.
        name = {"in the profile": "profile", "in the test": "test"}.get(
            moment, "epoch 1" if "first" in moment else "epoch 2"
        )
        known, *again = [event for event in heard if isinstance(event, ChunkDone) and event.name == name]
        assert known.rows == ROWS - ROWS // FILES * len(again)
        assert len(again) <= FILES - number + 6


@pytest.mark.parametrize(
    "cluster",
    [pytest.param(ONE, id="one process", marks=pytest.mark.slow), pytest.param(TWO, id="two processes")],
)
def test_a_run_goes_on_elsewhere(
    cluster: ClusterFile, place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    with pytest.raises(Stopped):
        workflow(place).run(THREADS, "run", [stop_at(chunk_of("epoch 1"), number=5)])
    require_same(Workflow.resume("run", cluster).run, whole)


def test_a_run_in_memory_stops_twice_and_goes_on(place: Path, whole: dict[str, Any], in_tmp: Path) -> None:
    url = f"memory://resume-{os.getpid()}"
    with pytest.raises(Stopped):
        workflow(place).run(THREADS, url, [stop_at(chunk_of("profile"), number=5)])
    with pytest.raises(Stopped):
        Workflow.resume(url, THREADS, [stop_at(chunk_of("epoch 2"), number=5)])
    run = Workflow.resume(url, THREADS).run
    require_same(run, whole)
    assert run["resumed"] == 2
    remove_tree(url)


@pytest.mark.parametrize(
    "after", ["publishing", "published version", "published", "closed"], ids=lambda after: f"after {after}"
)
def test_a_run_that_stops_around_publishing_publishes_once(
    after: str, place: Path, whole: dict[str, Any], in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, publish = ledger.Ledger.append, Registry.publish
    stopped: list[str] = []

    def append_and_stop(self: ledger.Ledger, kind: str, *given: Any, **named: Any) -> None:
        append(self, kind, *given, **named)
        if kind == after and not stopped:
            stopped.append(kind)
            raise Stopped

    def publish_and_stop(self: Registry, *given: Any, **named: Any) -> int:
        version = publish(self, *given, **named)
        if after == "published version" and not stopped:
            stopped.append(after)
            raise Stopped
        return version

    monkeypatch.setattr(ledger.Ledger, "append", append_and_stop)
    monkeypatch.setattr(Registry, "publish", publish_and_stop)
    with pytest.raises(Stopped):
        workflow(place).run(THREADS, "run")
    assert stopped
    require_same(Workflow.resume("run", THREADS).run, whole)


@pytest.mark.parametrize(
    "cluster",
    [
        pytest.param(ClusterFile(workers=4, processes=False, memory=1 << 30), id="four threads"),
        pytest.param(ClusterFile(workers=4, memory=1 << 30), id="four processes", marks=pytest.mark.slow),
    ],
)
def test_four_workers_stop_and_go_on_with_one_and_the_other_way_round(
    cluster: ClusterFile, place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    one = ClusterFile(workers=1, processes=False, memory=1 << 30)
    with pytest.raises(Stopped):
        workflow(place).run(cluster, "run", [stop_at(chunk_of("profile"), number=4)])
    with pytest.raises(Stopped):
        Workflow.resume("run", one, [stop_at(chunk_of("epoch 1"), number=5)])
    require_same(Workflow.resume("run", cluster).run, whole)


def damage_missing(objects: str, name: str) -> None:
    remove_tree(join(objects, name))


def damage_torn(objects: str, name: str) -> None:
    content = Path(objects, name).read_bytes()
    write_bytes(join(objects, name), content[: len(content) // 2])


def damage_changed(objects: str, name: str) -> None:
    content = bytearray(Path(objects, name).read_bytes())
    content[len(content) // 2] ^= 1
    write_bytes(join(objects, name), bytes(content))


# The rest of the table is held without a run in tests/engine/test_ledger.py.
@pytest.mark.parametrize(
    ("which", "damage"),
    [
        ("last record", damage_torn),
        ("last payload", damage_missing),
        ("middle record", damage_changed),
        ("everything", damage_torn),
    ],
)
def test_a_damaged_ledger_costs_work_and_nothing_else(
    damage: Callable[[str, str], None], which: str, place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    with pytest.raises(Stopped):
        workflow(place).run(THREADS, "run", [stop_at(chunk_of("epoch 2"), number=4)])
    names = list_names("run/ledger")
    records = [name for name in names if name[:8].isdigit() and name.endswith(".json")]
    last = read_json(join("run/ledger", records[-1]))
    victims = {
        "last record": records[-1:],
        "middle record": [records[len(records) // 2]],
        "last payload": [next(iter(last["payloads"].values()))["object"]],
        "everything": [name for name in names if Path("run/ledger", name).is_file()],
    }
    for name in victims[which]:
        damage("run/ledger", name)
    run = Workflow.resume("run", THREADS).run
    require_same(run, whole)
    assert any("damaged" in note for note in run["notes"])


def test_what_cannot_go_on_is_told_in_one_line(place: Path, whole: dict[str, Any], in_tmp: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        Workflow.resume("nowhere")
    ended = Workflow.resume(str(place / "whole"))
    assert ended.run["model_sha256"] == whole["model_sha256"]
    assert "resumed" not in ended.run
    (in_tmp / "data").mkdir()
    for path in (place / "data").iterdir():
        (in_tmp / "data" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(Stopped):
        workflow(in_tmp).run(THREADS, "run", [stop_at(chunk_of("epoch 1"), number=2)])
    (in_tmp / "data" / "part-07.parquet").unlink()
    with pytest.raises(InputError, match="the data are not those that the run began with"):
        Workflow.resume("run", THREADS)


def begin_and_end_before(what: str, place: Path) -> None:
    """Leave what a process leaves that dies before it writes `what`."""

    def die(url: str, *_: Any) -> None:
        if url.endswith(what):
            raise Stopped
        write_bytes(url, *_)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rundir, "write_bytes", die)
        patch.setattr(rundir, "write_json", die)
        with pytest.raises(Stopped):
            workflow(place).run(THREADS, "run")


@pytest.mark.parametrize("what", ["workflow.yaml", "run.json"])
def test_a_run_that_stops_before_it_begins_is_begun_anew_in_its_place(
    what: str, place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    begin_and_end_before(what, place)
    assert not Path("run/run.json").exists()
    with pytest.raises(InputError, match=r"ended before it began, .* headrace run WORKFLOW --run run"):
        Workflow.resume("run", THREADS)
    require_same(workflow(place).run(THREADS, "run").run, whole)


@pytest.mark.parametrize("damage", [damage_missing, damage_torn, damage_changed])
def test_a_damaged_record_of_the_run_is_restored_from_the_ledger(
    damage: Callable[[str, str], None], place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    with pytest.raises(Stopped):
        workflow(place).run(THREADS, "run", [stop_at(chunk_of("epoch 1"), number=4)])
    if damage is damage_changed:  # still JSON, of something else
        Path("run/run.json").write_text('{"status": "running"}')
        Path("run/workflow.yaml").write_text("problem: {}")
    else:
        damage("run", "run.json")
        damage("run", "workflow.yaml")
    run = Workflow.resume("run", THREADS).run
    require_same(run, whole)
    assert [note.partition(" ")[0] for note in run["notes"] if "restored" in note] == [
        "run.json",
        "workflow.yaml",
    ]
    text = Path("run/workflow.yaml").read_text()
    assert text == workflow(place).text
    # A run that has ended is restored as well, and is not run again.
    Path("run/run.json").unlink()
    again = Workflow.resume("run", THREADS).run
    assert {**again, "peak_rss_bytes": None} == {**run, "peak_rss_bytes": None}
    assert read_json("run/run.json") == again


def test_a_run_of_which_nothing_is_left_is_told_in_one_line(place: Path, in_tmp: Path) -> None:
    with pytest.raises(Stopped):
        workflow(place).run(THREADS, "run", [stop_at(chunk_of("profile"), number=4)])
    damage_torn("run", "run.json")
    for path in Path("run/ledger").glob("*.json"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"run\.json: is missing or damaged, and the ledger does not"):
        Workflow.resume("run", THREADS)
    with pytest.raises(InputError, match="already holds files"):
        workflow(place).run(THREADS, "run")


def start(place: Path, *arguments: str, seconds: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def kill_tree(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started, at once."""
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in tree:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.communicate()


def wait_for(wanted: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if wanted():
            return
        time.sleep(0.01)
    out, err = process.communicate(timeout=10)
    pytest.fail(f"it did not come so far: {out}{err}")


def records(kind: str, key: str = "") -> int:
    found = 0
    for name in list_names("run/ledger"):
        if name[:8].isdigit() and name.endswith(".json"):
            entry = json.loads(Path("run/ledger", name).read_text())
            found += (entry["kind"], entry["key"]) == (kind, key)
    return found


def finish(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "0", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,  # ten seconds of work, on a machine that may have much else to do
    )
    assert done.returncode == 0, done.stderr
    run: dict[str, Any] = json.loads(done.stdout)
    return run


def test_two_processes_do_not_work_on_one_run_and_a_dead_one_is_followed(
    place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    process = start(place, "run", str(place / "w.yaml"), "--run", "run", "--cluster", str(place / "two.yaml"))
    wait_for(lambda: records("progress", "profile") > 1, process)
    with pytest.raises(InputError, match=f"process {process.pid} on .* is working on this run"):
        Workflow.resume("run", THREADS)
    kill_tree(process)
    require_same(finish("run", "--resume", "run"), whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["profile", "epoch 1", "epoch 2", "test"])
def test_a_worker_that_dies_in_a_pass_changes_nothing(
    name: str, place: Path, whole: dict[str, Any], in_tmp: Path
) -> None:
    arguments = ["run", str(place / "w.yaml"), "--run", "run", "--cluster", str(place / "two.yaml"), "--json"]
    process = start(place, *arguments)
    wait_for(lambda: records("progress", name) > 1, process)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert workers
    workers[0].kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    require_same(json.loads(out), whole)


@pytest.fixture(scope="module")
def lasting(place: Path, whole: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of an uninterrupted run on two processes, from its first record on."""
    run = tmp_path_factory.mktemp("lasting") / "run"
    process = start(
        place, "run", str(place / "w.yaml"), "--run", str(run), "--cluster", str(place / "two.yaml")
    )
    wait_for((run / "run.json").exists, process)
    began = time.monotonic()
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(20))
def test_a_tree_killed_at_any_moment_goes_on_to_the_same_model(
    seed: int, place: Path, whole: dict[str, Any], lasting: float, in_tmp: Path
) -> None:
    draw = random.Random(seed)
    arguments = ["run", str(place / "w.yaml"), "--run", "run", "--cluster", str(place / "two.yaml")]
    times = 1 + seed % 2
    for _ in range(times):
        process = start(place, *arguments, seconds=draw.choice([0.0, 0.2]))
        wait_for(Path("run/run.json").exists, process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.0, 0.9) * lasting / times)
        kill_tree(process)
        arguments = ["run", "--resume", "run", "--cluster", str(place / "two.yaml")]
    require_same(finish(*arguments), whole)
