"""Columns made from the rows before: lags, rolling statistics, forward fill; the `data.history` key (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import Field, TypeAdapter, model_validator

from headrace.data.durations import Duration, duration_text
from headrace.errors import WorkflowError
from headrace.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

WHERE = "data.history"
MOST_ROWS_BACK = 10_000

Statistic = Literal["mean", "min", "max", "sum", "std", "count"]
Key = Annotated[
    tuple[str, ...],
    Field(
        description="Only rows with the same values of these columns are looked at, and none where one is missing; "
        "left out: all rows"
    ),
]
Back = Annotated[int, Field(ge=1, le=MOST_ROWS_BACK)]
Gap = Annotated[
    Duration,
    Field(
        description="Look only at rows that are so much older, such as 3h: as long as it takes until their value is known"
    ),
]


class Lags(Options):
    """The values of a column some rows before, as pandas' ``groupby(by)[column].shift(k)``."""

    kind: Literal["lags"]
    column: str = Field(description="Whose values")
    by: Key = ()
    rows: tuple[Back, ...] = Field(
        default=(1,), min_length=1, description="How many rows before, such as [1, 2]"
    )
    gap: Gap = timedelta(0)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it makes."""
        return tuple(f"{self.column}_lag_{k}{_by(self.by)}" for k in self.rows)

    def describe(self, name: str, time: str) -> str:
        """Say in words how a column is made."""
        k = self.rows[self.names.index(name)]
        return f"{self.column} {_rows(k)} before{_among(self.by, time, self.gap)}"


class Rolling(Options):
    """Statistics of a column over rows before, as pandas' ``rolling(..., min_periods=1, closed="left")`` within groups.

    The row itself is not among them, so that the target may be looked back at.
    """

    kind: Literal["rolling"]
    column: str = Field(description="Whose values: numbers or booleans; missing ones are left out")
    by: Key = ()
    rows: Back | None = Field(default=None, description="Over so many rows before")
    window: Duration | None = Field(
        default=None, description="Over the rows of so much time before, such as 6h, in place of `rows`"
    )
    statistics: tuple[Statistic, ...] = Field(
        default=("mean",), min_length=1, description="Which; std divides by one less than the values"
    )
    gap: Gap = timedelta(0)

    @model_validator(mode="after")
    def _end_somewhere(self) -> Rolling:
        if (self.rows is None) == (self.window is None):
            raise ValueError("give either rows, such as 20, or window, such as 6h")
        if self.window is not None and self.window <= timedelta(0):
            raise ValueError("a window of no time holds no rows; give one such as 6h")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it makes."""
        over = self.rows if self.window is None else duration_text(self.window)
        return tuple(f"{self.column}_{statistic}_{over}{_by(self.by)}" for statistic in self.statistics)

    def describe(self, name: str, time: str) -> str:
        """Say in words how a column is made."""
        statistic = self.statistics[self.names.index(name)]
        over = _rows(self.rows or 0) if self.window is None else duration_text(self.window)
        return f"{statistic} of {self.column} over {over} before{_among(self.by, time, self.gap)}"


class ForwardFill(Options):
    """A column whose missing values are the last known before, as pandas' ``groupby(by)[column].ffill()``."""

    kind: Literal["fill"]
    column: str = Field(description="Whose missing values")
    by: Key = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The column that it makes."""
        return (f"{self.column}_filled{_by(self.by)}",)

    def describe(self, name: str, time: str) -> str:
        """Say in words how a column is made."""
        del name
        before = "or the last known before where it is missing"
        return f"{self.column}, {before}{_among(self.by, time, timedelta(0))}"


Step = Annotated[Lags | Rolling | ForwardFill, Field(discriminator="kind")]
_STEP: TypeAdapter[Lags | Rolling | ForwardFill] = TypeAdapter(Step)


def _by(keys: tuple[str, ...]) -> str:
    return f"_by_{'_'.join(keys)}" if keys else ""


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _among(by: tuple[str, ...], time: str, gap: timedelta) -> str:
    among = f", of the same {' and '.join(by)}" if by else ""
    older = f", at least {duration_text(gap)} older" if gap else ""
    return f"{among}, in the order of {time}{older}"


@dataclass(frozen=True)
class History:
    """Columns that are made from the rows before, in the order of the data."""

    time: str
    """The column in whose order the data are."""
    steps: tuple[Lags | Rolling | ForwardFill, ...]

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The keys by which rows are grouped, each once."""
        return tuple(dict.fromkeys(step.by for step in self.steps))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        keys = [name for step in self.steps for name in (*step.by, step.column)]
        return tuple(dict.fromkeys([self.time, *keys]))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are made."""
        return tuple(name for step in self.steps for name in step.names)

    def values(self, by: tuple[str, ...]) -> tuple[str, ...]:
        """Name the columns whose values are looked at in groups of these keys."""
        return tuple(dict.fromkeys(step.column for step in self.steps if step.by == by))

    def fields(self, schema: pa.Schema) -> list[pa.Field]:
        """Return the columns that are made from those of a schema."""
        return [
            pa.field(name, _type(step, name, schema.field(step.column).type))
            for step in self.steps
            for name in step.names
        ]

    def describe(self) -> dict[str, str]:
        """Say in words how each column is made."""
        return {name: step.describe(name, self.time) for step in self.steps for name in step.names}

    def making(self, names: Sequence[str]) -> Self | None:
        """Return what makes some of these columns; None when that is nothing."""
        steps = tuple(step for step in self.steps if set(step.names) & set(names))
        return type(self)(self.time, steps) if steps else None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {"time": self.time, "steps": [step.model_dump(mode="json") for step in self.steps]}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(document["time"], tuple(_STEP.validate_python(step) for step in document["steps"]))


def _type(step: Lags | Rolling | ForwardFill, name: str, kind: pa.DataType) -> pa.DataType:
    if step.kind != "rolling":
        return kind
    return pa.int64() if step.statistics[step.names.index(name)] == "count" else pa.float64()


def require_history(history: History, schema: pa.Schema) -> None:
    """Refuse what cannot be made from the columns of a dataset.

    Raises
    ------
    WorkflowError
        A column is not there, or not of a type that it is used as; two columns would have one name.
    """
    names = schema.names
    for number, step in enumerate(history.steps):
        where = f"{WHERE}[{number}]"
        for name in (step.column, *step.by):
            if name not in names:
                raise WorkflowError(
                    f"there is no column {name!r}", where=where, mend=f"there are {', '.join(names[:12])}"
                )
        kind = schema.field(step.column).type
        if step.kind == "rolling" and not _counts(kind):
            raise WorkflowError(
                f"the column {step.column!r} is {kind}",
                where=where,
                mend="statistics are of numbers or booleans",
            )
        for name in step.by:
            if pa.types.is_floating(schema.field(name).type):
                raise WorkflowError(
                    f"the key {name!r} is {schema.field(name).type}", where=where,
                    mend="name keys of text, whole numbers, booleans or dates",
                )  # fmt: skip
        for name in step.names:
            if name in names:
                raise WorkflowError(
                    f"there is a column {name!r} already", where=where, mend="leave out what makes it twice"
                )
            names = [*names, name]


def _counts(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )
