"""The six dimensions of quality as the page shows them: what each is about, its score, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TITLES = {
    "accuracy": ("Accuracy", "values in range, finite, of the right type"),
    "completeness": ("Completeness", "values that are there"),
    "consistency": ("Consistency", "rules, references, keys, equal rows"),
    "relevance": ("Relevance", "columns that tell something, and not the answer"),
    "timeliness": ("Timeliness", "age of the newest rows"),
    "collection": ("Collection method", "what is written down of how the data came"),
}


@dataclass(frozen=True)
class Side:
    """One dimension."""

    title: str
    about: str
    score: int | None
    """0 to 100; None when there is nothing to judge it from."""
    reasons: tuple[str, ...]
    """The heaviest first."""


def sides(dimensions: Iterable[Mapping[str, Any]]) -> tuple[Side, ...]:
    """Name the dimensions of a document ``checks.json``; none when it has none."""
    found = []
    for each in dimensions:
        title, about = TITLES.get(each["name"], (each["name"], ""))
        found.append(Side(title, about, each["score"], tuple(each["reasons"])))
    return tuple(found)
