"""Checks that nobody needs to declare: the target, and columns that look wrong (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.profiling.leakage import separation
from headrace.profiling.outcomes import Check, Status, number, percent, same_value

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator

    from headrace.profiling.profile import ColumnProfile, Profile

LEAK_WARN, LEAK_FAIL = 0.95, 0.995
"""AUC of a single column from which it is taken to know the answer."""
RARE_CLASS = 0.01
"""Share of rows below which a class is called rare."""
MOST_MISSING = 0.5
"""Missing share above which a column is told."""


def check_target(profile: Profile, target: str, task: str | None = None) -> Iterator[Check]:
    """Check that the target is there, whole, and takes more than one value."""
    column = profile.columns.get(target)
    if column is None:
        names = ", ".join(list(profile.columns)[:8])
        yield Check("target", target, "fail", "no such column", exact=True, detail=f"the data have {names}")
        return
    summary = column.overall
    if summary.missing:
        figure = f"{summary.missing} rows without a target ({percent(summary.missing / summary.rows)})"
        yield Check("target", target, "fail", figure, exact=True, detail="leave these rows out of the data")
    else:
        yield Check("target", target, "pass", "no row without a target", exact=True)
    distinct = summary.distinct.estimate()
    if distinct <= 1:
        only = "".join(repr(same_value(value)) for value, _ in column.top(1))
        figure = f"one class only, {only}" if task != "regression" else f"one value only, {only}"
        yield Check("balance", target, "fail", figure, exact=True, detail="nothing can be learnt from it")
    elif task != "regression" and profile.classes:
        rows = sum(profile.classes.values())
        label, count = min(profile.classes.items(), key=lambda item: (item[1], item[0]))
        figure = f"rarest class {label!r}: {percent(count / rows)} ({count} rows)"
        rare = count / rows < RARE_CLASS or count < 20
        detail = "a metric such as average_precision tells more than accuracy" if rare else ""
        yield Check("balance", target, "warn" if rare else "pass", figure, exact=True, detail=detail)


def check_time(profile: Profile, time: str) -> Iterator[Check]:
    """Check that the time column is there and tells a time for every row."""
    column = profile.columns.get(time)
    if column is None:
        yield Check("time", time, "fail", "no such column", exact=True)
    elif column.kind != "datetime":
        yield Check("time", time, "fail", f"is {column.type}", exact=True, detail="expected a date or time")
    elif column.overall.missing:
        figure = f"{column.overall.missing} rows without a time"
        yield Check(
            "time", time, "warn", figure, exact=True, detail="they are never in the test part of a time split"
        )
    else:
        yield Check("time", time, "pass", "no row without a time", exact=True)


def check_quality(
    profile: Profile, target: str | None, task: str | None = None, *, ignore: frozenset[str]
) -> Iterator[Check]:
    """Look at every column that may become a feature; one line for what is odd, one for what all pass."""
    columns = [column for name, column in profile.columns.items() if name not in ignore and name != target]
    for name, look in (
        ("all-null", _all_null),
        ("constant", _constant),
        ("missing", _mostly_missing),
        ("nan", _not_a_number),
        ("infinity", _infinite),
        ("identifier", _identifier),
    ):
        odd = [check for column in columns if (check := look(column)) is not None]
        yield from odd or [
            Check(name, "", "pass", f"none of {len(columns)} columns", exact=name != "identifier")
        ]
    yield from _copies(columns)
    if task != "regression" and len(profile.classes) > 1 and profile.target == target:
        yield from _leaks(columns, profile.classes)


def _all_null(column: ColumnProfile) -> Check | None:
    summary = column.overall
    if summary.valid or not summary.rows:
        return None
    detail = f"drop it: data.drop: [{column.name}]"
    return Check(
        "all-null",
        column.name,
        "warn",
        f"{summary.rows} of {summary.rows} rows missing",
        exact=True,
        detail=detail,
    )


def _constant(column: ColumnProfile) -> Check | None:
    summary = column.overall
    # with missing values a constant still tells missing from not
    if not column.is_constant or not summary.valid or summary.missing:
        return None
    value = "".join(repr(same_value(value)) for value, _ in column.top(1))
    return Check("constant", column.name, "warn", f"always {value}", exact=True, detail="it tells nothing")


def _mostly_missing(column: ColumnProfile) -> Check | None:
    summary = column.overall
    if not summary.valid or summary.missing <= MOST_MISSING * summary.rows:
        return None
    share = percent(summary.missing / summary.rows)
    return Check(
        "missing", column.name, "warn", f"{share} missing", exact=True, detail="is it worth keeping?"
    )


def _not_a_number(column: ColumnProfile) -> Check | None:
    nans = column.overall.nans
    if not nans:
        return None
    return Check("nan", column.name, "warn", f"{nans} NaN", exact=True, detail="taken as missing")


def _infinite(column: ColumnProfile) -> Check | None:
    summary = column.overall
    count = summary.pos_infs + summary.neg_infs
    if not count:
        return None
    detail = "set prepare.numeric.clip, or mend the source"
    return Check("infinity", column.name, "warn", f"{count} infinite values", exact=True, detail=detail)


def _identifier(column: ColumnProfile) -> Check | None:
    """Find a key rather than a property: strings or whole numbers of which hardly any stands twice."""
    summary = column.overall
    whole = (
        column.kind == "numeric"
        and summary.integers_only
        and "float" not in column.type
        and "double" not in column.type
    )
    if not (column.kind == "string" or whole) or summary.valid < 100:
        return None
    share = min(1.0, summary.distinct.estimate() / summary.valid)
    noise = 0.0 if summary.distinct.exact else 3 * summary.distinct.relative_error
    if share < (0.98 if whole else 0.9) - noise or (
        column.is_text and summary.lengths is not None and summary.lengths.mean > 40
    ):
        return None
    figure = f"{number(round(summary.distinct.estimate()))} distinct in {summary.valid} values"
    detail = f"looks like an identifier; drop it: data.drop: [{column.name}]"
    return Check("identifier", column.name, "warn", figure, exact=bool(summary.distinct.exact), detail=detail)


def _copies(columns: list[ColumnProfile]) -> Iterator[Check]:
    """Columns with the same figures throughout; a permutation of rows would look the same, so only a hint."""
    first: dict[Hashable, str] = {}
    found = False
    for column in columns:
        summary = column.overall
        if column.is_constant or summary.valid < 20:
            continue
        key: Hashable
        if summary.moments is not None and column.kind != "boolean":
            moments = summary.moments
            key = (
                column.kind,
                summary.missing,
                moments.n,
                f"{moments.mean:.12g}",
                f"{moments.m2:.9g}",
                moments.minimum,
                moments.maximum,
            )
        else:
            key = (column.kind, summary.missing, summary.valid, tuple(column.top(20)))
        if key in first:
            found = True
            yield Check(
                "copy",
                column.name,
                "warn",
                f"same figures as {first[key]}",
                exact=False,
                detail="a copy of it?",
            )
        first.setdefault(key, column.name)
    if not found:
        yield Check("copy", "", "pass", f"none of {len(columns)} columns", exact=False)


def _leaks(columns: list[ColumnProfile], classes: Collection[str]) -> Iterator[Check]:
    scores = [(score, column) for column in columns if (score := separation(column, classes)) is not None]
    odd = [(score, column) for score, column in scores if score > LEAK_WARN]
    for score, column in odd:
        detail = "this column alone tells the classes apart; is it known before the target is?"
        status: Status = "fail" if score > LEAK_FAIL else "warn"
        yield Check("leakage", column.name, status, f"AUC {score:.4f}", exact=False, detail=detail)
    if scores and not odd:
        score, column = max(scores, key=lambda pair: pair[0])
        figure = f"highest AUC of one column {score:.3f} ({column.name})"
        yield Check("leakage", "", "pass", figure, exact=False)
