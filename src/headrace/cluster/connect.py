"""A cluster file made real: workers started, quiet, one thread per core, closed without a trace."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from headrace.cluster.settling import settled
from headrace.engine import rooms
from headrace.engine.terminations import listen
from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from distributed import Client

    from headrace.cluster.config import ClusterFile
    from headrace.cluster.workers import Workers

# Work is parallel over chunks; threads inside BLAS or OpenMP would only fight for the same cores, and their number
# would show in the last bits of sums.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)

# Chunks are of one size, so the memory of one serves the next. Dask's own setting gives every freed array back to the
# system at once, whose zeroed pages then cost a third of a pass; all of it kept lies in pieces among what lives longer: over
# 120 chunks a worker then took 600 MiB in place of 530.
KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's ``malloc.h``."""
LARGE_ARRAY, KEPT_FREE = 16 << 20, 64 << 20
"""Bytes from which an array has memory of its own, and that are kept when they are free, when the workers are threads of this process."""

TERMINATE_FRACTION = 1.5
"""Share of a worker's budget at which the nanny ends it.

The budget is kept by headrace itself: chunk size and chunks in flight follow from it, and the peak is recorded. Dask's
own devices do not fit: spilling moves only results that Dask holds (ours are small sketches), and a paused worker
never resumes, because freeing its memory needs the very tasks that the pause holds back. The nanny looks
every 100 ms at resident memory, which includes what the allocator will give back a moment later, so ending a worker
at 95 % would lose good runs to a harmless spike. At half as much again it is no spike: the next to suffer is the
machine, so the worker ends and Dask retries its chunk elsewhere.
"""


NO_WORKERS_TIMEOUT = "120s"
"""A run ends, and can be resumed, when it has been without any worker for so long."""


@contextmanager
def connect(cluster: ClusterFile) -> Iterator[Client]:
    """Start the workers of `cluster` on this machine and yield a client connected to them.

    Parameters
    ----------
    cluster : ClusterFile
        A cluster of kind ``laptop``.

    Yields
    ------
    distributed.Client
        Closed, and its workers with it, when the context ends, however it ends.

    Raises
    ------
    InputError
        When workers could keep nothing in the local directory.
    """
    import dask
    from distributed import Client, LocalCluster

    if cluster.local_directory is not None:
        _require_writable(cluster.local_directory)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(dask.config.set(settings_of(cluster)))
        loading = Thread(target=load, args=(LOADED_HERE,), daemon=True)
        if cluster.processes:
            stack.enter_context(dask.config.set({"distributed.worker.preload": [*LOADED, SILENCE]}))
            loading.start()
        else:
            stack.callback(rooms.tidy, idle=0)
            stack.enter_context(_one_thread_here())
            _give_back_large_arrays()
        count = cluster.worker_count
        start: Any = LocalCluster  # untyped
        workers: Any = stack.enter_context(
            start(
                host="127.0.0.1" if cluster.processes else None,
                protocol="tcp://" if cluster.processes else "inproc://",
                n_workers=cluster.process_count,
                threads_per_worker=cluster.threads if cluster.processes else count * cluster.threads,
                processes=cluster.processes,
                memory_limit=cluster.process_memory,
                dashboard_address="127.0.0.1:0" if cluster.dashboard == "off" else cluster.dashboard,
                worker_dashboard_address="127.0.0.1:0",
                local_directory=cluster.local_directory,
                silence_logs=logging.ERROR,  # quiet() puts the levels of this process back
            )
        )
        client: Any = Client  # untyped
        connected = stack.enter_context(client(workers))
        if cluster.processes:
            listen(connected)
            loading.join()
        else:
            load(WARM_THREADS)
            stack.enter_context(settled())
        yield connected


def _require_writable(directory: str) -> None:
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory):
            pass
    except OSError as error:
        raise InputError(
            f"cannot be written to ({error.strerror})",
            where=f"local_directory: {directory}",
            mend="name another directory in the cluster file, or leave it out",
        ) from error


