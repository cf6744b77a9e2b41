"""Checks of one profile against another: columns that came or went, and distributions that moved (pure)."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from headrace.profiling.expectations import MOST_VALUES
from headrace.profiling.outcomes import Check, Status, percent, same_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.profiling.profile import ColumnProfile, Profile

DRIFT_WARN, DRIFT_FAIL = 0.1, 0.2
"""Distance of two distributions beyond sampling noise, from which it is told and from which it fails."""
PSI_WARN, PSI_FAIL = 0.1, 0.25
"""Population stability index beyond sampling noise, from which it is told and from which it fails."""
PSI_BINS = 10
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
        index, noise = stability_index(column, reference.columns[name])
        facts = {"distance_beyond_noise": beyond, "psi": index, "psi_noise": noise}
        if beyond > DRIFT_WARN or index - noise > PSI_WARN:
            moved = True
            status: Status = "fail" if beyond > DRIFT_FAIL or index - noise > PSI_FAIL else "warn"
            figure = f"{figure}; PSI {index:.3f}, noise {noise:.3f}"
            detail = f"fails from {DRIFT_FAIL} or a PSI of {PSI_FAIL} beyond noise"
            yield Check("drift", name, status, figure, exact=exact, detail=detail, facts=facts)
    if compared and not moved:
        yield Check("drift", "", "pass", f"none of {compared} columns moved", exact=False)
    yield from _new_values(profile, reference)


def _new_values(profile: Profile, reference: Profile) -> Iterator[Check]:
    """Tell frequent values that the reference does not have, where its values are too many to be a closed set."""
    looked_at, odd = 0, 0
    for name, column in profile.columns.items():
        known = reference.columns.get(name)
        if known is None or known.kind != column.kind or column.kind != "string" or column.is_text:
            continue
        if known.is_text or (known.overall.hitters.exact and len(known.top(MOST_VALUES + 1)) <= MOST_VALUES):
            continue  # that is what the expectation of its values is about
        looked_at += 1
        # of a value that the reference does not hold it is sure that it had no more than its error
        held = {same_value(value) for value, _ in known.overall.hitters.items()}
        n, m = max(1, known.overall.valid), max(1, column.overall.valid)
        bound = (known.overall.hitters.error + 3) / n
        new = [
            (value, count)
            for value, count in column.overall.hitters.items()
            if same_value(value) not in held and count / m - 4 * sqrt(count) / m > bound
        ]
        if new:
            odd += 1
            shown = ", ".join(repr(same_value(value)) for value, _ in new[:3])
            share = sum(count for _, count in new) / m
            figure = f"{percent(share)} in values not seen before: {shown}{', ...' if len(new) > 3 else ''}"
            exact = bool(column.overall.hitters.exact and known.overall.hitters.exact)
            yield Check("new values", name, "warn", figure, exact=exact, facts={"share": 1 - share})
    if looked_at and not odd:
        yield Check("new values", "", "pass", f"none in {looked_at} columns", exact=False)


def stability_index(a: ColumnProfile, b: ColumnProfile) -> tuple[float, float]:
    """Return the population stability index of `a` against `b`, and its 99 % point under one distribution of both.

    PSI = sum (p - q) ln(p / q) over bins; times nm / (n + m) it is distributed as chi-squared with bins - 1 degrees of
    freedom (Yurdakul and Naranjo 2020, Journal of Risk Model Validation 14). Numbers are cut at the deciles of the
    reference, other values are bins where the reference holds them, and missing values are one more bin. Half a row is
    added to each bin, so that an empty one has a logarithm; a sketch's rank error counts as noise.
    """
    n, m = max(1, a.overall.rows), max(1, b.overall.rows)
    error = 0.0
    if a.kind == "numeric" and a.overall.quantiles is not None and b.overall.quantiles is not None:
        one, other = a.overall.quantiles, b.overall.quantiles
        cuts = np.unique(other.quantile(np.arange(1, PSI_BINS) / PSI_BINS))
        p, q = (np.diff(sketch.cdf(cuts), prepend=0.0, append=1.0) for sketch in (one, other))
        # two cuts misplaced by the rank error change a bin by twice that: sum over bins of (2 error)^2 / (1 / bins)
        error = (2 * PSI_BINS * (float(one.rank_error) + float(other.rank_error))) ** 2
    else:
        held = {same_value(value): count for value, count in b.overall.hitters.items()[:MOST_VALUES]}
        counted = {same_value(value): count for value, count in a.overall.hitters.items()}
        p, q = (
            np.array([counts.get(value, 0) for value in held], dtype=float) / max(1, side.overall.valid)
            for counts, side in ((counted, a), (held, b))
        )
        p, q = (np.append(each, max(0.0, 1.0 - each.sum())) for each in (p, q))
    shares = []
    for each, side, rows in ((p, a, n), (q, b, m)):
        counts = np.append(each * side.overall.valid, side.overall.missing) + 0.5
        shares.append(counts / (rows + 0.5 * len(counts)))
    index = float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))
    # Wilson and Hilferty's 99 % point of chi-squared
    free = max(1, len(shares[0]) - 1)
    point = free * (1 - 2 / (9 * free) + 2.326 * sqrt(2 / (9 * free))) ** 3
    return index, point * (1 / n + 1 / m) + error


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
