"""Rungs: after how many rows how many candidates of a bracket go on, and which; pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Rung:
    """A border in the stream at which losers are dropped."""

    rows: int
    """Rows of data read until then, over all epochs."""
    keep: int
    """Candidates of the bracket that go on."""
    members: frozenset[str]
    """Names of the candidates of the bracket."""


def halving_rungs(
    names: Sequence[str], *, most: int, eta: int, borders: int | None = None
) -> tuple[Rung, ...]:
    """Plan successive halving (Jamieson & Talwalkar 2016): at each rung one in `eta` goes on, with `eta` times the rows.

    Parameters
    ----------
    names : sequence of str
        Candidates.
    most : int
        Rows that the last ones read.
    eta : int
        From 2 up.
    borders : int, optional
        Rungs at most; by default as many as leave one candidate.

    Returns
    -------
    tuple of Rung
        In the order of rows; the last one is at ``most / eta``.

    Examples
    --------
    >>> [(rung.rows, rung.keep) for rung in halving_rungs([str(n) for n in range(9)], most=900, eta=3)]
    [(100, 3), (300, 1)]
    """
    keeps: list[int] = []
    alive = len(names)
    while alive > 1 and (borders is None or len(keeps) < borders):
        alive = max(1, alive // eta)
        keeps.append(alive)
    members = frozenset(names)
    return tuple(
        Rung(max(1, most // eta ** (len(keeps) - number)), keep, members) for number, keep in enumerate(keeps)
    )


def hyperband_brackets(candidates: int, *, eta: int) -> list[tuple[int, int]]:
    """Divide candidates among the brackets of Hyperband (Li et al. 2018), which trade their number for their rows.

    Returns
    -------
    list of (candidates, borders)
        Bracket s has s rungs and in proportion ``eta**s / (s + 1)`` candidates, at least as many as it has rungs left
        to climb; all brackets are fed by the same read of the data.

    Examples
    --------
    >>> hyperband_brackets(27, eta=3)
    [(16, 2), (7, 1), (4, 0)]
    """
    largest = max(0, math.floor(math.log(max(1, candidates), eta) + 1e-9) - 1)
    shares = [eta**s / (s + 1) for s in range(largest, -1, -1)]
    sizes = [max(1, math.floor(candidates * share / sum(shares))) for share in shares]
    sizes[0] += candidates - sum(sizes)
    return list(zip(sizes, range(largest, -1, -1), strict=True))


def positions(rungs: Sequence[Rung], rows: Sequence[int], *, epoch: int) -> dict[int, list[int]]:
    """Place rungs in an epoch.

    Parameters
    ----------
    rungs : sequence of Rung
    rows : sequence of int
        Rows of the chunks in the order of the epoch.
    epoch : int
        Counted from 1; all epochs read equally many rows.

    Returns
    -------
    dict of int to list of int
        Number of chunks read in this epoch (from 1) to the numbers of the rungs that are due then: where the rows read
        first reach those of the rung.
    """
    total = sum(rows)
    found: dict[int, list[int]] = {}
    for number, rung in enumerate(rungs):
        wanted = rung.rows - (epoch - 1) * total
        if not 0 < wanted <= total:
            continue
        read = 0
        for place, size in enumerate(rows, 1):
            read += size
            if read >= wanted:
                found.setdefault(place, []).append(number)
                break
    return found


def losers(rung: Rung, scores: Mapping[str, float]) -> list[str]:
    """Name the members of a bracket that are dropped; `scores` are those of the candidates still there."""
    there = sorted((name for name in scores if name in rung.members), key=lambda name: (-scores[name], name))
    return there[rung.keep :]