SILENCE = "headrace.cluster.silence"
"""Makes worker processes of this machine print nothing of their own: their standard error is that of the run."""
LOADED = ["headrace.profiling.measure", "headrace.training.streaming", "sklearn.linear_model"]
"""What tasks are made of. A worker loads it before it asks for any: two threads that load one package at once, such as one that takes a
message in and one that works, each may find the other's half loaded, and the worker is lost."""
WARM_THREADS = ("pandas",)
"""What pyarrow loads with the first column that it hands to numpy: every thread would wait for it."""
LOADED_HERE = ("sklearn.linear_model", "sklearn.metrics", "headrace.skopsio")
"""What this process will need, loaded while its workers load theirs, and before they send it anything."""


def load(modules: Iterable[str]) -> None:
    """Import modules by name."""
    from importlib import import_module

    for name in modules:
        import_module(name)


def settings_of(cluster: Workers) -> dict[str, Any]:
    """Dask settings of a scheduler and its workers, whatever the kind."""
    settings: dict[str, Any] = {
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": TERMINATE_FRACTION,
        "distributed.worker.profile.enabled": False,
        # Dask counts the workers before the last: with 2, the third worker that a chunk ends is the last
        "distributed.scheduler.allowed-failures": cluster.retries,
        # without it a run whose workers cannot start again waits for ever
        "distributed.scheduler.no-workers-timeout": NO_WORKERS_TIMEOUT,
        "distributed.worker.preload": [],
        "distributed.nanny.preload": [],
        "distributed.admin.system-monitor.gil.enabled": False,
        # each server looks 50 times a second whether it is late; threads that work share Python's lock with it
        "distributed.admin.tick.interval": "1s",
        # its messages for developers are kept whole, and ours carry states: a thousand may take a gigabyte
        "distributed.admin.low-level-log-length": 0,
        # libraries read these once, when they are loaded, so they must be there before the process is
        "distributed.nanny.pre-spawn-environ": {**ONE_THREAD, **KEPT_MEMORY},
    }
    if cluster.dashboard == "off":
        # Dask's HTTP server always listens (here on loopback, on any port); without a dashboard it serves nothing
        settings["distributed.scheduler.http.routes"] = []
        settings["distributed.worker.http.routes"] = []
        # each server measures its process and all disks twice a second for that dashboard
        settings["distributed.admin.system-monitor.interval"] = "2s"
        settings["distributed.admin.system-monitor.disk"] = False
    return settings


@contextmanager
def _one_thread_here() -> Iterator[None]:
    """Pin BLAS and OpenMP in this process: by environment for those yet to be loaded, by call for the others."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _give_back_large_arrays() -> None:
    """Let the allocator of this process give large arrays back when they are freed, and keep memory for small ones.

    By itself glibc raises the size from which it does so up to 32 MiB with every array that is freed. The matrices of
    chunks then lie among what lives longer, in a heap for each thread: over 40 chunks half a gibibyte was free and lost.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_THRESHOLD, LARGE_ARRAY)
        allocator.mallopt(M_TRIM_THRESHOLD, KEPT_FREE)


@contextmanager
def quiet() -> Iterator[None]:
    """Let Dask log errors only, while the cluster lives and while it closes; of the client not even these, for it raises them too."""
    levels = dict.fromkeys(
        ("distributed", "distributed.nanny", "distributed.worker", "tornado"), logging.ERROR
    )
    loggers = {
        logging.getLogger(name): level
        for name, level in {**levels, "distributed.client": logging.CRITICAL}.items()
    }
    before = [logger.level for logger in loggers]
    for logger, level in loggers.items():
        logger.setLevel(level)
    # Stays: what the cluster left behind is only collected, and told, later, when the process ends at the latest.
    logging.getLogger("asyncio").addFilter(_is_news)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether asyncio tells of more than a wait with a time limit that a closing cluster left behind."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, TimeoutError) and "was never retrieved" in record.getMessage())
