"""What a user expects of the data: the `checks:` key, and expectations drawn from a profile seen before."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from math import sqrt
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from headrace.data.expressions import parse_expression
from headrace.options import Options

if TYPE_CHECKING:
    from headrace.profiling.profile import ColumnProfile, Profile

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
MOST_VALUES = 100
"""Distinct values up to which a string column is taken to have a closed set of them."""


def _age(value: Any) -> Any:
    if value is None or isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", str(value).strip())
    if match is None:
        raise ValueError(f"should be an age, not {value!r}; write it as 36h or 7d")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


class ColumnExpectation(Options):
    """What one column must hold; what is left out is not checked."""

    type: str | None = Field(
        default=None, description="Arrow type such as int64, or a kind: numeric, string, ..."
    )
    minimum: float | datetime | date | None = Field(default=None, description="Smallest value allowed")
    maximum: float | datetime | date | None = Field(default=None, description="Largest value allowed")
    max_missing: float | None = Field(default=None, ge=0, le=1, description="Largest share of missing values")
    values: tuple[bool | int | float | str, ...] | None = Field(
        default=None, description="All values allowed"
    )
    unique: bool = Field(default=False, description="Whether no value may stand twice")
    max_outside: float = Field(
        default=0.0, ge=0, le=1, description="Share of values that may lie outside range or values"
    )

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> ColumnExpectation:
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            if isinstance(low, date) != isinstance(high, date):
                raise ValueError("minimum and maximum are of different kinds; write two numbers or two times")
            if isinstance(low, date) and isinstance(high, date):
                empty = low.isoformat() > high.isoformat()
            else:
                empty = low > high  # type: ignore[operator]  # both are numbers here
            if empty:
                raise ValueError(f"minimum {low} is above maximum {high}; swap them")
        return self


Severity = Literal["warn", "fail"]


class RuleOptions(Options):
    """A condition that rows must keep, which may compare columns."""

    name: str | None = Field(default=None, description="What the rule says; the expression when left out")
    expression: str = Field(description='Such as arr_time > dep_time or state = "open"')
    at_least: float = Field(
        default=1.0, ge=0, le=1, description="Share of rows that must keep it, of those for which it is known"
    )
    severity: Severity = Field(default="fail", description="What a broken rule is: fail or warn")

    @field_validator("expression")
    @classmethod
    def _is_understood(cls, text: str) -> str:
        parse_expression(text)
        return text

    @property
    def title(self) -> str:
        """Its name."""
        return self.name or self.expression


class ReferenceOptions(Options):
    """A column whose values must all stand in a small table."""

    column: str = Field(description="Column of the data")
    table: str = Field(alias="in", description="URL of the table: Parquet, up to 1,000,000 rows")
    key: str | None = Field(default=None, description="Column of the table; that of the data when left out")
    at_least: float = Field(default=1.0, ge=0, le=1, description="Share of rows that must be found")
    severity: Severity = Field(default="fail", description="What a missing value is: fail or warn")

    @property
    def title(self) -> str:
        """Its name among the rules."""
        return f"{self.column} in {self.table}"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Key = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class CheckOptions(Options):
    """The checks between profile and preparation."""

    on_fail: Literal["stop", "warn"] = Field(
        default="stop", description="stop: a failing check ends the run; warn: it is only told"
    )
    freshness: Annotated[timedelta | None, BeforeValidator(_age, json_schema_input_type=str | None)] = Field(
        default=None, description="Largest age of the newest row by the time column, such as 36h or 7d"
    )
    expect: dict[str, ColumnExpectation] = Field(default_factory=dict, description="Expectations by column")
    rules: tuple[RuleOptions, ...] = Field(default=(), description="Conditions on rows, also between columns")
    unique: tuple[Key, ...] = Field(
        default=(), description="Keys that may not stand twice: a column, or several together"
    )
    references: tuple[ReferenceOptions, ...] = Field(
        default=(), description="Columns whose values must stand in another table"
    )
    duplicates: bool | None = Field(
        default=None,
        description="Whether rows that are equal throughout are counted; left out: by a run up to a million rows, by `check` always",
    )
    max_duplicates: float | None = Field(
        default=None, ge=0, le=1, description="Largest share of rows that may repeat another one"
    )
    pii: tuple[str, ...] = Field(
        default=(), description="Columns about persons, masked wherever rows are shown, beside those detected"
    )


class ExpectationFile(Options):
    """A file of expectations alone, with the key `checks` as in a workflow."""

    checks: CheckOptions = Field(description="What the data must hold")


def expectations_from(profile: Profile, *, rows: int | None = None) -> dict[str, ColumnExpectation]:
    """Draw expectations from a profile seen before, with tolerances that know the sample sizes.

    Parameters
    ----------
    profile : Profile
        The reference, of n rows.
    rows : int, optional
        Rows m of the data that will be held against them; n when left out.

    Returns
    -------
    dict of str to ColumnExpectation
        Kind; for numbers and times the range, for strings with few distinct values the values, each with the share that
        may lie outside; the missing share.

    Notes
    -----
    The share of future values beyond the extremes of n values is at most 2 * 3/n with 95 % confidence on either side (rule of
    three, Hanley & Lippman-Hand 1983). A missing share p may rise by four standard errors of the difference of two
    proportions, sqrt(p (1 - p) (1/n + 1/m)), p taken with one success and one failure added.
    """
    return {name: _expect(column, rows) for name, column in profile.columns.items() if name != profile.target}


def _expect(column: ColumnProfile, rows: int | None) -> ColumnExpectation:
    summary = column.overall
    count = summary.rows
    other = count if rows is None else max(1, rows)
    known: dict[str, Any] = {"type": column.kind}
    if count == 0:
        return ColumnExpectation(**known)
    share = summary.missing / count
    cautious = (summary.missing + 1) / (count + 2)
    noise = sqrt(cautious * (1 - cautious) * (1 / count + 1 / other))
    known["max_missing"] = min(1.0, share + 4 * noise)
    if summary.valid:
        # six expected beyond the extremes of n; the noise of m rows on top of a share that small
        outside = 6 / summary.valid
        known["max_outside"] = min(1.0, outside + 4 * sqrt(outside / other))
        if column.kind == "string" and not column.is_text:
            values = [value for value, _ in summary.hitters.items()]
            if summary.hitters.exact and len(values) <= MOST_VALUES:
                known["values"] = tuple(str(value) for value in sorted(values, key=str))
        elif column.kind == "numeric" and summary.moments is not None and summary.moments.n:
            known |= {"minimum": float(summary.moments.minimum), "maximum": float(summary.moments.maximum)}
    return ColumnExpectation(**known)
