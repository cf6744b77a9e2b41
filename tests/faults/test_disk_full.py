"""A full disk ends a run with one line, and what was written until then is whole; workers need no room for what they keep."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.cluster.config import ClusterFile
from headrace.engine.cache import ENDING
from headrace.errors import InputError
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOW = """
problem: {name: toy, task: classification, target: y}
data: {url: data}
models: [{name: logistic, estimator: sklearn.linear_model.SGDClassifier}]
train: {epochs: 1}
evaluate: {bootstrap: 20}
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds 100 KB."""
    with mounted(tmp_path / "small", "size=100k") as place:
        yield place


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory at a new directory."""
    place.mkdir(parents=True)
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("there is no mount command here")
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run([umount, str(place)], check=True)


def write_data(place: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 12))
    columns = {f"x{i}": x[:, i] for i in range(12)}
    (place / "data").mkdir()
    y = (x[:, 0] + rng.normal(size=len(x)) > 0).astype(np.int8)
    pq.write_table(pa.table({**columns, "y": y}), place / "data" / "a.parquet")


def test_a_full_disk_is_one_line_and_leaves_only_whole_files(in_tmp: Path, small_disk: Path) -> None:
    write_data(in_tmp)
    (in_tmp / "workflow.yaml").write_text(WORKFLOW)
    run = small_disk / "run"
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "run", "workflow.yaml", "--run", str(run)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "the disk is full; free space" in last
    assert "Traceback" not in done.stderr
    for path in run.iterdir():
        assert not path.name.endswith(".tmp")
        if path.suffix == ".json":
            json.loads(path.read_text())
    assert not (in_tmp / "registry").exists()


def run_beside(local: Path) -> tuple[str, list[Path]]:
    """Run two epochs whose workers keep what they can in a directory; the model, and the blocks that were kept."""
    workflow = Workflow.parse(WORKFLOW.replace("epochs: 1", "epochs: 2"))
    cluster = ClusterFile(workers=1, processes=False, memory=1 << 30, local_directory=str(local))
    run = workflow.run(cluster, f"run-{local.name}").run
    return run["model_sha256"], [*Path(cluster.block_directory).glob(f"*{ENDING}")]


def test_a_directory_of_workers_that_is_full_or_read_only_costs_only_what_would_be_kept(
    in_tmp: Path, small_disk: Path
) -> None:
    write_data(in_tmp)
    whole, kept = run_beside(in_tmp / "roomy")
    assert kept
    assert run_beside(small_disk) == (whole, [])
    assert not [*small_disk.rglob("*.tmp")]
    with mounted(in_tmp / "read-only" / "headrace" / "blocks", "ro"):
        assert run_beside(in_tmp / "read-only") == (whole, [])


@pytest.mark.parametrize("processes", [True, False])
def test_a_local_directory_that_cannot_be_written_to_is_named(tmp_path: Path, processes: bool) -> None:
    with mounted(tmp_path / "disk", "ro") as place:
        cluster = ClusterFile(workers=1, processes=processes, local_directory=f"{place}/below")
        with (
            pytest.raises(InputError, match=r"^local_directory: .*/below: cannot be written to \(Read-only"),
            cluster.connect(),
        ):
            pass
