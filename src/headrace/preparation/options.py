"""Options of preparation: how columns become features, for all columns of a kind and for single ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from headrace.options import Options

Impute = Literal["mean", "median", "most_frequent", "constant", "none"]
Scale = Literal["standard", "minmax", "robust", "none"]
Encode = Literal["auto", "one_hot", "ordinal"]
MissingCategory = Literal["category", "most_frequent"]
Part = Literal["year", "month", "day", "weekday", "dayofyear", "hour", "minute", "epoch_days"]


class QuantileClip(Options):
    """Bounds at two quantiles of the training rows, within the rank error of the profile."""

    method: Literal["quantile"] = Field(description="Bounds at two quantiles.")
    low: float = Field(default=0.001, ge=0, lt=0.5, description="Share of rows below the lower bound.")
    high: float = Field(default=0.999, gt=0.5, le=1, description="Share of rows below the upper bound.")


class IqrClip(Options):
    """Bounds at the quartiles, widened by a multiple of their distance."""

    method: Literal["iqr"] = Field(description="Bounds at the quartiles, widened.")
    factor: float = Field(default=3.0, ge=0, description="Quartile distances beyond the quartiles.")


class ZscoreClip(Options):
    """Bounds at a multiple of the standard deviation around the mean."""

    method: Literal["zscore"] = Field(description="Bounds around the mean.")
    limit: float = Field(default=4.0, gt=0, description="Standard deviations on either side.")


Clip = Annotated[QuantileClip | IqrClip | ZscoreClip, Field(discriminator="method")]


class NumericOptions(Options):
    """How numbers are prepared, in this order: fill, clip, scale.

    Statistics of filling are those of the clipped values, so that an outlier does not spread into the rows that are missing.
    """

    impute: Impute = Field(
        default="mean", description="What a missing number becomes; booleans get the most frequent value."
    )
    fill_value: float = Field(
        default=0.0, allow_inf_nan=False, description="The number for impute: constant."
    )
    indicator: bool = Field(
        default=True, description="Add a 0/1 feature that says where a value was missing, if any was."
    )
    clip: Literal["auto"] | Clip | None = Field(
        default="auto",
        description="Bounds for outliers; auto: only where an extreme lies far outside of the 1 % and 99 % quantiles.",
    )
    scale: Scale = Field(default="standard", description="How values are scaled; booleans are not.")


class CategoricalOptions(Options):
    """How strings are prepared."""

    encode: Encode = Field(
        default="auto",
        description="auto: one-hot, and columns of text or of more than 1000 values are dropped with a note.",
    )
    max_categories: int | None = Field(
        default=300, ge=2, description="Features of one column at most, the one of rare values included."
    )
    min_frequency: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=10, description="Rows, or share of rows, below which a value counts as rare."
    )
    missing: MissingCategory = Field(
        default="category", description="A missing value is the category `missing`, or the most frequent one."
    )


class DatetimeOptions(Options):
    """How dates and times are prepared."""

    parts: tuple[Part, ...] | None = Field(
        default=None,
        min_length=1,
        description="Parts that become features; left out: hour and weekday, of dates weekday alone.",
    )


class ColumnOptions(Options):
    """What is different for one column; a key that is left out is as for its kind."""

    impute: Impute | None = Field(default=None, description="As numeric.impute.")
    fill_value: float | None = Field(
        default=None, allow_inf_nan=False, description="As numeric.fill_value; implies impute: constant."
    )
    indicator: bool | None = Field(default=None, description="As numeric.indicator.")
    clip: Literal["auto"] | Clip | None = Field(default=None, description="As numeric.clip.")
    scale: Scale | None = Field(default=None, description="As numeric.scale.")
    encode: Encode | None = Field(
        default=None, description="As categorical.encode; one_hot also for numbers that are codes."
    )
    max_categories: int | None = Field(default=None, ge=2, description="As categorical.max_categories.")
    min_frequency: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="As categorical.min_frequency."
    )
    missing: MissingCategory | None = Field(default=None, description="As categorical.missing.")
    parts: tuple[Part, ...] | None = Field(default=None, min_length=1, description="As datetime.parts.")

    @model_validator(mode="after")
    def _fill_is_constant(self) -> ColumnOptions:
        if self.fill_value is not None and self.impute not in {None, "constant"}:
            raise ValueError(f"fill_value is for impute: constant, not {self.impute}; leave one of them out")
        return self


class PrepareOptions(Options):
    """How columns become features."""

    numeric: NumericOptions = Field(default=NumericOptions(), description="Numbers and booleans.")
    categorical: CategoricalOptions = Field(default=CategoricalOptions(), description="Strings.")
    datetime: DatetimeOptions = Field(default=DatetimeOptions(), description="Dates and times.")
    columns: dict[str, Literal["drop", "passthrough"] | ColumnOptions] = Field(
        default_factory=dict,
        description="Single columns: drop, passthrough (numbers as they are), or what is different.",
    )
