"""Expected time of a plan: one chunk is read, profiled, prepared and learnt from in this process, and the rest is arithmetic."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.data.reading import last_kept, last_read
from headrace.engine.order import PARTS
from headrace.opening import preparation_finders, read_target
from headrace.profiling.profile import profile_table
from headrace.profiling.survey import Survey, look
from headrace.selecting import Selector
from headrace.training.candidates import build, candidates_of
from headrace.training.checkpoint import Learner
from headrace.training.learning import learn
from headrace.training.routes import is_direct

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.data.dataset import Chunk
    from headrace.engine.plan import Plan
    from headrace.opening import Opened
    from headrace.workflow import WorkflowFile

SAMPLE = 200_000
"""Rows that are profiled, prepared and learnt from at most."""


@dataclass(frozen=True)
class Rates:
    """Seconds a row in one thread."""

    decode: float
    """To read and decode it, in the columns of the profile."""
    profile: float
    prepare: float
    learn: float
    """By all candidates together."""
    slowest: float
    """By the slowest candidate."""

    def expect(self, plan: Plan) -> Plan:
        """Return the plan with the expected time of each pass.

        All threads share the rows; candidates are dealt to threads, and none is spread over several. Start-up, merging
        and scoring are left out.
        """
        slots = plan.workers * plan.threads
        prepared = self.decode + self.prepare
        seconds = {
            "profile": (self.decode + self.profile) / slots,
            "epoch": max((prepared + self.learn) / slots, self.slowest),
            "test": prepared / slots,
        }
        passes = [
            replace(each, seconds=each.rows * seconds["epoch" if "epoch" in each.name else each.name])
            for each in plan.passes
        ]
        return replace(plan, passes=tuple(passes))


def calibrate(workflow: WorkflowFile, opened: Opened) -> Rates:
    """Time the work on the rows of one chunk, in this process and one thread.

    Parameters
    ----------
    workflow : WorkflowFile
        As the user wrote it.
    opened : Opened
        The dataset.

    Returns
    -------
    Rates

    Raises
    ------
    HeadraceError
        What would fail in a run may fail here.
    """
    clock = _Clock()
    table, chunk, decode = _sample(opened, clock)
    rows = max(1, table.num_rows)
    # Few rows are not dealt to folds: one preparation and one fold are timed, and the others count as much.
    folds = len(opened.splitter.folds.folds) if opened.splitter.folds else 1
    splitter = replace(opened.splitter, folds=None, validation=opened.splitter.validation or 1 / (folds + 1))
    opened = replace(opened, splitter=splitter)
    parts = splitter.parts(table, chunk)
    profiles = profile_table(table, target=workflow.problem.target, part=parts, parts=PARTS)
    findings = look(table, chunk, preparation_finders(workflow, opened))
    profiled = clock.lap()
    target = read_target(workflow, opened, Survey(profiles).whole, profiles["train"])
    maker = Selector(workflow, opened, profiles, target, findings=findings).maker([workflow.prepare])
    clock.lap()
    block = maker.for_epoch(1)(table, chunk)
    prepared = clock.lap()
    seconds = []
    for candidate in candidates_of(workflow.models, task=workflow.problem.task):
        if is_direct(candidate.estimator):  # its sums take less than preparing the rows
            continue
        learner = Learner(candidate, build(candidate, seed=workflow.seed))
        clock.lap()
        learn((learner,), block, classes=target.classes)
        seconds.append(clock.lap())
    return Rates(
        decode=decode,
        profile=profiled / rows,
        prepare=prepared / rows * (1 if getattr(workflow.validation, "shared_preparation", False) else folds),
        learn=folds * sum(seconds) / rows,
        slowest=max(seconds, default=0.0) / rows,
    )


class _Clock:
    def __init__(self) -> None:
        self.started = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self.started = self.started, time.perf_counter()
        return self.started - before


def _sample(opened: Opened, clock: _Clock) -> tuple[pa.Table, Chunk, float]:
    """Read a chunk in the middle of those that train, and the seconds a row that it took."""
    source, training = opened.profiled, opened.trained.chunks
    index = source.chunks.index(training[len(training) // 2])
    chunk = source.chunks[index]
    clock.lap()
    table = source.parts[index].read()
    decode = clock.lap() / max(1, last_read().rows)
    kept = last_kept()
    places = np.arange(chunk.rows) if kept is None else kept
    few = min(len(places), SAMPLE)
    clock.lap()
    return table.slice(0, few), replace(chunk, rows=few, kept=places[:few]), decode
