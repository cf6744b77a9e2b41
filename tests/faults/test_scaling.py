"""Workers that come and go while a pass runs, as an adaptive cluster has them: the model is the same."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import dask
from distributed import default_client
from tests.faults.test_lost_workers import FILES, GROUP_ROWS, GROUPS, make

from headrace.cluster.cloud import CloudCluster
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.engine.events import ChunkDone, PassStarted
from headrace.runs import Workflow

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from headrace.engine.events import Event

SLOW = """
import time

def add(frame):
    time.sleep(0.1 if len(frame) > 10 else 0)
    return frame
"""
ADAPTIVE = {
    "kind": "cloud",
    "class": "distributed.LocalCluster",
    "memory": "512MiB",
    "workers": {"min": 1, "max": 3},
    "tls": "off",
    "options": {
        "n_workers": 3,
        "threads_per_worker": 1,
        "processes": False,
        "host": "127.0.0.1",
        "protocol": "tcp://",
        "dashboard_address": "127.0.0.1:0",
    },
}
RESTLESS = {
    "distributed.adaptive.interval": "100ms",
    "distributed.adaptive.wait-count": 1,
    "distributed.adaptive.target-duration": "1ms",
}
"""Decides at once: as many workers as are allowed while there is any work, and as few when there is none."""


class Retiring:
    """Retires all workers but one in the middle of each pass, by the call by which Dask scales down."""

    def __init__(self) -> None:
        self.name, self.retired = "", set[str]()

    def __call__(self, event: Event) -> None:
        if isinstance(event, PassStarted):
            self.name, self.chunks = event.name, 0
        elif isinstance(event, ChunkDone):
            self.chunks += 1
            if self.chunks == 3:
                client: Any = default_client()
                leaving = sorted(client.nthreads())[1:]
                client.retire_workers(leaving, close_workers=True, remove=True)
                self.retired |= {f"{self.name} {address}" for address in leaving}


def test_workers_that_are_scaled_down_in_the_middle_of_a_pass_change_nothing(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "LARGEST", 10_000)
    make(in_tmp, function=True)
    (in_tmp / "poison.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(in_tmp))
    monkeypatch.delitem(sys.modules, "poison", raising=False)  # that of another test
    workflow = Workflow.load("w.yaml")
    whole = workflow.run(ClusterFile(workers=2, processes=False, memory=1 << 30), "whole").run
    retiring = Retiring()
    with dask.config.set(RESTLESS):
        run = workflow.run(CloudCluster.model_validate(ADAPTIVE), "run", [retiring]).run
    assert retiring.retired
    assert [each["rows"] for each in run["passes"]] == [FILES * GROUPS * GROUP_ROWS] * 3
    assert run["model_sha256"] == whole["model_sha256"]
