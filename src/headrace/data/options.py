"""What to read, which row is in which part, and the user's function over it: the `data:` and `features:` keys."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from headrace.data.embeddings import EmbeddingOptions  # noqa: TC001 pydantic reads it
from headrace.data.filters import parse_filter
from headrace.data.history import History, Step
from headrace.data.urls import PublicUrl  # noqa: TC001 pydantic reads it
from headrace.options import Options


def _moment(value: Any) -> Any:
    """Turn a date into its first moment; leave numbers to be refused, which pydantic would take as Unix seconds."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"should be an ISO date or time, not {value!r}; write it as 2013-10-01"
            ) from None
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 the column decides about the zone
    if not isinstance(value, datetime):
        raise ValueError(f"should be an ISO date or time, not {value!r}; write it as 2013-10-01")  # noqa: TRY004 pydantic collects ValueError
    return value


Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class RandomSplit(Options):
    """Rows are dealt to the parts by a hash of where they stand, so the same row is always in the same part."""

    kind: Literal["random"] = "random"
    test: Share = Field(default=0.2, description="Share of the rows that no training sees")
    validation: Share = Field(default=0.1, description="Share of the rows that choose epoch and candidate")

    @model_validator(mode="after")
    def _leave_rows_to_train_on(self) -> RandomSplit:
        if self.test + self.validation >= 1.0:
            raise ValueError("test and validation leave no row to train on; lower one of them")
        return self


class TimeSplit(Options):
    """Rows from a moment on are the test part; validation rows are dealt out of the earlier ones."""

    kind: Literal["time"] = "time"
    test_from: Moment = Field(description="First moment of the test part, in the time column's zone")
    validation: Share = Field(
        default=0.1, description="Share of the earlier rows that choose epoch and candidate"
    )


class GroupSplit(Options):
    """Rows with the same key are in the same part, by a hash of the key; missing keys are one group."""

    kind: Literal["group"] = "group"
    key: str = Field(description="The column whose values stay together; it is no feature")
    test: Share = Field(default=0.2, description="Share of the keys that no training sees")
    validation: Share = Field(default=0.1, description="Share of the keys that choose epoch and candidate")

    @model_validator(mode="after")
    def _leave_rows_to_train_on(self) -> GroupSplit:
        if self.test + self.validation >= 1.0:
            raise ValueError("test and validation leave no row to train on; lower one of them")
        return self


Split = Annotated[RandomSplit | TimeSplit | GroupSplit, Field(discriminator="kind")]


class DataOptions(Options):
    """The dataset of a workflow and how its rows are divided."""

    url: PublicUrl = Field(
        min_length=1, description="Directory, glob or file of Parquet, local or any fsspec URL"
    )
    time: str | None = Field(default=None, description="The column that says when a row happened")
    weight: str | None = Field(default=None, description="The column of sample weights")
    where: str | None = Field(
        default=None,
        min_length=1,
        description="Which rows are used, such as: country in ['DE', 'FR'] and age >= 18",
    )
    drop: tuple[str, ...] = Field(default=(), description="Columns that are not used as features")
    split: Split = Field(default=RandomSplit(), description="Which rows train, validate and test")
    history: tuple[Step, ...] = Field(
        default=(), description="Columns made from the rows before, of data in the order of `time`"
    )
    embeddings: tuple[EmbeddingOptions, ...] = Field(
        default=(), description="Columns that local language models make of columns of text"
    )

    remembered: str | None = Field(
        default=None,
        min_length=1,
        description="Folder where what is found in each chunk is kept: later runs profile only chunks that are new or changed",
    )

    @field_validator("where")
    @classmethod
    def _understand(cls, value: str | None) -> str | None:
        if value is not None:
            parse_filter(value)
        return value

    @model_validator(mode="after")
    def _name_the_time_column(self) -> DataOptions:
        if self.split.kind == "time" and self.time is None:
            raise ValueError("a time split needs the time column; add data.time")
        if self.history and self.time is None:
            raise ValueError("history needs the time column; add data.time")
        return self

    @property
    def looked_back(self) -> History | None:
        """What is made from the rows before; None when that is nothing."""
        return History(self.time, self.history) if self.history and self.time is not None else None


class FeaturesOptions(Options):
    """A user's row-wise function over the data, DataFrame in and DataFrame out."""

    function: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="Where the function is, as module:function",
    )
