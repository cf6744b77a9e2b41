# ruff: noqa: INP001  beside the script that uses it
"""The two samples of the example: what their columns are, and what changes in them without anyone being told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Feed:
    """Where rows come from, and how some columns of it change one day."""

    name: str
    """Of the model."""
    target: str
    time: str
    change: str
    """What happened, in words."""
    columns: dict[str, Callable[[Any], Any]]
    """Each column that changes, and its new value from the old one."""
    options: tuple[str, ...] = ()
    """Of ``headrace sample``."""

    def changed(self, row: dict[str, Any]) -> dict[str, Any]:
        """Write a row as it comes after the change."""
        moved = {name: write(row[name]) for name, write in self.columns.items() if row.get(name) is not None}
        return {**row, **moved}


FEEDS = {
    "flights": Feed(
        "late",
        "late",
        "time_hour",
        "the schedule comes in UTC, five hours later than in New York",
        {
            "hour": lambda hour: (hour + 5) % 24,
            "sched_dep_time": lambda clock: (clock + 500) % 2400,
        },
    ),
    "clicks": Feed(
        "click",
        "click",
        "time",
        "relevance comes as a distance, so that small is good",
        {"relevance": lambda relevance: 3.0 - relevance},
        ("--rows", "300000"),
    ),
}
