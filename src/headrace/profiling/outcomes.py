"""The outcome of one check, and how figures are written in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from headrace.profiling.profile import ColumnProfile

Status = Literal["pass", "warn", "fail"]
RANK: dict[Status, int] = {"pass": 0, "warn": 1, "fail": 2}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"day": 86400.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    name: str
    """What was checked: ``range``, ``missing``, ``leakage``, ..."""
    column: str
    """The column, or ``""`` when it is about all of the data."""
    status: Status
    """``pass``, ``warn`` or ``fail``."""
    figure: str
    """The figure that decided, as people write it."""
    exact: bool
    """Whether the figure is exact, or comes from a sketch or an estimate."""
    detail: str = ""
    """What was expected, or what to do."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The figures behind it for programs, as JSON."""


def unit_seconds(column: ColumnProfile) -> float:
    """Seconds in one unit of a datetime column's stored numbers."""
    unit = column.type.partition("[")[2].partition("]")[0].partition(",")[0]
    return _UNITS.get(unit, 1e-6)


def moment_of(column: ColumnProfile, value: float) -> datetime:
    """Turn a stored number of a datetime column into a time (UTC; a time without zone is taken as UTC)."""
    return EPOCH + timedelta(seconds=value * unit_seconds(column))


def value_of(column: ColumnProfile, moment: datetime) -> float:
    """Turn a time into the number that a datetime column stores for it; the inverse of `moment_of`."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH).total_seconds() / unit_seconds(column)


def number(value: float) -> str:
    """Write a number as people do: integers whole, others to six digits."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def percent(share: float) -> str:
    """Write a share in per cent, not rounding a small one to nothing."""
    if share == 0:
        return "0 %"
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.1f} %"


def age_text(age: timedelta) -> str:
    """Write an age in hours, or in days from two days on."""
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"


def same_value(value: Any) -> str:
    """Spell a value so that 1, 1.0 and numpy's 1 are the same, and True is not 1."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)
