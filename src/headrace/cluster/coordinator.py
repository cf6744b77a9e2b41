"""The coordinator of a job: beats, logs, looks for a cancel, and tells how the run ended."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from headrace.cluster.jobs import (
    BEAT_SECONDS,
    SILENT_SECONDS,
    Heartbeat,
    Log,
    cancel_requested,
    read_heartbeat,
    watched,
    write_heartbeat,
)
from headrace.data.storage import exists, join
from headrace.engine.events import ChunkDone, PassStarted, StageStarted
from headrace.engine.lease import Holder
from headrace.engine.ledger import holds_records
from headrace.errors import HeadraceError, InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from headrace.cluster.jobs import Job
    from headrace.engine.events import Event, Subscriber

PASSED, FAILED, INTERRUPTED = 0, 1, 130
"""What the process of a coordinator ends with, as `headrace run` does; wrong input is 2, as its error says."""
AGAIN = 75
"""What it ends with when it should be started again: EX_TEMPFAIL of sysexits.h."""


class _Stopped(BaseException):
    """The platform asks the process to end."""


_RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: _Stopped}


def begun(url: str) -> bool:
    """Whether the run of a directory has begun, so that it is resumed."""
    return exists(join(url, "run.json")) or holds_records(join(url, "ledger"))


def lead(
    job: Job,
    work: Callable[[Sequence[Subscriber]], bool],
    lines: Callable[[Callable[[str], None]], Subscriber],
    *,
    dashboard: str = "off",
) -> int:
    """Do the work of a job in this process, and leave its end in the run directory.

    Parameters
    ----------
    job : Job
        What was submitted.
    work : callable
        ``work(subscribers) -> passed``: begins the run or goes on with it.
    lines : callable
        ``lines(write) -> subscriber``: makes lines of the log of events.
    dashboard : str
        Address of Dask's dashboard.

    Returns
    -------
    int
        Exit code for the platform: `AGAIN` when the job waits for another coordinator, and else that of the run, for which
        another would only come to the same end.

    Raises
    ------
    InputError
        When another coordinator is at work on the job.
    """
    before = read_heartbeat(job.url)
    # One that was killed a moment ago looks as alive as one that works: only another beat tells.
    if before is not None and before.state == "running" and not watched(job.url, before, SILENT_SECONDS)[1]:
        raise InputError(
            "another coordinator is at work on this job", where=job.url, mend="wait until it ends"
        )
    log = Log(job.url)
    pulse = _Pulse(job.url, log, dashboard)
    error, code = "", FAILED
    with pulse, _signals(pulse.interrupt):
        try:
            if cancel_requested(job.url):
                raise KeyboardInterrupt  # noqa: TRY301 - as if it came a moment later
            log.write(f"coordinator {pulse.now.pid} on {pulse.now.host.partition('/')[0]}")
            state, code = ("passed", PASSED) if work([pulse, lines(log.write)]) else ("missed", FAILED)
        except HeadraceError as failure:
            error = str(failure)
            state, code = ("stopped", AGAIN) if failure.passes else ("failed", failure.exit_code)
        except KeyboardInterrupt:
            state, code = ("cancelled", INTERRUPTED) if cancel_requested(job.url) else ("stopped", AGAIN)
        except _Stopped:
            state, code = "stopped", AGAIN
        except Exception as failure:  # noqa: BLE001 - nobody else is there to be told
            state, error = "failed", f"{type(failure).__name__}: {failure}"
            log.write(traceback.format_exc().rstrip())
        log.write(f"{state}: {error}" if error else state)
        pulse.end(state, error)
    return code


class _Pulse:
    """Beats in a thread, with what the events of the run say."""

    def __init__(self, url: str, log: Log, dashboard: str) -> None:
        holder = Holder.this_process()
        self.now = Heartbeat(holder.owner, holder.host, holder.pid, 0, time.time(), dashboard=dashboard)
        self._url = url
        self._log = log
        self._began = 0.0
        self._bytes = 0
        self._asked = False
        self._raised: type[BaseException] | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beats, name="headrace-job", daemon=True)

    def __enter__(self) -> Self:
        write_heartbeat(self._url, self.now)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if self._raised is not None:
            # It was swallowed where the signal came: Python ignores what is raised in a finalizer, say.
            raise self._raised
        with self._lock:
            if isinstance(event, StageStarted):
                self.now = replace(self.now, stage=event.stage)
            elif isinstance(event, PassStarted):
                self._began, self._bytes = time.monotonic(), 0
                self.now = replace(self.now, rows=0, rows_planned=event.rows, seconds_left=0.0)
            elif isinstance(event, ChunkDone):
                self._bytes += event.bytes
                seconds = max(time.monotonic() - self._began, 1e-9)
                rows = self.now.rows + event.rows
                left = seconds * max(0, self.now.rows_planned - rows) / rows if rows else 0.0
                peak = max(event.memory_peak, self.now.memory.get(event.worker, 0))
                self.now = replace(
                    self.now,
                    rows=rows,
                    bytes_per_second=round(self._bytes / seconds, 1),
                    seconds_left=round(left, 1),
                    memory={**self.now.memory, event.worker: peak},
                )

    def interrupt(self, number: int, _frame: FrameType | None) -> None:
        """Raise what a signal means, but not while the job ends already."""
        if self._raised is None and not self._stop.is_set():
            self._raised = _RAISED[signal.Signals(number)]
            raise self._raised

    def end(self, state: str, error: str) -> None:
        """Say the last word."""
        self._stop.set()
        self._thread.join(timeout=30)
        self._beat(state=state, error=error)

    def _beats(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # A store that fails for a moment costs a beat; the others watch for several.
            with suppress(StorageError):
                self._beat()
                if not self._asked and cancel_requested(self._url):
                    self._asked = True
                    os.kill(os.getpid(), signal.SIGINT)

    def _beat(self, state: str = "running", error: str = "") -> None:
        with self._lock:
            self.now = replace(self.now, beat=self.now.beat + 1, time=time.time(), state=state, error=error)
            now = self.now
        self._log.flush()
        write_heartbeat(self._url, now)


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Hear the signals that end a process; one started in the background may have been told to ignore them."""
    before = {number: signal.signal(number, handler) for number in _RAISED}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
