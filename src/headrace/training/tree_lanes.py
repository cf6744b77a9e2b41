"""Trees on several workers at once: each bins its own chunks, and a lost worker costs the rounds since the last save."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.engine.events import Note
from headrace.errors import RunError, WorkflowError
from headrace.training.growing import Grown, Lane, grow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future

    from headrace.engine.passes import Reader
    from headrace.engine.source import Reading
    from headrace.training.growing import Growth
    from headrace.training.prepared import Prepared

ATTEMPTS = 4
"""How often trees are begun or gone on with before a run that keeps losing workers ends."""

_MEET_SECONDS = 300
"""In which all lanes must have come, and in which lost workers must be replaced."""


def grow_on_lanes(
    reader: Reader, works: Sequence[Callable[[], tuple[Prepared, Reading]]], growth: Growth, lanes: int
) -> Grown:
    """Grow trees in as many tasks as there are lanes, at once; work p is that of lane p modulo `lanes`.

    The histograms of all lanes are added up (Chen & Guestrin 2016, "XGBoost", by ring allreduce), so that every lane grows the
    same trees. They depend on the number of lanes, for each of them sketches its own quantiles, and not on that of workers.

    Raises
    ------
    WorkflowError
        When the cluster has too few threads for all lanes to work at once.
    RunError
        When XGBoost refuses what is asked, or workers are lost again and again.
    """
    from xgboost.core import XGBoostError

    lanes = min(lanes, len(works))
    try:
        with _ways_may_be_large():
            if lanes == 1:
                alone: Grown = reader.client.submit(grow, works, growth, pure=False).result()
                return alone
            return _together(reader, works, growth, lanes)
    except XGBoostError as error:
        said = str(error).strip().partition("\n")[0]
        raise RunError(f"XGBoost grows no trees: {said}", where="models", mend="change params") from error


def _ways_may_be_large() -> Any:
    """Keep Dask from warning of what is sent: the preparations of many folds and variants take megabytes."""
    import dask

    return dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})


def _together(
    reader: Reader, works: Sequence[Callable[[], tuple[Prepared, Reading]]], growth: Growth, lanes: int
) -> Grown:
    from xgboost.core import XGBoostError

    for _ in range(ATTEMPTS):
        addresses = _addresses(reader.client, lanes)
        found = _attempt(reader.client, works, growth, addresses, XGBoostError)
        if found is not None:
            return _joined(found)
        reader.emit(Note("a worker that grew trees was lost: they go on from the last that were saved"))
    raise RunError(
        f"workers that grow trees were lost {ATTEMPTS} times",
        where="train.lanes",
        mend="give workers more memory, or use fewer lanes; then resume the run",
    )


def _addresses(client: Client, lanes: int) -> list[str]:
    """Return the worker of each lane: one thread of it is free for it."""
    threads = client.nthreads()
    if sum(threads.values()) < lanes:  # those that were lost are being replaced
        most = max(threads.values(), default=1)
        with suppress(TimeoutError):
            client.wait_for_workers(math.ceil(lanes / most), timeout=_MEET_SECONDS)
        threads = client.nthreads()
    rounds = range(max(threads.values(), default=0))
    free = [address for turn in rounds for address in sorted(threads) if threads[address] > turn]
    if len(free) < lanes:
        raise WorkflowError(
            f"is {lanes}, and the cluster has {len(free)} threads: boosted trees need one a lane",
            where="train.lanes",
            mend="use fewer lanes or more workers",
        )
    return free[:lanes]


def _attempt(
    client: Client,
    works: Sequence[Callable[[], tuple[Prepared, Reading]]],
    growth: Growth,
    addresses: Sequence[str],
    lost: type[Exception],
) -> list[Grown] | None:
    """Return what the lanes have grown; None when one was lost."""
    from distributed import wait
    from xgboost import RabitTracker

    lanes = len(addresses)
    tracker = RabitTracker(
        n_workers=lanes, host_ip=_own_address(client), sortby="task", timeout=_MEET_SECONDS
    )
    tracker.start()
    meet = tracker.worker_args()
    futures: list[Future[Any]] = [
        client.submit(
            grow, works[number::lanes], growth, Lane(number, meet),
            workers=[address], allow_other_workers=False, pure=False,
        )
        for number, address in enumerate(addresses)
    ]  # fmt: skip
    try:
        open_: set[Any] = set(futures)
        while open_:
            with suppress(TimeoutError):
                open_ = set(wait(open_, timeout=1, return_when="FIRST_COMPLETED").not_done)
            failed = [each for each in futures if each.status == "error"]
            if failed and not _lack(client, addresses, seconds=10):
                # Lanes whose neighbour has failed fail as well: its own error says why.
                failed = [each for each in futures if each.status == "error"]
                min(failed, key=lambda each: isinstance(each.exception(), lost)).result()
            if failed or _lack(client, addresses):
                return None
        return client.gather(futures)  # type: ignore[no-any-return]  # distributed ships no types
    finally:
        client.cancel(futures)
        with suppress(lost):  # a lane that was lost does not say goodbye
            tracker.free()


def _lack(client: Client, addresses: Sequence[str], seconds: int = 0) -> bool:
    """Tell whether one of these workers is gone; lanes that have lost another may know it before the scheduler does."""
    end = time.monotonic() + seconds
    while set(addresses) <= set(client.nthreads()):
        if time.monotonic() >= end:
            return False
        time.sleep(0.5)
    return True


def _own_address(client: Client) -> str:
    """Return the address at which workers, who reach the scheduler, reach this process."""
    from distributed.utils import get_ip

    scheduler = urlsplit(str(client.scheduler_info()["address"]))
    return "127.0.0.1" if scheduler.scheme == "inproc" else str(get_ip(scheduler.hostname))


def _joined(lanes: Sequence[Grown]) -> Grown:
    """Put together what the lanes have read; all of them have the same boosters."""
    first = lanes[0]
    sweeps = [
        [reading for lane in lanes for reading in (lane.sweeps[k] if k < len(lane.sweeps) else [])]
        for k in range(max(len(lane.sweeps) for lane in lanes))
    ]
    return Grown(first.boosters, sweeps, first.seconds)
