"""Workers elsewhere joined to a run: started or found, waited for, compared, pinned to one thread in BLAS."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import WorkerPlugin

from headrace.cluster.certificates import AUTHORITY, Certificates, temporary_security
from headrace.cluster.connect import LOADED, ONE_THREAD, load, quiet, settings_of
from headrace.cluster.packages import send_packages
from headrace.cluster.versions import refuse_others, require_same_versions
from headrace.engine.terminations import PAUSED_MEND, listen, paused
from headrace.errors import HeadraceError, RunError, SchedulerLostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client, Scheduler
    from distributed.security import Security

    from headrace.cluster.workers import RemoteWorkers

logger = logging.getLogger("headrace")

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer."""


class Pinned(WorkerPlugin):
    """Gives a worker its environment, one thread to BLAS and OpenMP, and what tasks are made of, before its first task.

    Parameters
    ----------
    environment : dict
        Variables set besides.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def setup(self, worker: object) -> None:
        """Set the variables for libraries that are loaded later, call those that are loaded, and load what tasks need."""
        del worker
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

        os.environ.update({**ONE_THREAD, **self.environment})
        threadpool_limits(limits=1)
        with suppress(ImportError):  # a worker that lacks something is refused by name
            load(LOADED)


@contextmanager
def joined(cluster: RemoteWorkers) -> Iterator[Client]:
    """Start or find the workers of `cluster` and yield a client connected to them.

    Parameters
    ----------
    cluster : RemoteWorkers
        A cluster of any kind but ``laptop``.

    Yields
    ------
    distributed.Client
        Closed when the context ends, however it ends, and with it whatever was started for it.

    Raises
    ------
    InputError
        When certificates are missing or have expired.
    RunError
        When the scheduler cannot be reached or ends, workers do not come in time, or have other versions.
    """
    import dask

    if not cluster.encrypted and not cluster.on_this_machine:
        logger.warning(
            "WARNING: nothing between this process and the workers is encrypted, and whoever reaches the scheduler can "
            "run code on them; remove `tls: off` from the cluster file where the kind can encrypt"
        )
    with ExitStack() as stack:
        stack.enter_context(quiet())
        security = security_for(cluster)
        settings = {
            **settings_of(cluster),
            "distributed.scheduler.no-workers-timeout": f"{cluster.wait:.0f}s",
        }
        stack.enter_context(dask.config.set({**settings, **cluster.settings()}))
        with _told(cluster):
            client = _client(stack, cluster, security)
            listen(client)
            require_same_versions(client)
            if cluster.packages:
                send_packages(client, cluster.packages)
            client.register_plugin(Pinned(dict(cluster.environment)), name="headrace-worker")
            refuse_others(client)
            client.run_on_scheduler(_bound, seconds=cluster.wait)
        with _kept(client, cluster):
            yield client


def _bound(seconds: float, dask_scheduler: Scheduler) -> None:
    """Let a scheduler that would wait for ever for workers give up; one that has settings of its own keeps them."""
    if dask_scheduler.no_workers_timeout is None:
        dask_scheduler.no_workers_timeout = seconds


@contextmanager
def _kept(client: Client, cluster: RemoteWorkers) -> Iterator[None]:
    """Make one line of whatever fails because the scheduler is gone."""
    from distributed import CancelledError

    try:
        yield
    except HeadraceError:
        raise
    except Exception as error:
        # One that answers again has forgotten what it was asked for: Dask cancels all of it.
        if client.status == "running" and not isinstance(error, CancelledError):
            raise
        raise SchedulerLostError(
            "the scheduler ended, or the connection to it was lost",
            where=_place(cluster),
            mend="go on by --resume when it answers again",
        ) from error


def security_for(cluster: RemoteWorkers) -> Security | None:
    """Read or make the certificates that a cluster asks for; None when nothing is encrypted."""
    if not cluster.encrypted or cluster.brings_certificates:
        return None
    return cluster.tls.security() if isinstance(cluster.tls, Certificates) else temporary_security()


def _client(stack: ExitStack, cluster: RemoteWorkers, security: Security | None) -> Any:
    from distributed import Client

    target = stack.enter_context(cluster.deploy(security))
    if isinstance(target, str):
        _require_answer(target, security)
    start: Any = Client  # untyped
    client = stack.enter_context(start(target, security=security, timeout=CONNECT_SECONDS))
    try:
        client.wait_for_workers(cluster.fewest_workers, timeout=cluster.wait)
    except TimeoutError:
        present, held = len(client.nthreads()), paused(client)
        but = f", and {held} of them are paused, for they hold too much of their memory" if held else ""
        raise RunError(
            f"{present} of {cluster.fewest_workers} workers came within {cluster.wait:.0f} s{but}",
            mend=PAUSED_MEND
            if held
            else "look into their logs or the queue, or raise wait in the cluster file",
        ) from None
    return client


def _require_answer(address: str, security: Security | None) -> None:
    """Shake hands with a scheduler in bounded time: a client of Dask waits for ever for one that listens and is silent."""
    from distributed.comm import connect  # type: ignore[attr-defined]  # public there, but re-exported without the mark that mypy asks for

    options = {} if security is None else security.get_connection_args("client")

    async def greet() -> None:
        shaken: Any = connect(address, timeout=CONNECT_SECONDS, **options)
        comm = await asyncio.wait_for(shaken, CONNECT_SECONDS)
        await comm.close()

    # In a thread of its own, for that of a notebook has a loop that runs already.
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(asyncio.run, greet()).result()
        except TimeoutError as error:
            raise OSError(
                f"Timed out trying to connect to {address} after {CONNECT_SECONDS:.0f} s"
            ) from error


@contextmanager
def _told(cluster: RemoteWorkers) -> Iterator[None]:
    """Make one line of whatever hindered the start: the innermost reason, without a traceback."""
    try:
        yield
    except HeadraceError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise explained(error, cluster) from error


def explained(error: BaseException, cluster: RemoteWorkers) -> RunError:
    """Say why a cluster could not be joined."""
    reasons: list[BaseException] = []
    here: BaseException | None = error
    while here is not None and here not in reasons:
        reasons.append(here)
        here = here.__cause__ or here.__context__
    text = " ".join(str(reasons[0]).split()) or type(reasons[0]).__name__
    for reason in reasons:
        if isinstance(reason, ssl.SSLError) or "certificate" in str(reason) or "SSL" in str(reason):
            told = " ".join(str(getattr(reason, "verify_message", "") or reason).split())
            return RunError(
                f"scheduler and client do not trust each other's certificates ({told})",
                where=cluster.tls.file(AUTHORITY)
                if isinstance(cluster.tls, Certificates)
                else _place(cluster),
                mend="give both those of one headrace cluster certs that have not expired",
            )
    if isinstance(error, OSError):
        return RunError(
            f"the scheduler cannot be reached ({text[:300]})",
            where=_place(cluster),
            mend="check its address, that it runs, and the network between",
        )
    return RunError(f"the workers could not be started ({text[:500]})", where=_place(cluster))


def _place(cluster: RemoteWorkers) -> str:
    return f"kind: {getattr(cluster, 'kind', 'cluster')}"
