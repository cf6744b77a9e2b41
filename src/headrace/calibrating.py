"""Expected time of a plan: one chunk is read, profiled, prepared and learnt from in this process, and the rest is arithmetic."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.data.reading import last_kept, last_read
from headrace.engine.order import PARTS
from headrace.engine.past import without_past
from headrace.opening import preparation_finders, read_target
from headrace.preparation.latent import LATENT
from headrace.preparing import token_pass
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
    weigh: float
    """To weigh tokens and measure their products, where the preparation has a pass of its own."""
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
            "history": self.decode / slots,
            "profile": (self.decode + self.profile) / slots,
            "prepare": (self.decode + self.weigh) / slots,
            "epoch": max((prepared + self.learn) / slots, self.slowest),
            "test": prepared / slots,
        }
        # Several passes that profile some of the columns share the time.
        profiles = max(1, sum(each.name.startswith("profile ") for each in plan.passes))
        seconds |= {
            each.name: seconds["profile"] / profiles
            for each in plan.passes
            if each.name.startswith("profile ")
        }
        # What is fitted outright takes hardly more than its rows take to be prepared.
        passes = [
            replace(
                each,
                seconds=each.rows
                * seconds.get("epoch" if "epoch" in each.name else each.name, prepared / slots),
            )
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
    copies = 1 if getattr(workflow.validation, "shared_preparation", False) else folds
    splitter = replace(opened.splitter, folds=None, validation=opened.splitter.validation or 1 / (folds + 1))
    opened = replace(opened, splitter=splitter)
    parts = splitter.parts(table, chunk)
    profiles = profile_table(table, target=workflow.problem.target, part=parts, parts=PARTS)
    findings = look(table, chunk, preparation_finders(workflow, opened))
    profiled = clock.lap()
    target = read_target(workflow, opened, Survey(profiles).whole, profiles["train"])
    selector = Selector(workflow, opened, profiles, target, findings=findings)
    asked = token_pass(selector)
    clock.lap()
    if asked is not None:
        selector.findings = {**findings, LATENT: asked(table, chunk)}
    weighed = clock.lap()
    maker = selector.maker([workflow.prepare])
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
        weigh=weighed / rows * (folds + 1 if copies > 1 else 1),
        prepare=prepared / rows * copies,
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
    if source.history is not None:  # what came before changes values, not the time that they take
        source = replace(source, past=without_past(source.history, source.dataset))
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
