"""Spans: runs of small chunks that one task reads one after another and merges itself, each a whole branch of the merge tree."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.accumulators import merge_tree
from headrace.data.reading import ReadCount
from headrace.engine.source import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TASK_SECONDS = 0.01
"""What the leading process may need for one task more; no thread should be done sooner than all of them were given one."""

SHORT_SECONDS = 0.4
"""What a task may take however few threads there are: Dask's servers, which may share Python's lock with them, have half as many
to see to when it reads two chunks."""

LONGEST_SECONDS = 2.0
"""What a lost worker costs each of its threads, and how long nothing is heard of one."""

LONGEST = 256
"""Chunks; what a task reads is sent with it."""

SPANS_LEFT = 4
"""Spans that are still to come for each thread, at least, so that none waits long for the last."""


def next_span(position: int, total: int, *, threads: int, seconds: float) -> range:
    """Choose the chunks that the next task reads.

    They are a whole branch of the tree: a power of two of chunks, whose first one is a multiple of it. That is why the
    state of all chunks does not depend on how they are cut, which depends on the threads and on the clock.

    Parameters
    ----------
    position : int
        The first one.
    total : int
        Chunks in all.
    threads : int
        Of all workers.
    seconds : float
        What one chunk takes a thread; infinite while that is not known.

    Examples
    --------
    >>> next_span(0, 100_000, threads=50, seconds=0.001)
    range(0, 256)
    >>> next_span(6, 100_000, threads=50, seconds=0.001)
    range(6, 8)
    >>> next_span(0, 100_000, threads=50, seconds=1.0)
    range(0, 1)
    """
    length, longer = 1, 2
    worth = min(LONGEST_SECONDS, max(SHORT_SECONDS, threads * TASK_SECONDS))
    most = min(LONGEST, (total - position) // (SPANS_LEFT * threads))
    while position % longer == 0 and longer <= most and longer * seconds <= worth:
        length, longer = longer, 2 * longer
    return range(position, position + length)


class Read(NamedTuple):
    """What a task has read: the state of a span, and how much that was."""

    state: Any
    reading: Reading


def of_states(function: Callable[..., Any], *states: Any) -> Any:
    """Call a function of states, some of which are still with what was read of them; to take each apart would be a task more.

    Parameters
    ----------
    function : callable
        ``function(*states)``; its errors are raised as they are.
    *states : object or Read
    """
    return function(*(each.state if isinstance(each, Read) else each for each in states))


def read_span(works: Sequence[Callable[[], tuple[Any, Reading]]], merge: Callable[[Any, Any], Any]) -> Read:
    """Read the chunks of a span and merge what is learnt of them; one of them is decoded at a time.

    Parameters
    ----------
    works : sequence of callable
        As from `headrace.engine.source.Source.work`, in order.
    merge : callable
        ``merge(left, right) -> state``.
    """
    began = time.perf_counter()
    readings: list[Reading] = []
    state = merge_tree(map(partial(_read, readings), works), merge)
    counts = [each.count for each in readings]
    count = ReadCount(
        chunks=sum(each.chunks for each in counts),
        rows=sum(each.rows for each in counts),
        bytes=sum(each.bytes for each in counts),
        kept=sum(each.kept for each in counts),
    )
    last = readings[-1]
    return Read(state, Reading(count, last.memory_peak, last.worker, time.perf_counter() - began))


def _read(readings: list[Reading], work: Callable[[], tuple[Any, Reading]]) -> Any:
    state, reading = work()
    readings.append(reading)
    return state
