"""Memory does not grow with the data: a hundred times the rows in a process tree that the kernel holds to 2 GiB."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = int(os.environ.get("HEADRACE_SOAK_ROWS", "2000000"))
TIMES = int(os.environ.get("HEADRACE_SOAK_TIMES", "100"))
"""How many times the small data; 100 makes 200 million rows."""
LIMIT = 2 << 30

WORKFLOW = """
problem: {name: click, task: classification, target: click}
data: {url: %s, time: time, split: {kind: random, test: 0.1, validation: 0.12}}
models: [{name: logistic, estimator: sklearn.linear_model.SGDClassifier}]
train: {epochs: 1}
evaluate: {bootstrap: 50}
publish: {registry: %s}
"""
CLUSTER = "{kind: laptop, workers: 2, threads: 1, memory: 800MiB, disk: 0}"


@pytest.fixture
def held_to_limit() -> Iterator[Path]:
    """A memory control group (version 1) whose processes together may take `LIMIT` bytes."""
    line = next(
        (line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line), None
    )
    if line is None:
        pytest.skip("there is no memory control group of version 1 here")
    own = Path("/sys/fs/cgroup/memory") / line.split(":")[2].lstrip("/")
    group = own / f"headrace-soak-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError:
        pytest.skip("this user may not make a control group")
    try:
        yield group
    finally:
        end = time.monotonic() + 20
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:
            time.sleep(0.1)  # the last process of a run may still be ending
        with suppress(OSError):  # the kernel frees the pages of a group a little later
            group.rmdir()


def run(place: Path, data: Path, name: str, group: Path) -> dict[str, Any]:
    workflow, cluster = place / f"{name}.yaml", place / "cluster.yaml"
    workflow.write_text(WORKFLOW % (data, place / "registry"))
    cluster.write_text(CLUSTER)
    command = [sys.executable, "-m", "headrace", "run", str(workflow), "--cluster", str(cluster)]
    script = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command, "--run", str(place / name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=7_000,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    record: dict[str, Any] = json.loads((place / name / "run.json").read_text())
    return record


@pytest.mark.scale
@pytest.mark.timeout(7_200)
def test_a_hundred_times_the_rows_take_the_same_memory(tmp_path: Path, held_to_limit: Path) -> None:
    small = tmp_path / "small"
    make = [sys.executable, "-m", "headrace", "sample", "clicks", str(small), "--rows", str(SMALL)]
    subprocess.run(make, check=True, capture_output=True)
    large = tmp_path / "large"
    large.mkdir()
    for copy in range(TIMES):
        for file in small.glob("*.parquet"):
            os.link(file, large / f"{copy:03}-{file.name}")
    few = run(tmp_path, small, "few", held_to_limit)
    many = run(tmp_path, large, "many", held_to_limit)
    assert [each["rows"] for each in many["passes"]] == [TIMES * SMALL] * 3
    peaks = [max(record["peak_rss_bytes"]["workers"].values()) for record in (few, many)]
    totals = [record["peak_rss_bytes"]["total"] for record in (few, many)]
    # Shown by `pytest --log-cli-level=INFO`.
    logging.getLogger(__name__).info("peak bytes of a worker %s, of the tree %s", peaks, totals)
    seconds = [sum(record["seconds"].values()) for record in (few, many)]
    logging.getLogger(__name__).info(
        "seconds %s, projected %s, ledger %s", seconds, many["memory_projected"], many["ledger"]
    )
    assert peaks[1] <= 1.15 * peaks[0]
    assert max(peaks) <= many["memory_projected"] <= many["memory_budget"]
    assert max(peaks) <= 800 << 20
