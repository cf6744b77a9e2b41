"""Which chunk ended the workers: named by file and row group, told from those that only stood beside it."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from headrace.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client

    from headrace.data.dataset import Chunk
    from headrace.engine.source import Source

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
    error : distributed.scheduler.KilledWorker or NoWorkerError
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
    from distributed.scheduler import NoWorkerError

    if isinstance(error, NoWorkerError):
        # A worker that ends while it starts is given up, so that a chunk may leave none to try it again.
        blamed = [place_of(source.chunks[index]) for index in _blamed(client)]
        last = f"; the last worked on {' and '.join(blamed)}" if blamed else ""
        return RunError(
            f"every worker is gone and none has come back{last}",
            where=name,
            mend="look for a damaged row group or too little memory, then go on by --resume",
        )
    suspects = _suspects(client)
    if len(suspects) > 1 and function is not None:
        suspects = _guilty(client, source, function, suspects) or suspects
    named = "; ".join(place_of(source.chunks[index]) for index in suspects) or "a chunk"
    verb = "ended" if len(suspects) < 2 else "one of them ended"
    return RunError(
        f"{named} {verb} every worker that tried it",
        where=name,
        mend="look for a damaged row group there or give the workers more memory, then go on by --resume",
    )


def place_of(chunk: Chunk) -> str:
    """Name the files and row groups of a chunk."""
    named = []
    for piece in chunk.pieces[:3]:
        first, last = piece.row_groups[0], piece.row_groups[-1]
        groups = f"row group {first}" if first == last else f"row groups {first}-{last}"
        rows = "" if piece.within is None else f" rows {piece.within[0]}-{piece.within[1] - 1}"
        named.append(f"{piece.path} {groups}{rows}")
    return ", ".join([*named, *(["..."] if len(chunk.pieces) > 3 else [])])


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
    return sorted({index for key in learning or given_up if (index := _index(key)) is not None})


def _blamed(client: Client) -> list[int]:
    """Chunks whose tasks were on most of the workers that ended, as the scheduler counts."""
    counts: dict[str, int] = client.run_on_scheduler(_suspicious)
    most = max(counts.values(), default=0)
    found = {_index(key) for key, count in counts.items() if count == most}
    return sorted(index for index in found if index is not None)


def _suspicious(dask_scheduler: Any) -> dict[str, int]:
    return {str(key): task.suspicious for key, task in dask_scheduler.tasks.items() if task.suspicious}


def _guilty(
    client: Client, source: Source, function: Callable[[Any, Chunk], Any], suspects: list[int]
) -> list[int]:
    """Try each suspect alone; those that end workers again."""
    from distributed import Future, wait
    from distributed.scheduler import KilledWorker

    client.cancel([Future(key, client) for key in list(client.futures)])
    guilty = []
    for index in suspects:
        key = f"suspect-{index}-{uuid.uuid4().hex[:8]}"
        alone: Any = client.submit(source.work(index, function), key=key, pure=False)
        wait([alone])
        if alone.status == "error" and isinstance(alone.exception(), KilledWorker):
            guilty.append(index)
    return guilty


def _index(key: str) -> int | None:
    """Return the chunk that a task key speaks of: ``NAME-INDEX-RUN``."""
    parts = key.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else None
