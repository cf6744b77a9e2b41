"""A model's cells, and events as a server makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from headrace.monitoring.grids import Grid
from headrace.monitoring.recording import Recorder
from headrace.packaging.signature import InputColumn, Signature
from headrace.profiling.profile import profile_table
from headrace.serving.observing import BoundedQueue, Failed, Labelled, Predicted

NOON = 1_760_000_400
"""A minute begins here."""


@dataclass
class Served:
    """Makes events of a model of one number and one category."""

    recorder: Recorder
    seed: int = 0
    queue: BoundedQueue = field(default_factory=BoundedQueue)

    def predict(
        self, at: float, rows: int = 100, *, shift: float = 0.0, version: str = "late@1", arm: str = "champion",
        city: str = "Oslo", ids: tuple[str, ...] | None = None, seconds: float = 0.002, scores: Any = None,
    ) -> tuple[str, ...]:  # fmt: skip
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        names = ids or tuple(f"r{self.seed}-{i}" for i in range(rows))
        said = rng.random(rows) if scores is None else np.asarray(scores)
        feeds = {
            "size": rng.normal(10 + shift, 2, (rows, 1)),
            "city": np.array([city] * rows, dtype=object).reshape(-1, 1),
        }
        self.queue.observe(
            Predicted(
                at, version, arm, feeds, np.column_stack([1 - said, said]), seconds, (), names, (1,) * rows
            )
        )
        return names

    def label(self, at: float, names: tuple[str, ...], labels: Any) -> None:
        for name, label in zip(names, labels, strict=True):
            self.queue.observe(Labelled(at, name, (label,)))

    def fail(self, at: float, status: int) -> None:
        self.queue.observe(Failed(at, status))

    def take(self, now: float | None = None) -> None:
        self.recorder.take(self.queue.drain())
        self.recorder.take(())
        self.recorder.flush(now=now, everything=now is None)


@pytest.fixture(scope="session")
def grid() -> Grid:
    import pyarrow as pa

    rng = np.random.default_rng(99)
    table = pa.table(
        {"size": rng.normal(10, 2, 20_000), "city": rng.choice(["Oslo"] * 99 + ["Rome"], 20_000)}
    )
    profile = profile_table(table)["all"]
    inputs = tuple(InputColumn(name, column.type, column.kind) for name, column in profile.columns.items())
    metrics = {"curves": {"score_histogram": {"classes": [[400] * 50, [400] * 50]}}}
    return Grid.of(profile, Signature(inputs, "classification", "late", ("no", "yes")), metrics)


@pytest.fixture
def served(grid: Grid, tmp_path: Any) -> Served:
    recorder = Recorder(str(tmp_path / "monitor"), "late")
    for version in ("late@1", "late@2"):
        recorder.add(version, grid)
    return Served(recorder)
