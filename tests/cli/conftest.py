from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace import cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 3000


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs `python -m headrace` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *arguments: str, **environment: str) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning", **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


def _make_table(seed: int = 0, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=ROWS) + shift
    bought = (rng.random(ROWS) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
    return pa.table({
        "x": x,
        "gap": pa.array(np.where(rng.random(ROWS) < 0.1, np.nan, rng.exponential(size=ROWS)), from_pandas=True),
        'Stadt / "city"': rng.choice(["Zürich", "NO", "a, b"], ROWS),
        "when": pa.array(np.datetime64("2026-01-01T00:00", "us") + np.arange(ROWS) * np.timedelta64(10, "m")),
        "user": [f"user-{i}" for i in range(ROWS)],
        "bought": bought,
    })  # fmt: skip


def _write_table(directory: Path, table: pa.Table) -> None:
    directory.mkdir()
    half = len(table) // 2
    pq.write_table(table.slice(0, half), directory / "a.parquet", row_group_size=500)
    pq.write_table(table.slice(half), directory / "b.parquet", row_group_size=500)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty directory with a small dataset `data` in it."""
    _write_table(tmp_path / "data", _make_table())
    return Shell(tmp_path)


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    """Make the table of `shell`, with another seed or shifted."""
    return _make_table


@pytest.fixture
def write_table() -> Callable[[Path, pa.Table], None]:
    """Write a table as two files of several row groups."""
    return _write_table


@pytest.fixture
def inside(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, which is quicker, in the directory of `shell`: (code, stdout, stderr)."""
    monkeypatch.chdir(shell.directory)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
