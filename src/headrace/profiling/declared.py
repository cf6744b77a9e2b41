"""Checks that a user declared: each column against its expectation, and the age of the data (pure)."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from headrace.profiling.outcomes import (
    Check,
    Status,
    age_text,
    moment_of,
    number,
    percent,
    same_value,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.profiling.expectations import ColumnExpectation
    from headrace.profiling.profile import ColumnProfile, Profile


def check_expectations(profile: Profile, expect: Mapping[str, ColumnExpectation]) -> Iterator[Check]:
    """Hold each expectation against the profile; what does not hold fails."""
    for name, expectation in expect.items():
        column = profile.columns.get(name)
        if column is None:
            near = ", ".join(list(profile.columns)[:8])
            yield Check("column", name, "fail", "no such column", exact=True, detail=f"the data have {near}")
            continue
        if expectation.type is not None:
            yield _type(column, expectation.type)
        if expectation.max_missing is not None:
            yield _missing(column, expectation.max_missing)
        if expectation.minimum is not None or expectation.maximum is not None:
            yield _range(column, expectation)
        if expectation.values is not None:
            yield _values(column, expectation)
        if expectation.unique:
            yield _unique(column)


def check_freshness(column: ColumnProfile, limit: timedelta, now: datetime) -> Check:
    """Hold the newest time of `column` against an age."""
    moments = column.overall.moments
    if column.kind != "datetime" or moments is None or not column.overall.valid:
        return Check("freshness", column.name, "fail", f"no times, {column.type}", exact=True)
    newest = moment_of(column, float(moments.maximum))
    age = (now if now.tzinfo else now.replace(tzinfo=UTC)) - newest
    figure = f"newest row {newest:%Y-%m-%d %H:%M}, {age_text(age)} old"
    if age < timedelta(0):
        return Check(
            "freshness",
            column.name,
            "warn",
            f"newest row {newest:%Y-%m-%d %H:%M}",
            exact=True,
            detail="in the future",
        )
    status: Status = "fail" if age > limit else "pass"
    return Check(
        "freshness", column.name, status, figure, exact=True, detail=f"at most {age_text(limit)} old"
    )


def _type(column: ColumnProfile, wanted: str) -> Check:
    names = {column.type, column.kind, column.type.removeprefix("large_")}
    status: Status = "pass" if wanted in names else "fail"
    return Check("type", column.name, status, column.type, exact=True, detail=f"expected {wanted}")


def _missing(column: ColumnProfile, limit: float) -> Check:
    summary = column.overall
    share = summary.missing / summary.rows if summary.rows else 0.0
    status: Status = "fail" if share > limit else "pass"
    figure = f"{percent(share)} ({summary.missing} rows)"
    facts = {"share": 1 - share}
    detail = f"at most {percent(limit)}"
    return Check("missing", column.name, status, figure, exact=True, detail=detail, facts=facts)


def _bound(column: ColumnProfile, value: float | datetime | date | None) -> float | None:
    """Bring a bound into the unit in which the column's extremes are kept."""
    if value is None:
        return None
    if not isinstance(value, date):
        return float(value)
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value_of(column, value)


def _range(column: ColumnProfile, expectation: ColumnExpectation) -> Check:
    summary = column.overall
    wanted = " .. ".join(
        "" if bound is None else str(bound) if isinstance(bound, date) else number(bound)
        for bound in (expectation.minimum, expectation.maximum)
    )
    detail = f"expected {wanted}"
    is_time = isinstance(expectation.minimum or expectation.maximum, date)
    if summary.moments is None or is_time != (column.kind == "datetime"):
        return Check("range", column.name, "fail", f"is {column.type}", exact=True, detail=detail)
    infinite = summary.pos_infs + summary.neg_infs
    if not summary.moments.n and not infinite:
        return Check("range", column.name, "pass", "no values", exact=True, detail=detail)
    low, high = _bound(column, expectation.minimum), _bound(column, expectation.maximum)
    least = -math.inf if summary.neg_infs else float(summary.moments.minimum)
    most = math.inf if summary.pos_infs else float(summary.moments.maximum)
    figure = " .. ".join(
        column.shown(value) if math.isfinite(value) else str(value) for value in (least, most)
    )
    if (low is None or least >= low) and (high is None or most <= high):
        return Check("range", column.name, "pass", figure, exact=True, detail=detail)
    outside, error = _share_outside(column, low, high)
    facts = {"share": 1 - outside}
    if not expectation.max_outside:
        return Check("range", column.name, "fail", figure, exact=True, detail=detail, facts=facts)
    status: Status = "fail" if outside - error > expectation.max_outside else "pass"
    return Check(
        "range",
        column.name,
        status,
        f"{figure}, {percent(outside)} outside",
        exact=False,
        detail=f"{detail}, at most {percent(expectation.max_outside)} outside",
        facts=facts,
    )


def _share_outside(column: ColumnProfile, low: float | None, high: float | None) -> tuple[float, float]:
    sketch = column.overall.quantiles
    if sketch is None or not sketch.n:
        return 1.0, 0.0
    below = 0.0 if low is None else float(sketch.cdf(np.nextafter(low, -np.inf)))
    above = 0.0 if high is None else 1.0 - float(sketch.cdf(high))
    return below + above, float(sketch.rank_error)


def _values(column: ColumnProfile, expectation: ColumnExpectation) -> Check:
    summary = column.overall
    allowed = {same_value(value) for value in expectation.values or ()}
    if column.kind == "boolean":  # counted as the numbers 0 and 1
        allowed = {{"true": "1", "false": "0"}.get(value.lower(), value) for value in allowed}
    detail = f"{len(allowed)} values allowed"
    if column.kind in {"datetime", "other"}:
        return Check("values", column.name, "fail", f"is {column.type}", exact=True, detail=detail)
    strange = [(value, count) for value, count in summary.hitters.items() if same_value(value) not in allowed]
    rows = sum(count for _, count in strange)
    share = rows / summary.valid if summary.valid else 0.0
    exact = bool(summary.hitters.exact)
    if not strange:
        # Values too rare to be held by an inexact summary have not been seen.
        figure = (
            "none else"
            if exact
            else f"none else above {percent(summary.hitters.error / max(1, summary.valid))}"
        )
        return Check("values", column.name, "pass", figure, exact=exact, detail=detail)
    shown = ", ".join(repr(same_value(value)) for value, _ in strange[:3]) + (
        ", ..." if len(strange) > 3 else ""
    )
    status: Status = "fail" if share > expectation.max_outside else "pass"
    figure = f"{percent(share)} others: {shown}"
    facts = {"share": 1 - share}
    return Check("values", column.name, status, figure, exact=exact, detail=detail, facts=facts)


def _unique(column: ColumnProfile) -> Check:
    summary = column.overall
    repeated = [item for item in summary.hitters.items() if item[1] > 1]
    if repeated:  # counts are never above the truth, so this is certain
        value, count = max(repeated, key=lambda item: item[1])
        figure = f"{same_value(value)!r} stands {count} times"
        return Check("unique", column.name, "fail", figure, exact=True, detail="expected no value twice")
    estimate = float(summary.distinct.estimate())
    exact = bool(summary.distinct.exact)
    error = 0.0 if exact else 3 * float(summary.distinct.relative_error)
    status: Status = "fail" if estimate * (1 + error) < summary.valid else "pass"
    figure = f"{number(round(estimate))} distinct of {summary.valid}"
    return Check("unique", column.name, status, figure, exact=exact, detail="expected no value twice")
