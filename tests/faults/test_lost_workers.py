"""Workers and coordinators that die: a chunk that ends every worker is named, an orphaned worker ends itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cluster import connect
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.data.dataset import Dataset
from headrace.engine import spans
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.engine.suspects import place_of
from headrace.errors import RunError
from headrace.runs import Workflow

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.data.dataset import Chunk

FILES, GROUPS, GROUP_ROWS = 4, 2, 300
POISON = 12345.0

# A file is two chunks. The function ends the process that shows it the poisonous row, unless that is held back.
FUNCTION = """
import os, signal, time
from pathlib import Path

def add(frame):
    # as memory takes time to fill
    if (frame["x"] == 12345.0).any() and not Path("mended").exists() and Path("armed").read_text() in STAGE():
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    return frame

def STAGE():
    # profiling reads all columns once; training and test come after the profile was written
    return ("profile",) if not Path("run/profile.json").exists() else ("train",)
"""
PROGRAM = """
import sys
from headrace.data import chunks
from headrace.engine import ledger
chunks.LARGEST = 10_000
ledger.COMMIT_SECONDS = 0.0
from headrace.cli import main
main()
"""


def make(place: Path, *, function: bool = False) -> None:
    rng = np.random.default_rng(0)
    (place / "data").mkdir()
    for number in range(FILES):
        x = rng.normal(size=(GROUPS * GROUP_ROWS, 2))
        y = (x[:, 0] + rng.normal(size=len(x)) > 0).astype(int)
        if number == 2:
            x[GROUP_ROWS + 7, 0] = POISON
        table = pa.table({"x": x[:, 0], "z": x[:, 1], "y": y})
        pq.write_table(table, place / "data" / f"part-{number:02}.parquet", row_group_size=GROUP_ROWS)
    document: dict[str, Any] = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        **({"features": {"function": "poison:add"}} if function else {}),
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 5},
    }
    (place / "poison.py").write_text(FUNCTION)
    (place / "w.yaml").write_text(yaml.safe_dump(document))
    (place / "two.yaml").write_text("workers: 2\nmemory: 512MiB\n")


def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", *arguments, "--cluster", "two.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )


def end_at_poison(table: pa.Table, _chunk: Chunk) -> int:
    if POISON in table["x"].to_pylist():
        time.sleep(1)  # as memory takes time to fill
        os.kill(os.getpid(), signal.SIGKILL)
    return int(table.num_rows)


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True])
def test_of_chunks_that_share_a_worker_the_one_that_ends_it_is_named(
    together: bool, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "LARGEST", 10_000)
    if together:  # the last four chunks are one task
        monkeypatch.setattr(spans, "SPANS_LEFT", 1)
        monkeypatch.setattr(spans, "TASK_SECONDS", 1_000.0)
        monkeypatch.setattr(spans, "LONGEST_SECONDS", 1_000.0)
    make(in_tmp)
    source = source_of(Dataset("data"), ["x"])
    assert len(source.chunks) == FILES * GROUPS
    with ClusterFile(workers=1, memory=1 << 30).connect() as client:
        reader = Reader(client)
        with pytest.raises(RunError, match=r"part-02\.parquet row group 1") as caught:
            reader.reduce(source, end_at_poison, int.__add__, name="count")
        assert caught.value.exit_code == 1
        assert "--resume" in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("stage", ["profile", "train"])
def test_a_chunk_that_ends_every_worker_is_named_and_the_run_can_go_on(stage: str, in_tmp: Path) -> None:
    make(in_tmp, function=True)
    (in_tmp / "armed").write_text(stage)
    done = headrace("w.yaml", "--run", "run")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "part-02.parquet row group 1 ended every worker that tried it" in last
    assert "part-01" not in last
    assert "--resume" in last
    record = json.loads((in_tmp / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert "part-02.parquet row group 1" in record["error"]
    kept = [json.loads(path.read_text()) for path in (in_tmp / "run" / "ledger").glob("*.json")]
    assert any(entry["kind"] == "progress" for entry in kept)
    (in_tmp / "mended").touch()
    done = headrace("--resume", "run", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert [each["rows"] for each in run["passes"]] == [FILES * GROUPS * GROUP_ROWS] * 3
    assert run["model"] == "toy@1"


def test_a_cluster_whose_workers_cannot_come_back_ends_the_run(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(in_tmp)
    monkeypatch.setattr(connect, "NO_WORKERS_TIMEOUT", "2s")

    class Leaving:
        """A cluster that loses its only worker when the first chunk is read."""

        def __call__(self, event: object) -> None:
            if type(event).__name__ == "PassStarted":
                from distributed import default_client

                default_client().retire_workers(close_workers=True, remove=True)

    workflow = Workflow.load("w.yaml")
    cluster = ClusterFile(workers=1, processes=False, memory=1 << 30)
    with pytest.raises(RunError, match=r"profile: every worker is gone .* --resume"):
        workflow.run(cluster, "run", [Leaving()])
    assert json.loads((in_tmp / "run" / "run.json").read_text())["status"] == "failed"
    assert Workflow.resume("run", cluster).run["model"] == "toy@1"


def test_workers_end_when_their_coordinator_and_scheduler_are_killed_and_the_run_goes_on(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(in_tmp)
    (in_tmp / "one.yaml").write_text("workers: 1\nmemory: 512MiB\n")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "w.yaml", "--run", "run", "--cluster", "one.yaml"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ledger = in_tmp / "run" / "ledger"
    end = time.monotonic() + 120
    while not (ledger / "00000003.json").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # At once, with the old worker perhaps still there: the new run has its own.
    monkeypatch.setattr(chunks, "LARGEST", 10_000)
    run = Workflow.resume("run", ClusterFile(workers=2, processes=False, memory=1 << 30)).run
    assert [each["rows"] for each in run["passes"]] == [FILES * GROUPS * GROUP_ROWS] * 3
    _, alive = psutil.wait_procs(children, timeout=120)
    for each in alive:
        each.kill()
    assert not alive


def test_a_chunk_is_named_by_its_row_groups_or_rows(in_tmp: Path) -> None:
    make(in_tmp)
    data = Dataset(str(in_tmp / "data"))
    named = place_of(data.chunks[0])
    assert "part-00.parquet row groups 0-1" in named
    assert named.endswith(", ...")  # four files in one chunk
