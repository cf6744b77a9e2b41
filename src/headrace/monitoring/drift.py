"""How far inputs and scores have moved from training, with a stated rate of false alarms (pure)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import special

from headrace.monitoring import distances

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.monitoring.grids import ColumnGrid
    from headrace.monitoring.tallies import Tally

FALSE_ALARMS = 0.001
"""Probability that any column of a window is told to have moved when none has."""
LEAST_ROWS = 50
"""Rows below which nothing is said of a window."""
GROUPS = 10
"""Cells of the stability index and of chi-squared, for numbers."""
MUCH = {"psi": 0.25, "ks": 0.2, "missing": 0.1, "outside": 0.05, "unseen": 0.05}
"""From here a column has moved much: index and distance beyond chance, and shares of rows more than in training."""
LITTLE = 0.4
"""Of that, from here it has moved a little."""

State = Literal["", "steady", "little", "much"]


@dataclass(frozen=True)
class ColumnDrift:
    """How one column has moved.

    Attributes
    ----------
    column : str
    rows : int
    state : {"", "steady", "little", "much"}
        "" when there are too few rows, or nothing to compare with. A column has moved when chance would seldom do it
        (see `FALSE_ALARMS`) and it is by as much as matters (see `MUCH`).
    size : float
        The largest of what moved, each as a share of `MUCH`; 0 when chance explains it.
    chance : float
        Probability of what is seen when nothing moved, corrected for the tests of the column.
    psi, psi_chance : float
        Stability index, and what chance makes of it on average.
    js : float
        Jensen-Shannon divergence, in nats.
    ks : float or None
        Kolmogorov-Smirnov distance; None for categories.
    wasserstein : float or None
        In units of the column; None for categories.
    chi_square : float
        Statistic of two samples.
    free : int
        Its degrees of freedom.
    missing, missing_before : float
        Share of rows.
    outside : float
        Share of rows below the least or above the largest of training.
    unseen : float
        Share of rows with a category that training did not hold.
    new : tuple of pairs of str and int
        Such categories, with their rows.
    why : str
        What moved most.
    """

    column: str
    rows: int
    state: State = ""
    size: float = 0.0
    chance: float = 1.0
    psi: float = 0.0
    psi_chance: float = 0.0
    js: float = 0.0
    ks: float | None = None
    wasserstein: float | None = None
    chi_square: float = 0.0
    free: int = 0
    missing: float = 0.0
    missing_before: float = 0.0
    outside: float = 0.0
    unseen: float = 0.0
    new: tuple[tuple[str, int], ...] = ()
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        return {**asdict(self), "new": [list(pair) for pair in self.new]}


def find_drift(
    grids: Mapping[str, ColumnGrid],
    tallies: Mapping[str, Tally],
    *,
    false_alarms: float = FALSE_ALARMS,
    errors: Mapping[str, float] | None = None,
) -> dict[str, ColumnDrift]:
    """Compare the columns of a window with training.

    Parameters
    ----------
    grids, tallies : mapping of str
        By column; columns that are in one alone are passed over.
    false_alarms : float
        Probability that any column is told to have moved when none has, whatever the number of rows. It is shared
        evenly among columns, and within a column among its tests (Bonferroni): so it holds when columns hang together.
    errors : mapping of str to float, optional
        Proved error of the shares in a tally that was made from a sketch.

    Returns
    -------
    dict of str to ColumnDrift
    """
    names = [name for name in grids if name in tallies]
    return {
        name: column_drift(
            grids[name],
            tallies[name],
            false_alarms=false_alarms / max(1, len(names)),
            error=(errors or {}).get(name, 0.0),
        )
        for name in names
    }


def column_drift(grid: ColumnGrid, tally: Tally, *, false_alarms: float, error: float = 0.0) -> ColumnDrift:
    """Compare one column with training; see `find_drift`."""
    now, before = tally.counts.astype(np.float64), grid.reference
    n, m = float(now.sum()), float(before.sum())
    if not n or not m:
        return ColumnDrift(grid.name, int(n))
    whole: dict[str, Any] = _shares_beside(grid, tally, n, m)
    tests: dict[str, float] = {"missing": distances.rate_chance(now[-1], n, before[-1], m)}
    if grid.ordered:
        tests["outside"] = min(1.0, 2 * min(distances.rate_chance(now[i], n, before[i], m) for i in (0, -2)))
    elif grid.known:
        tests["unseen"] = distances.new_values_chance(now[-2], n, m, grid.singles)
    found: dict[str, Any] = {}
    sizes = {
        "missing": abs(whole["missing"] - whole["missing_before"]),
        "outside": whole["outside"] - (before[0] + before[-2]) / m if grid.ordered else 0.0,
        "unseen": whole["unseen"],
    }
    valid, known = float(now[:-1].sum()), float(before[:-1].sum())
    if grid.compared and valid and known:
        found, chances, moved = _distribution(grid, tally, error + grid.error)
        tests |= chances
        sizes |= moved
    chance = min(1.0, min(tests.values()) * len(tests))
    sure = n >= LEAST_ROWS and chance < false_alarms
    # what moved is told of the tests that chance does not explain
    by = {
        name: sizes[name] / MUCH[name]
        for name in sizes
        if tests.get("chi-square" if name == "psi" else name, 1.0) * len(tests) < false_alarms
    }
    size = max(by.values(), default=0.0) if sure else 0.0
    state: State = "" if n < LEAST_ROWS else "much" if size >= 1 else "little" if size >= LITTLE else "steady"
    why = max(by, key=by.__getitem__) if sure and by else ""
    new = tuple(sorted(tally.unseen.items(), key=lambda pair: (-pair[1], pair[0]))[:5])
    return ColumnDrift(grid.name, int(n), state, max(0.0, size), chance, **found, **whole, new=new, why=why)


def score_drift(
    grids: Mapping[str, ColumnGrid], tallies: Mapping[str, Tally], *, false_alarms: float = FALSE_ALARMS
) -> dict[str, ColumnDrift]:
    """Compare what a model says with what it said of the test rows; as `find_drift`."""
    return find_drift(grids, tallies, false_alarms=false_alarms)


def psi_limit(
    rows: float, reference: float, cells: int = GROUPS, *, false_alarms: float = FALSE_ALARMS
) -> float:
    """Return the stability index that chance exceeds with the probability `false_alarms`.

    Times n m / (n + m) the index of n and m rows of one distribution is chi-squared with cells - 1 degrees of freedom
    (Yurdakul and Naranjo 2020), so a fixed limit of 0.1 is crossed by chance alone in most windows of 100 rows.

    Examples
    --------
    >>> round(psi_limit(100, 1e6), 2), round(psi_limit(100_000, 1e6), 4)
    (0.28, 0.0003)
    """
    return float(special.chdtri(cells - 1, false_alarms)) * (1 / rows + 1 / reference)


def _shares_beside(grid: ColumnGrid, tally: Tally, n: float, m: float) -> dict[str, float]:
    now, before = tally.counts, grid.reference
    return {
        "missing": float(now[-1] / n),
        "missing_before": float(before[-1] / m),
        "outside": float((now[0] + now[-2]) / n) if grid.ordered else 0.0,
        "unseen": 0.0 if grid.ordered else float(now[-2] / n),
    }


def _distribution(
    grid: ColumnGrid, tally: Tally, error: float
) -> tuple[dict[str, Any], dict[str, float], dict[str, float]]:
    """Distances of the values that are not missing, the chance of each, and their sizes beyond chance."""
    now, before = tally.counts[:-1].astype(np.float64), grid.reference[:-1]
    n, m = float(now.sum()), float(before.sum())
    a, b = _grouped(grid, now, before)
    index = distances.stability_index(a, b)
    statistic, free = distances.chi_square(*distances.pooled(a, b))
    # two edges misplaced by the error change a cell by twice that: sum over cells of (2 error)^2 / (1 / cells)
    displaced = (2 * len(a) * error) ** 2
    average = (len(a) - 1) * (1 / n + 1 / m) + displaced
    found: dict[str, Any] = {
        "psi": index,
        "psi_chance": average,
        "js": distances.jensen_shannon(now, before),
        "chi_square": statistic,
        "free": free,
    }
    chances = {"chi-square": distances.chi_square_chance(statistic, free, displaced * n * m / (n + m))}
    sizes = {"psi": max(0.0, index - average)}
    if grid.ordered:
        distance = distances.kolmogorov_smirnov(now, before)
        beyond = tally.below + tally.above
        found |= {
            "ks": distance,
            "wasserstein": distances.wasserstein(now, before, grid.cuts, grid.low, grid.high, beyond=beyond),
        }
        chances["ks"] = distances.kolmogorov_chance(distance, n, m, error)
        # the mean of Kolmogorov's distribution is sqrt(pi / 2) ln 2
        sizes["ks"] = max(0.0, distance - error - 0.8687 * math.sqrt(1 / n + 1 / m))
    return found, chances, sizes


def _grouped(
    grid: ColumnGrid, now: NDArray[np.float64], before: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cells of numbers put together to tenths of the reference; of categories the 19 most frequent and all others."""
    if not grid.ordered:
        if len(before) <= 2 * GROUPS:
            return now, before
        head = 2 * GROUPS - 1
        return np.append(now[:head], now[head:].sum()), np.append(before[:head], before[head:].sum())
    upto = np.cumsum(before) / before.sum()
    # a cell belongs to the tenth in which its middle lies
    middle = upto - before / before.sum() / 2
    group = np.clip((middle * GROUPS).astype(int), 0, GROUPS - 1)
    _, group = np.unique(group, return_inverse=True)
    a, b = (np.bincount(group, weights=side).astype(np.float64) for side in (now, before))
    return a, b
