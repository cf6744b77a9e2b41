"""A full disk ends a run with one line; what was written until then is whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    place = tmp_path / "small"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("there is no mount command here")
    command = [mount, "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run([umount, str(place)], check=True)


def test_a_full_disk_is_one_line_and_leaves_only_whole_files(in_tmp: Path, small_disk: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 12))
    columns = {f"x{i}": x[:, i] for i in range(12)}
    (in_tmp / "data").mkdir()
    pq.write_table(pa.table({**columns, "y": (x[:, 0] > 0).astype(np.int8)}), in_tmp / "data" / "a.parquet")
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
