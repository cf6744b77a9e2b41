"""Workers that take more memory than they may: their nannies end them; the run survives it, or says what to set and goes on."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from distributed import default_client
from tests.faults.test_lost_workers import FILES, GROUP_ROWS, GROUPS, make

from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.engine.events import ChunkDone
from headrace.engine.terminations import terminated
from headrace.errors import RunError
from headrace.runs import Workflow

if TYPE_CHECKING:
    from headrace.engine.events import Event

# What it takes stands in a file: bytes for the frame with the poisonous row, or for every frame that is not the few
# rows by which columns are known.
FUNCTION = """
import time
from pathlib import Path

def add(frame):
    place = Path(__file__).parent
    for name in ("once", "always"):
        wanted = place / name
        if wanted.exists() and (len(frame) > 10 if name == "always" else (frame["x"] == 12345.0).any()):
            size = int(wanted.read_text())
            if name == "once":
                wanted.unlink()
            held = b"x" * size
            time.sleep(1)  # as work with it takes time
            del held
    return frame
"""
MIB = 1 << 20
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


@pytest.fixture
def place(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data of eight chunks, one of them with a row that may cost memory."""
    monkeypatch.setattr(chunks, "LARGEST", 10_000)
    make(in_tmp, function=True)
    (in_tmp / "poison.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(str(in_tmp))
    monkeypatch.delitem(sys.modules, "poison", raising=False)  # that of another test
    return in_tmp


def model_of(run: dict[str, Any]) -> str:
    assert [each["rows"] for each in run["passes"]] == [FILES * GROUPS * GROUP_ROWS] * 3
    return str(run["model_sha256"])


def test_a_worker_that_took_too_much_once_is_replaced_and_the_model_is_the_same(place: Path) -> None:
    whole = Workflow.load("w.yaml").run(THREADS, "whole").run
    (place / "once").write_text(str(700 * MIB))
    ended: dict[str, int] = {}

    def hear(event: Event) -> None:
        if isinstance(event, ChunkDone):
            ended.update(terminated(default_client()))

    run = Workflow.load("w.yaml").run(ClusterFile(workers=2, memory=512 * MIB), "run", [hear]).run
    assert [held > 700 * MIB for held in ended.values()] == [True]
    assert model_of(run) == model_of(whole)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_when_every_worker_takes_too_much_the_memory_to_set_is_told(place: Path) -> None:
    whole = Workflow.load("w.yaml").run(THREADS, "whole").run
    (place / "always").write_text(str(700 * MIB))
    with pytest.raises(RunError) as caught:
        Workflow.load("w.yaml").run(ClusterFile(workers=2, memory=512 * MIB, retries=0), "run")
    told = str(caught.value)
    assert "part-0" in told
    assert "than a worker has (" in told
    assert "Traceback" not in told
    assert json.loads(Path("run", "run.json").read_text())["error"] == told
    (enough,) = re.findall(r"set `memory: (\d+)MiB`", told)
    run = Workflow.resume("run", ClusterFile(workers=2, memory=int(enough) * MIB)).run
    assert model_of(run) == model_of(whole)
