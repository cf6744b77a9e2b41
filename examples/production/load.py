# ruff: noqa: INP001  beside the script that uses it
"""Clients that ask a model one row at a time, and tell the true label some seconds later. Run by Locust."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feeds import FEEDS
from locust import FastHttpUser, constant_throughput, events, task

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

REQUESTS_A_SECOND = 10
"""Of one client."""


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Take what this load needs to know beside Locust's own options."""
    parser.add_argument("--feed", choices=sorted(FEEDS), required=True)
    parser.add_argument("--rows", required=True, help="rows with their labels, one JSON object a line")
    parser.add_argument("--changed-when", required=True, help="file that is there once the feed has changed")
    parser.add_argument(
        "--labels-after", type=float, default=10.0, help="seconds from an answer to its label"
    )


@events.test_start.add_listener
def begin(environment: Any, **_: Any) -> None:
    """Read the rows once for all clients, which take turns."""
    options = environment.parsed_options
    Client.feed = FEEDS[options.feed]
    Client.rows = itertools.cycle([json.loads(line) for line in Path(options.rows).read_text().splitlines()])
    Client.changed_when = Path(options.changed_when)
    Client.labels_after = options.labels_after


class Client(FastHttpUser):
    """Asks at a steady pace, whatever the answers take."""

    wait_time = constant_throughput(REQUESTS_A_SECOND)
    rows: Iterator[dict[str, Any]]
    feed: Any
    changed_when: Path
    labels_after: float

    def on_start(self) -> None:
        """Owe no labels yet."""
        self.owed: deque[tuple[float, str, Any]] = deque()

    @task
    def ask(self) -> None:
        """Ask about one row, and tell the labels that are known by now."""
        row = next(self.rows)
        label = row[self.feed.target]
        sent = {name: value for name, value in row.items() if name != self.feed.target}
        if self.changed_when.exists():
            sent = self.feed.changed(sent)
        answer = self.client.post("/v1/predict", json={"rows": [sent]})
        if answer.status_code == 200:
            self.owed.append((time.monotonic() + self.labels_after, answer.json()["request_id"], label))
        while self.owed and self.owed[0][0] <= time.monotonic():
            self.tell()

    def tell(self) -> None:
        """Tell the oldest label that is owed."""
        _, request_id, label = self.owed.popleft()
        self.client.post("/v1/feedback", json={"request_id": request_id, "labels": [label]})

    def on_stop(self) -> None:
        """Tell the rest."""
        while self.owed:
            self.tell()
