"""Which chunk ended the workers: named by file and row group, told from those that only stood beside it."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from headrace.engine.terminations import PAUSED_MEND, paused, terminated
from headrace.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client

    from headrace.data.dataset import Chunk
    from headrace.engine.source import Source

STEP = 256 << 20
"""Bytes that a memory setting is proposed in."""
MOST_NAMED = 8
"""Chunks that an error names, when none of those that a worker worked on ends it alone."""
SETTLE_SECONDS = 0.5
"""The scheduler gives up several tasks at once; this long after the first, all of them are known here."""


def explain(
    error: BaseException,
    client: Client,
    source: Source,
    function: Callable[[Any, Chunk], Any] | None,
    *,
    name: str,
) -> RunError:
    """Say in one line why a pass has lost its workers.

    Parameters
    ----------
    error : distributed.scheduler.KilledWorker, NoWorkerError or NoValidWorkerError
        What Dask says of it.
    client : distributed.Client
        Where the pass ran. Its tasks are cancelled.
    source : Source
        The chunks.
    function : callable or None
        What the pass does with a chunk.
    name : str
        The pass.
    """
    from distributed.scheduler import NoValidWorkerError, NoWorkerError

    if isinstance(error, (NoWorkerError, NoValidWorkerError)):
        if count := paused(client):
            return RunError(
                f"no worker takes tasks: {count} are paused, for they hold too much of their memory",
                where=name,
                mend=PAUSED_MEND,
            )
        # A worker that ends while it starts is given up, so that a chunk may leave none to try it again.
        blamed = [_place_of_span(source, span) for span in _blamed(client)]
        last = f"; the last worked on {' and '.join(blamed)}" if blamed else ""
        why, mend = _why_and_mend(client, error)
        return RunError(f"every worker is gone and none has come back{last}{why}", where=name, mend=mend)
    suspects = _suspects(client)
    why, mend = _why_and_mend(client, error)
    if len(suspects) > 1 and function is not None:
        suspects = _guilty(client, source, function, suspects) or suspects
    places = [place_of(source.chunks[index]) for index in suspects[:MOST_NAMED]]
    named = "; ".join([*places, *(["..."] if len(suspects) > MOST_NAMED else [])]) or "a chunk"
    verb = "ended" if len(suspects) < 2 else "one of them ended"
    return RunError(f"{named} {verb} every worker that tried it{why}", where=name, mend=mend)


def _why_and_mend(client: Client, error: BaseException) -> tuple[str, str]:
    """Say whether it was for memory that the last worker was ended, and what can be done."""
    from distributed.scheduler import KilledWorker

    ended = terminated(client)
    last = [error.last_worker.address] if isinstance(error, KilledWorker) else [*ended]
    held = max((ended[address] for address in last if address in ended), default=0)
    if not held:
        return "", "look for a damaged row group or give the workers more memory, then go on by --resume"
    # Lets it take twice what it held then; what it would have come to, nobody knows.
    enough = -(-held * 4 // 3 // STEP) * STEP
    why = f", for it took more memory than a worker has ({held >> 20} MiB by then)"
    return why, f"set `memory: {enough >> 20}MiB` in the cluster file and go on by --resume"


def place_of(chunk: Chunk) -> str:
    """Name the files and row groups of a chunk."""
    named = []
    for piece in chunk.pieces[:3]:
        first, last = piece.row_groups[0], piece.row_groups[-1]
        groups = f"row group {first}" if first == last else f"row groups {first}-{last}"
        rows = "" if piece.within is None else f" rows {piece.within[0]}-{piece.within[1] - 1}"
        named.append(f"{piece.path} {groups}{rows}")
    return ", ".join([*named, *(["..."] if len(chunk.pieces) > 3 else [])])


def _place_of_span(source: Source, span: range) -> str:
    first, last = place_of(source.chunks[span[0]]), place_of(source.chunks[span[-1]])
    return first if len(span) == 1 else f"{first} to {last}"


def _suspects(client: Client) -> list[int]:
    """Chunks whose tasks the scheduler has given up: all that were on the workers that ended, also those that waited."""
    from distributed.scheduler import KilledWorker

    time.sleep(SETTLE_SECONDS)
    given_up = {
        str(state.exception.task)
        for state in client.futures.values()
        if state.status == "error" and isinstance(state.exception, KilledWorker)
    }
    # A chain of learners runs one task at a time: one that was given up was at work when the worker ended.
    learning = {key for key in given_up if " learn " in key}
    return sorted({index for key in learning or given_up for index in _span(key)})


def _blamed(client: Client) -> list[range]:
    """Chunks whose tasks were on most of the workers that ended, as the scheduler counts."""
    counts: dict[str, int] = client.run_on_scheduler(_suspicious)
    most = max(counts.values(), default=0)
    found = {_span(key) for key, count in counts.items() if count == most}
    return sorted(filter(None, found), key=lambda span: span.start)


def _suspicious(dask_scheduler: Any) -> dict[str, int]:
    return {str(key): task.suspicious for key, task in dask_scheduler.tasks.items() if task.suspicious}


def _guilty(
    client: Client, source: Source, function: Callable[[Any, Chunk], Any], suspects: list[int]
) -> list[int]:
    """Try suspects alone, until one ends workers again."""
    from distributed import Future, wait
    from distributed.scheduler import KilledWorker

    client.cancel([Future(key, client) for key in list(client.futures)])
    for index in suspects:
        key = f"suspect-{index}-{uuid.uuid4().hex[:8]}"
        alone: Any = client.submit(source.work(index, function), key=key, pure=False)
        wait([alone])
        if alone.status == "error" and isinstance(alone.exception(), KilledWorker):
            return [index]
    return []


def _span(key: str) -> range:
    """Return the chunks that a task key speaks of: ``NAME-INDEX-RUN``, or ``NAME-FIRST+COUNT-RUN``; else none.

    >>> _span("epoch 1 learn 0-12-3f2a"), _span("profile-64+32-3f2a"), _span("mix-of-lanes")
    (range(12, 13), range(64, 96), range(0, 0))
    """
    parts = key.rsplit("-", 2)
    first, _, count = parts[1].partition("+") if len(parts) == 3 else ("", "", "")
    if not first.isdigit() or (count and not count.isdigit()):
        return range(0)
    return range(int(first), int(first) + int(count or 1))
