from __future__ import annotations

import io

from headrace.cli.progress import PlainLines, watching
from headrace.engine.events import (
    ChunkDone,
    EpochScored,
    Event,
    Note,
    PassEnded,
    PassStarted,
    StageStarted,
)

EVENTS: list[Event] = [
    StageStarted("profile", "1,000 rows"),
    PassStarted("profile", chunks=10, rows=1000, bytes=10_000_000),
    *(ChunkDone("profile", rows=100, bytes=1_000_000, worker="w", memory_peak=300 << 20) for _ in range(10)),
    PassEnded("profile", rows=1000, bytes=10_000_000, seconds=2.0),
    EpochScored(1, {"logistic": 0.7, "bayes": 0.8}),
    Note("int32 read as int64"),
]


def lines(seconds_a_chunk: float) -> list[str]:
    now = 0.0
    written: list[str] = []
    progress = PlainLines(written.append, clock=lambda: now)
    for event in EVENTS:
        if isinstance(event, ChunkDone):
            now += seconds_a_chunk
        progress(event)
    return written


def test_a_short_pass_is_one_line_with_rows_time_and_rate():
    assert lines(0.01) == [
        "profile: 1,000 rows",
        "profile: 1,000 rows, 2.0 s, 5.0 MB/s",
        "epoch 1: bayes 0.8000, logistic 0.7000",
        "note: int32 read as int64",
    ]


def test_a_long_pass_tells_at_most_every_five_seconds():
    told = [line for line in lines(2.0) if " of 1,000 rows" in line]
    assert told[0] == "profile: 300 of 1,000 rows, 0.5 MB/s, 14.0 s left, 300.0 MiB a worker"
    assert len(told) == 3


def test_what_is_no_terminal_gets_plain_lines():
    stream = io.StringIO()
    with watching(stream) as subscriber:
        for event in EVENTS:
            subscriber(event)
    assert stream.getvalue().splitlines() == lines(0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_bars_and_the_lines_that_matter():
    stream = Terminal()
    with watching(stream) as subscriber:
        for event in EVENTS:
            subscriber(event)
    text = stream.getvalue()
    assert "profile: 1,000 rows, 2.0 s" in text
    assert "note: int32 read as int64" in text
