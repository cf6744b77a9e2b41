"""Progress of a run on stderr: bars on a terminal, few plain lines elsewhere; a subscriber of events."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TextIO

import typer

from headrace.cli.output import duration, size
from headrace.engine.events import (
    ChunkDone,
    EpochScored,
    Event,
    Note,
    PassEnded,
    PassStarted,
    StageStarted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.engine.events import Subscriber

QUIET_SECONDS = 5.0
"""Shortest time between two plain lines about one pass."""


@contextmanager
def watching(stream: TextIO | None = None) -> Iterator[Subscriber]:
    """Give a subscriber that shows progress on `stream`, stderr when left out, until the context ends."""
    stream = stream or sys.stderr
    if stream.isatty():
        with _Bars(stream) as bars:
            yield bars
    else:
        yield PlainLines(lambda line: typer.echo(line, file=stream))


class PlainLines:
    """Writes a line when a pass has ended, and at most one each five seconds while it goes on.

    Parameters
    ----------
    write : callable
        Takes one line.
    clock : callable, optional
        Seconds; for tests.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._tally = _Tally()
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        now = self._clock()
        if isinstance(event, PassStarted):
            self._tally = _Tally(event, now)
            self._last = now
        elif isinstance(event, ChunkDone):
            self._tally.add(event)
            if now - self._last >= QUIET_SECONDS:
                self._last = now
                self._write(f"{event.name}: {self._tally.text(now)}")
        else:
            self._write(describe(event))


class _Tally:
    """What a pass has done so far."""

    def __init__(self, start: PassStarted | None = None, now: float = 0.0) -> None:
        self.planned = start
        self.began = now
        self.rows = 0
        self.bytes = 0
        self.peaks: dict[str, int] = {}

    def add(self, event: ChunkDone) -> None:
        self.rows += event.rows
        self.bytes += event.bytes
        self.peaks[event.worker] = max(event.memory_peak, self.peaks.get(event.worker, 0))

    def text(self, now: float) -> str:
        total = self.planned.rows if self.planned else self.rows
        seconds = max(now - self.began, 1e-9)
        left = seconds * (total - self.rows) / self.rows if self.rows else 0.0
        memory = size(max(self.peaks.values(), default=0))
        return (
            f"{self.rows:,} of {total:,} rows, {self.bytes / seconds / 1e6:.1f} MB/s, "
            f"{duration(left)} left, {memory} a worker"
        )


def describe(event: Event) -> str:
    """Write an event as one line."""
    if isinstance(event, StageStarted):
        return f"{event.stage}: {event.detail}" if event.detail else event.stage
    if isinstance(event, PassStarted):
        return f"{event.name}: {event.rows:,} rows in {event.chunks} chunks, {size(event.bytes)}"
    if isinstance(event, PassEnded):
        rate = event.bytes / max(event.seconds, 1e-9) / 1e6
        return f"{event.name}: {event.rows:,} rows, {duration(event.seconds)}, {rate:.1f} MB/s"
    if isinstance(event, EpochScored):
        scores = sorted(event.scores.items(), key=lambda item: -item[1])
        return f"epoch {event.epoch}: " + ", ".join(f"{name} {score:.4f}" for name, score in scores)
    if isinstance(event, Note):
        return f"note: {event.text}"
    return f"{event.name}: {event.rows:,} rows"


class _Bars:
    """A bar for each pass, with rows, rate, time left and memory."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(file=stream, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rows]} rows"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[memory]}"),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._tally = _Tally()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, PassStarted):
            self._tally = _Tally(event, time.monotonic())
            self._forget()
            self._task = self._progress.add_task(event.name, total=event.rows, rows="0", rate="", memory="")
        elif isinstance(event, ChunkDone):
            self._tally.add(event)
            if self._task is not None:
                seconds = max(time.monotonic() - self._tally.began, 1e-9)
                self._progress.update(
                    self._task,
                    completed=self._tally.rows,
                    rows=f"{self._tally.rows:,}",
                    rate=f"{self._tally.bytes / seconds / 1e6:.0f} MB/s",
                    memory=size(max(self._tally.peaks.values(), default=0)),
                )
        else:
            if isinstance(event, PassEnded):
                self._forget()
            self._console.print(describe(event), markup=False)

    def _forget(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
