"""Micro-batches: requests that wait at the same moment are computed in one call, and a lone one at once."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.serving.guard import Finding
from headrace.serving.predictor import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.serving.feeds import Feeds
    from headrace.serving.loading import Slot

INLINE_ROWS = 64
"""Most rows that are computed in the loop itself: a thread would take longer to wake up."""
MOST_ROWS = 1024
"""Most rows of several requests together; a larger request goes alone."""


@dataclass(frozen=True)
class Batch:
    """What was computed in one call."""

    slot: Slot
    shadow: bool
    feeds: Feeds
    answer: Answer
    seconds: float
    request_ids: tuple[str, ...]
    request_rows: tuple[int, ...]


@dataclass(frozen=True)
class _Job:
    slot: Slot
    request_id: str
    feeds: Feeds
    rows: int
    shadow: bool
    done: asyncio.Future[Answer] = field(compare=False)


class Batcher:
    """Computes answers, several requests at once when several wait.

    There is no timer. All requests whose bytes have arrived when the loop comes to them are taken together; while
    they are computed, the next ones gather in the sockets. So the size of a batch follows the load, and a request
    that is alone is computed at once.

    Parameters
    ----------
    told : callable
        Is given each `Batch` after its answers are on their way.
    seconds : float
        For what is computed in a thread: its turn and the computation.
    """

    def __init__(self, told: Callable[[Batch], None], seconds: float) -> None:
        self._told = told
        self._seconds = seconds
        self._waiting: list[_Job] = []
        self._threads = ThreadPoolExecutor(1, "headrace-predict")
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, slot: Slot, request_id: str, feeds: Feeds, *, shadow: bool = False) -> Answer:
        """Answer for the rows of one request.

        Parameters
        ----------
        slot : Slot
            The model; requests of one model are computed together.
        request_id : str
            Passed on to whoever watches.
        feeds : dict of str to ndarray, shape (rows, 1)
            The inputs.
        shadow : bool
            Passed on.

        Raises
        ------
        TimeoutError
            When it was computed in a thread and not done in time.
        """
        loop = asyncio.get_running_loop()
        rows = len(next(iter(feeds.values())))
        job = _Job(slot, request_id, feeds, rows, shadow, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._take)
        self._waiting.append(job)
        return await job.done

    def close(self) -> None:
        """Let the thread end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> None:
        jobs, self._waiting = self._waiting, []
        for group in _groups(jobs):
            if sum(job.rows for job in group) <= INLINE_ROWS:
                self._here(group)
            else:
                task = asyncio.get_running_loop().create_task(self._aside(group))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _here(self, group: list[_Job]) -> None:
        try:
            batch, parts = _compute(group)
        except Exception as error:  # noqa: BLE001 - goes to the request that waits
            for job in _alone(group, error):
                self._here([job])
        else:
            self._give(group, batch, parts)

    async def _aside(self, group: list[_Job]) -> None:
        try:
            # Not around each request: what is computed in the loop itself cannot be interrupted, and a timer costs.
            async with asyncio.timeout(self._seconds):
                batch, parts = await asyncio.get_running_loop().run_in_executor(
                    self._threads, _compute, group
                )
        except TimeoutError as error:
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - goes to the request that waits
            for job in _alone(group, error):
                await self._aside([job])
        else:
            self._give(group, batch, parts)

    def _give(self, group: list[_Job], batch: Batch, parts: Sequence[Answer]) -> None:
        for job, part in zip(group, parts, strict=True):
            if not job.done.done():  # whoever asked may have gone
                job.done.set_result(part)
        self._told(batch)


def _fail(group: list[_Job], error: Exception) -> None:
    for job in group:
        if not job.done.done():
            job.done.set_exception(error)


def _alone(group: list[_Job], error: Exception) -> list[_Job]:
    """Say which requests are computed again, each by itself: one whose rows the model cannot take must not fail others."""
    if len(group) > 1:
        return group
    _fail(group, error)
    return []


def _groups(jobs: list[_Job]) -> list[list[_Job]]:
    """Divide jobs by model, and so that no group but one of a single job has more rows than `MOST_ROWS`."""
    groups: list[list[_Job]] = []
    last: dict[tuple[int, bool], tuple[list[_Job], int]] = {}
    for job in jobs:
        key = (id(job.slot), job.shadow)
        group, rows = last.get(key, (None, 0))
        if group is None or rows + job.rows > MOST_ROWS:
            group, rows = [], 0
            groups.append(group)
        group.append(job)
        last[key] = (group, rows + job.rows)
    return groups


def _compute(group: list[_Job]) -> tuple[Batch, list[Answer]]:
    first = group[0]
    if len(group) == 1:
        feeds = first.feeds
    else:
        feeds = {name: np.concatenate([job.feeds[name] for job in group]) for name in first.feeds}
    start = time.perf_counter()
    answer = first.slot.predictor.answer(feeds)
    seconds = time.perf_counter() - start
    sizes = tuple(job.rows for job in group)
    batch = Batch(
        first.slot, first.shadow, feeds, answer, seconds, tuple(job.request_id for job in group), sizes
    )
    return batch, split(answer, sizes)


def split(answer: Answer, sizes: Sequence[int]) -> list[Answer]:
    """Divide an answer into those of its requests.

    Parameters
    ----------
    answer : Answer
        For all rows.
    sizes : sequence of int
        Rows of each request.
    """
    if len(sizes) == 1:
        return [answer]
    parts, start = [], 0
    for size in sizes:
        rows = slice(start, start + size)
        findings = []
        for finding in answer.findings:
            held = finding.rows[(finding.rows >= start) & (finding.rows < start + size)]
            if len(held):
                findings.append(Finding(finding.column, finding.check, held - start, finding.rejected))
        parts.append(Answer(answer.outputs[rows], answer.labels[rows], findings, answer.rejected[rows]))
        start += size
    return parts
