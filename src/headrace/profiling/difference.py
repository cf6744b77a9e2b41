"""Checks of one profile against another: columns that came or went, and distributions that moved (pure)."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from headrace.profiling.outcomes import Check, Status, same_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.profiling.profile import ColumnProfile, Profile

DRIFT_WARN, DRIFT_FAIL = 0.1, 0.2
"""Distance of two distributions beyond sampling noise, from which it is told and from which it fails."""
_GRID = (np.arange(256) + 0.5) / 256


def check_difference(profile: Profile, reference: Profile) -> Iterator[Check]:
    """Compare the columns, and each column's distribution, with a reference.

    Columns of the reference that are gone are told by its expectations; this tells the new ones.
    """
    for name in profile.columns:
        if name not in reference.columns:
            yield Check(
                "column", name, "warn", "not in the reference", exact=True, detail="it will not be used"
            )
    moved = False
    compared = 0
    for name, column in profile.columns.items():
        known = reference.columns.get(name)
        distance = None if known is None or known.kind != column.kind else _distance(column, known)
        if distance is None:
            continue
        compared += 1
        figure, beyond, exact = distance
        if beyond > DRIFT_WARN:
            moved = True
            status: Status = "fail" if beyond > DRIFT_FAIL else "warn"
            yield Check(
                "drift", name, status, figure, exact=exact, detail=f"fails from {DRIFT_FAIL} beyond noise"
            )
    if compared and not moved:
        yield Check("drift", "", "pass", f"none of {compared} columns moved", exact=False)


def _distance(a: ColumnProfile, b: ColumnProfile) -> tuple[str, float, bool] | None:
    """Figure, distance beyond noise, and whether it is exact; None when one has nothing to compare."""
    n, m = a.overall.valid, b.overall.valid
    if min(n, m) < 20:
        return None
    if a.kind == "numeric":
        return _kolmogorov(a, b, n, m)
    if a.kind in {"string", "boolean"} and not (a.is_text or b.is_text):
        return _variation(a, b, n, m)
    return None  # times move by themselves; texts hardly repeat


def _kolmogorov(a: ColumnProfile, b: ColumnProfile, n: int, m: int) -> tuple[str, float, bool] | None:
    """Kolmogorov-Smirnov distance, less its 99 % point under equality and both sketches' rank errors."""
    one, other = a.overall.quantiles, b.overall.quantiles
    if one is None or other is None or not one.n or not other.n:
        return None
    points = np.concatenate([one.quantile(_GRID), other.quantile(_GRID)])
    distance = float(np.max(np.abs(one.cdf(points) - other.cdf(points))))
    noise = 1.63 * sqrt((n + m) / (n * m)) + float(one.rank_error) + float(other.rank_error)
    return f"KS distance {distance:.3f}, noise {noise:.3f}", distance - noise, False


def _variation(a: ColumnProfile, b: ColumnProfile, n: int, m: int) -> tuple[str, float, bool]:
    """Total variation distance over the values that both summaries hold, less what sampling explains."""
    one = {same_value(value): count / n for value, count in a.overall.hitters.items()}
    other = {same_value(value): count / m for value, count in b.overall.hitters.items()}
    values = sorted({*one, *other})
    p = np.array([one.get(value, 0.0) for value in values])
    q = np.array([other.get(value, 0.0) for value in values])
    distance = float(np.abs(p - q).sum()) / 2
    # E|p̂ - q̂| <= sqrt(var) for each value, by Jensen
    pooled = (p * n + q * m) / (n + m)
    noise = float(np.sqrt(pooled * (1 - np.minimum(pooled, 1)) * (1 / n + 1 / m)).sum()) / 2 + 2 / sqrt(
        min(n, m)
    )
    exact = bool(a.overall.hitters.exact and b.overall.hitters.exact)
    return f"total variation {distance:.3f}, noise {noise:.3f}", distance - noise, exact
