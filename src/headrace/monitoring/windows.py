"""A window: what one version and arm of a model took and gave in a minute, an hour or a day (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Self

from headrace.monitoring.performance import Outcomes, Traffic
from headrace.monitoring.tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTE, HOUR, DAY = 60, 3600, 86_400
SPANS = {"minute": MINUTE, "hour": HOUR, "day": DAY}


@dataclass(frozen=True)
class Window:
    """Counts of one version and arm over a span of time.

    Attributes
    ----------
    version : str
        Name and version of the model, such as ``late@3``; the name alone of what belongs to no version.
    arm : str
        ``champion``, ``challenger``, ``batch``; "" for the requests and failures of the whole server.
    start, end : int
        Seconds since 1970; the end is not in it.
    grid : str
        Digest of the cells that were counted in.
    rows : int
    inputs, scores : dict of str to Tally
    outcomes : Outcomes
        Of the labels that *came* in this span.
    traffic : Traffic
    """

    version: str
    arm: str
    start: int
    end: int
    grid: str = ""
    rows: int = 0
    inputs: dict[str, Tally] = field(default_factory=dict)
    scores: dict[str, Tally] = field(default_factory=dict)
    outcomes: Outcomes = field(default_factory=Outcomes)
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def key(self) -> tuple[str, str, str]:
        """What windows must share to be merged."""
        return self.version, self.arm, self.grid

    def merge(self, other: Self) -> Self:
        """Return the window of both; it reaches from the earlier start to the later end."""
        assert self.key == other.key
        return replace(
            self,
            start=min(self.start, other.start),
            end=max(self.end, other.end),
            rows=self.rows + other.rows,
            inputs=_merged(self.inputs, other.inputs),
            scores=_merged(self.scores, other.scores),
            outcomes=self.outcomes.merge(other.outcomes),
            traffic=self.traffic.merge(other.traffic),
        )

    def told(self) -> Self:
        """Return what may be stored; see `Tally.told`."""
        return replace(
            self,
            inputs={name: tally.told() for name, tally in self.inputs.items()},
            scores={name: tally.told() for name, tally in self.scores.items()},
        )

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        return {
            "version": self.version,
            "arm": self.arm,
            "start": self.start,
            "end": self.end,
            "grid": self.grid,
            "rows": self.rows,
            "inputs": {name: tally.state() for name, tally in self.inputs.items()},
            "scores": {name: tally.state() for name, tally in self.scores.items()},
            "outcomes": self.outcomes.state(),
            "traffic": self.traffic.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        parts = {
            "inputs": {name: Tally.from_state(held) for name, held in state["inputs"].items()},
            "scores": {name: Tally.from_state(held) for name, held in state["scores"].items()},
            "outcomes": Outcomes.from_state(state["outcomes"]),
            "traffic": Traffic.from_state(state["traffic"]),
        }
        return cls(**{**state, **parts})


def floor(at: float, span: int) -> int:
    """Return when the span began in which `at` lies.

    Examples
    --------
    >>> floor(125.5, 60)
    120
    """
    return int(at // span) * span


def merge_by(windows: Iterable[Window], span: int) -> list[Window]:
    """Merge windows of the same version, arm and cells that begin in the same span, in order of time.

    Parameters
    ----------
    windows : iterable of Window
    span : int
        Seconds, such as 60, 3600 or 86400.
    """
    groups: dict[tuple[int, tuple[str, str, str]], list[Window]] = {}
    for window in windows:
        groups.setdefault((floor(window.start, span), window.key), []).append(window)
    merged = []
    for (start, _), group in sorted(groups.items()):
        whole = reduce(Window.merge, group)
        merged.append(replace(whole, start=start, end=max(start + span, whole.end)))
    return merged


def whole(windows: Iterable[Window]) -> list[Window]:
    """Merge all windows of the same version, arm and cells, in order of version and arm."""
    groups: dict[tuple[str, str, str], list[Window]] = {}
    for window in windows:
        groups.setdefault(window.key, []).append(window)
    return [reduce(Window.merge, group) for _, group in sorted(groups.items())]


def _merged(a: dict[str, Tally], b: dict[str, Tally]) -> dict[str, Tally]:
    both = {name: tally.merge(b[name]) if name in b else tally for name, tally in a.items()}
    return both | {name: tally for name, tally in b.items() if name not in a}
