"""Lanes of a stream: several chains for one, when they meet, and how they go on from committed pieces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future

    from headrace.engine.commits import Commits
    from headrace.engine.ledger import Progress

T = TypeVar("T")


def same(state: Any) -> Any:
    """Return the state of the only lane."""
    return state


@dataclass(frozen=True)
class Lanes:
    """Several chains for one: block p of the order goes to lane p modulo `count`."""

    count: int = 1
    every: int = 1
    """Blocks of each lane from one mixing to the next; at the end of a pass, and at a pause, lanes are always mixed."""
    mix: Callable[..., Any] = same
    """``mix(state of lane 0, ...) -> state``; must not change the states it is given."""

    def meet_at(self, position: int, end: int) -> bool:
        """Whether lanes are mixed once so many blocks were given out."""
        return self.count > 1 and (position == end or position % (self.count * self.every) == 0)


def deal(items: Sequence[T], hands: int) -> list[list[T]]:
    """Cut a sequence into runs of about equal length, at least one and at most `hands`.

    Examples
    --------
    >>> deal("abcde", 2)
    [['a', 'b'], ['c', 'd', 'e']]
    """
    hands = max(1, min(hands, len(items)))
    bounds = [len(items) * hand // hands for hand in range(hands + 1)]
    return [list(items[low:high]) for low, high in pairwise(bounds)]


def label(lane: int, number: int | None = None) -> str:
    """Name a piece of a lane's state in the ledger, or the beginning of such names.

    Examples
    --------
    >>> label(1, 3)
    'state-01-0003'
    """
    return f"state-{lane:02}-" + ("" if number is None else f"{number:04}")


def mixed(client: Client, grid: list[list[Future[Any]]], lanes: Lanes) -> list[list[Future[Any]]]:
    """Let the chains of all lanes meet; from here on every lane begins with the same states."""
    if lanes.count == 1:
        return grid
    whole = [client.submit(lanes.mix, *chain, pure=False) for chain in zip(*grid, strict=True)]
    return [whole] * lanes.count


def restored(commits: Commits, known: Progress, chains: int, lanes: Lanes) -> list[list[Future[Any]]]:
    """Deal the committed pieces of each lane to as many chains as there are now, neighbours together."""
    grid = []
    for lane in range(lanes.count):
        labels = sorted(name for name in known.state if name.startswith(label(lane)))
        if labels or lane == 0:
            dealt = deal(commits.pieces(known, labels), chains)
            grid.append([commits.root(pieces) for pieces in dealt])
    return grid if len(grid) == lanes.count else [grid[0]] * lanes.count
