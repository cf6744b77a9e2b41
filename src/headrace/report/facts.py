"""The figures of one column as people read them, each with how far it can be off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.profiling.outliers import Outside, outliers
from headrace.report import numbers

if TYPE_CHECKING:
    from headrace.accumulators.columns import ColumnSummary
    from headrace.accumulators.moments import Moments
    from headrace.profiling.profile import ColumnProfile


@dataclass(frozen=True)
class Fact:
    """A figure with its label; `mark` says how far it can be off, "" when it is exact."""

    label: str
    value: str
    mark: str = ""


def few_values(overall: ColumnSummary) -> bool:
    """Whether a number is a code, such as 0 and 1, and is better drawn value by value."""
    return overall.integers_only and overall.distinct.exact and overall.distinct.estimate() <= 3


def time_unit(type_name: str) -> numbers.Unit:
    """Return NumPy's name of the unit of an Arrow time type; dates count days.

    Examples
    --------
    >>> time_unit("timestamp[us, tz=UTC]"), time_unit("date32[day]")
    ('us', 'D')
    """
    units: tuple[numbers.Unit, ...] = ("ns", "us", "ms")
    for unit in units:
        if f"[{unit}" in type_name:
            return unit
    return "D" if "day" in type_name else "s"


def column_facts(column: ColumnProfile) -> tuple[Fact, ...]:
    """Return the figures of a column, those that are not exact with their mark."""
    overall = column.overall
    if column.kind == "other" or not overall.valid:
        return ()
    facts = [_distinct(overall)]
    if column.is_constant:
        return tuple(facts)
    if column.kind == "numeric" and few_values(overall) and overall.moments is not None:
        facts.append(Fact("mean", numbers.number(overall.moments.mean)))
    elif column.kind == "numeric" and overall.quantiles is not None and overall.quantiles.n:
        facts += _number_facts(column)
    elif column.kind == "datetime" and overall.moments is not None and overall.moments.n:
        unit = time_unit(column.type)
        rank = _rank_mark(overall)
        moments = overall.moments
        facts += [
            Fact("first", _day(float(moments.minimum), unit)),
            _approximate("median", _day(float(column.quantile(0.5)), unit), rank),
            Fact("last", _day(float(moments.maximum), unit)),
        ]
    elif column.kind == "string" and overall.lengths is not None and overall.lengths.n:
        lengths = overall.lengths
        facts += [
            Fact("mean length", numbers.number(lengths.mean, 3)),
            Fact(
                "lengths", f"{numbers.span(numbers.count(lengths.minimum), numbers.count(lengths.maximum))}"
            ),
        ]
    if overall.nans:
        facts.append(Fact("of them NaN", numbers.count(overall.nans)))
    if overall.pos_infs or overall.neg_infs:
        facts.append(Fact("infinite", numbers.count(overall.pos_infs + overall.neg_infs)))
    return tuple(facts)


def _number_facts(column: ColumnProfile) -> list[Fact]:
    overall, moments = column.overall, column.overall.moments
    assert moments is not None
    rank = _rank_mark(overall)
    digits = _digits(moments)
    facts = [
        Fact("mean", numbers.number(moments.mean, digits)),
        Fact("std. dev.", numbers.number(moments.std)),
        Fact("min", numbers.number(moments.minimum, digits)),
        _approximate("p5", numbers.number(column.quantile(0.05), digits), rank),
        _approximate("median", numbers.number(column.quantile(0.5), digits), rank),
        _approximate("p95", numbers.number(column.quantile(0.95), digits), rank),
        Fact("max", numbers.number(moments.maximum, digits)),
        Fact("skewness", numbers.score(moments.skewness, 2)),
    ]
    if overall.zeros:
        facts.append(Fact("zeros", numbers.share(overall.zeros / overall.valid)))
    if overall.negatives:
        facts.append(Fact("negative", numbers.share(overall.negatives / overall.valid)))
    outside = outliers(overall)
    if any(found.share > 0 for found in outside):
        facts += [_outside(found) for found in outside]
    elif outside:
        facts.append(
            Fact("outliers", "none", "by 1.5 and 3 IQR, three standard deviations, percentiles 1 and 99")
        )
    return facts


def _digits(moments: Moments) -> int:
    """Significant digits that tell values one hundredth of a standard deviation apart, four at least."""
    size, spread = max(abs(moments.minimum), abs(moments.maximum)), moments.std
    if not 0 < spread < math.inf or not 0 < size < math.inf:
        return 4
    return min(max(4, 2 + math.ceil(math.log10(size) - math.log10(spread))), 12)


def _distinct(overall: ColumnSummary) -> Fact:
    estimate = overall.distinct.estimate()
    if overall.distinct.exact:
        return Fact("distinct", numbers.count(estimate))
    return Fact(
        "distinct", f"≈ {numbers.brief(estimate)}", f"±{numbers.share(overall.distinct.relative_error)}"
    )


def _day(value: float, unit: numbers.Unit) -> str:
    """Write a point in time to the minute."""
    text = numbers.moment(value, unit)
    return text.rsplit(":", 1)[0] if text.count(":") == 2 else text


def _approximate(label: str, value: str, mark: str) -> Fact:
    return Fact(label, f"≈\N{NO-BREAK SPACE}{value}" if mark else value, mark)


def _rank_mark(overall: ColumnSummary) -> str:
    error = overall.quantiles.rank_error if overall.quantiles is not None else 0.0
    return f"within ±{100 * error:.2g}\N{NO-BREAK SPACE}% of the rows" if error else ""


def foot(overall: ColumnSummary) -> str:
    """One line on what is not exact in the card, "" when all is."""
    parts = []
    rank = _rank_mark(overall)
    if rank and not few_values(overall):
        parts.append(f"≈ quantiles {rank}")
    if not overall.distinct.exact:
        parts.append(f"distinct ±{numbers.share(overall.distinct.relative_error)}")
    if overall.kind == "string" and not overall.hitters.exact:
        parts.append(f"counts of values up to {numbers.count(overall.hitters.error)} too low")
    return ", ".join(parts)


def _outside(found: Outside) -> Fact:
    mark = f"outside {numbers.span(numbers.number(found.low), numbers.number(found.high))}"
    if found.error:
        mark += f", within ±{numbers.share(found.error)} of the rows"
    words = {"1.5 IQR": "out 1.5 IQR", "3 IQR": "out 3 IQR", "z > 3": "|z| > 3", "p1 - p99": "out p1–p99"}  # noqa: RUF001 - a range
    share = numbers.share(found.share)
    return Fact(words[found.rule], f"≈\N{NO-BREAK SPACE}{share}" if found.error else share, mark)
