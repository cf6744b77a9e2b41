"""Parts of times in integer arithmetic, as ONNX nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.packaging.exports.graph import Value

if TYPE_CHECKING:
    from headrace.packaging.exports.graph import Graph

MISSING_TIME = np.iinfo(np.int64).min
"""How a missing time is given to the graph; numpy's own NaT."""

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR


def time_parts(graph: Graph, step: Any, value: Value) -> Value:
    """Add `headrace.preparation.datetimes.DatetimeParts`: the parts of every column, NaN where a time is missing."""
    made = []
    for index in range(value.width):
        column = graph.column(value, index)
        absent = graph.add("Equal", column.name, graph.constant(np.array([MISSING_TIME])))
        # So far in the past, integers would overflow on the way.
        times = graph.add("Where", absent, graph.constant(np.array([0])), column.name)
        nan = graph.constant(np.array([np.nan]))
        for part in step.parts:
            found = graph.add("Where", absent, nan, _part(_Whole(graph), times, part))
            made.append(Value(found, "numbers", 1))
    return graph.join(made)


class _Whole:
    """Arithmetic on int64 tensors; division rounds down, as numpy's of times does."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def number(self, value: int) -> str:
        return self.graph.constant(np.array([value], dtype=np.int64))

    def plus(self, a: str, b: str | int) -> str:
        return self.graph.add("Add", a, self.number(b) if isinstance(b, int) else b)

    def minus(self, a: str, b: str | int) -> str:
        return self.graph.add("Sub", a, self.number(b) if isinstance(b, int) else b)

    def times(self, a: str, b: int) -> str:
        return self.graph.add("Mul", a, self.number(b))

    def mod(self, a: str, b: int) -> str:
        return self.graph.add("Mod", a, self.number(b))

    def over(self, a: str, b: int) -> str:
        # Exact, so that the operator's rounding towards zero does not show.
        return self.graph.add("Div", self.minus(a, self.mod(a, b)), self.number(b))

    def floating(self, a: str) -> str:
        from onnx import TensorProto

        return self.graph.add("Cast", a, to=TensorProto.DOUBLE)


def _part(whole: _Whole, times: str, part: str) -> str:
    if part == "epoch_days":
        day = whole.graph.constant(np.array([float(_DAY)]))
        return whole.graph.add("Div", whole.floating(times), day)
    if part == "hour":
        return whole.floating(whole.mod(whole.over(times, _HOUR), 24))
    if part == "minute":
        return whole.floating(whole.mod(whole.over(times, _HOUR // 60), 60))
    days = whole.over(times, _DAY)
    if part == "weekday":
        return whole.floating(whole.mod(whole.plus(days, 3), 7))
    year, month, day = _civil(whole, days)
    if part == "dayofyear":
        return whole.floating(whole.plus(whole.minus(days, _first_of_year(whole, year)), 1))
    return whole.floating({"year": year, "month": month, "day": day}[part])


def _civil(whole: _Whole, days: str) -> tuple[str, str, str]:
    """Year, month and day of days since 1970 in the proleptic Gregorian calendar.

    Years are counted from March, so that a leap day comes last, in eras of 400 years = 146,097 days (Hinnant 2013,
    "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    """
    shifted = whole.plus(days, 719_468)
    era = whole.over(shifted, 146_097)
    of_era = whole.mod(shifted, 146_097)
    leaps = whole.plus(
        whole.minus(of_era, whole.over(of_era, 1460)),
        whole.minus(whole.over(of_era, 36_524), whole.over(of_era, 146_096)),
    )
    year_of_era = whole.over(leaps, 365)
    before = whole.plus(
        whole.times(year_of_era, 365),
        whole.minus(whole.over(year_of_era, 4), whole.over(year_of_era, 100)),
    )
    of_year = whole.minus(of_era, before)
    from_march = whole.over(whole.plus(whole.times(of_year, 5), 2), 153)
    first = whole.over(whole.plus(whole.times(from_march, 153), 2), 5)
    day = whole.plus(whole.minus(of_year, first), 1)
    month = whole.plus(whole.mod(whole.plus(from_march, 2), 12), 1)
    # January and February belong to the next year.
    carry = whole.over(from_march, 10)
    year = whole.plus(whole.plus(year_of_era, whole.times(era, 400)), carry)
    return year, month, day


def _first_of_year(whole: _Whole, year: str) -> str:
    """Days since 1970 of the first of January: 365 a year and the leap days before."""
    last = whole.minus(year, 1)
    leaps = whole.plus(whole.minus(whole.over(last, 4), whole.over(last, 100)), whole.over(last, 400))
    # 719,162 days from the first of January of year 1 to that of 1970.
    return whole.minus(whole.plus(whole.times(last, 365), leaps), 719_162)
