"""The monitor store on object stores: what one process writes another reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.monitoring.conftest import NOON, Served

from headrace.monitoring.recording import Recorder
from headrace.monitoring.store import MonitorStore

if TYPE_CHECKING:
    from headrace.monitoring.grids import Grid


@pytest.mark.parametrize("store", ["s3", "gcs", "azure"])
def test_windows_on_a_store(store: str, grid: Grid, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(store)
    for seed in (0, 1_000):
        recorder = Recorder(url, "late")
        recorder.add("late@1", grid)
        served = Served(recorder, seed=seed)
        served.predict(NOON, 40)
        recorder.take(served.queue.drain())
        recorder.flush(everything=True)
    assert sum(window.traffic.rows for window in MonitorStore(url, "late").read()) == 80
