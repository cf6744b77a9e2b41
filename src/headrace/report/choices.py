"""What nested folds chose, and what the choice reaches, as the page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.report import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Choice:
    """What was chosen in one outer fold."""

    fold: str
    candidate: str
    settings: str
    inner: str
    score: str


@dataclass(frozen=True)
class Nested:
    """The score of the choice itself."""

    score: str
    interval: str
    choices: tuple[Choice, ...]


def nested_choices(leaderboard: Mapping[str, Any]) -> Nested | None:
    """Return what nested folds say; None without any."""
    held = leaderboard.get("nested")
    if not held:
        return None
    low, high = held.get("interval") or (None, None)
    choices = tuple(
        Choice(
            each["fold"],
            each["candidate"],
            ", ".join(f"{key}={value}" for key, value in {**each["params"], **each["prepare"]}.items()),
            numbers.score(each["inner"]),
            numbers.score(each["score"]),
        )
        for each in held["choices"]
    )
    said = "" if low is None else f"{numbers.score(low)} to {numbers.score(high)}"
    return Nested(numbers.score(held["value"]), said, choices)
