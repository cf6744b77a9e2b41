"""The work that every alternative does: which columns, how the time is told, and in which form."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NUMERIC = (
    "age",
    "relevance",
    "bid",
    "session_seconds",
    "scroll_depth",
    "ad_quality",
    "pages_seen",
    "past_clicks",
    "past_views",
    "mood",
    "latency",
    "spend",
)
TEXT = ("publisher", "campaign", "country", "device")
TARGET = "click"
ROWS_A_BATCH = 250_000
ALPHA = 1e-6


class Clock:
    """Wall time of named stages; what is not in a stage (imports, starting a cluster) is not counted."""

    def __init__(self):
        self.stages = {}

    @contextmanager
    def stage(self, name):
        started = time.perf_counter()
        yield
        self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - started

    @property
    def seconds(self):
        return sum(self.stages.values())


def arguments():
    """Read the command line of an alternative: DATA [--workers N] [--memory BYTES]."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="1GiB")
    given = parser.parse_args()
    given.files = sorted(str(path) for path in given.data.rglob("*.parquet"))
    return given


def wake(client):
    """Wait until workers have loaded what they load when they start; the alternatives' imports are not counted either."""
    for address in client.scheduler_info(n_workers=-1)["workers"]:
        client.submit(_awake, workers=[address], pure=False).result()


def _awake():
    return True


def tell(rows, clock, packages, **more):
    """Print the one line that `measure.py` reads."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    stages = {name: round(seconds, 4) for name, seconds in clock.stages.items()}
    document = {
        "rows": rows,
        "seconds": round(clock.seconds, 4),
        "stages": stages,
        "versions": versions,
        **more,
    }
    print(json.dumps(document), flush=True)
