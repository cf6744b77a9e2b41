"""Options of preparation: how columns become features, for all columns of a kind and for single ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from headrace.options import Options
from headrace.preparation.arithmetic import parse_arithmetic

Impute = Literal["mean", "median", "most_frequent", "constant", "regression", "none"]
Scale = Literal["standard", "minmax", "robust", "maxabs", "none"]
Outliers = Literal["clip", "flag", "remove"]
Transform = Literal["none", "log1p", "sqrt", "box_cox", "yeo_johnson", "quantile_normal", "quantile_uniform"]
Encode = Literal[
    "auto", "one_hot", "ordinal", "hashing", "frequency", "target", "bag_of_words", "tfidf", "text_hashing"
]
Cycles = Literal["one_hot", "sin_cos"]
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


class Bins(Options):
    """One feature a bin, the bins at even shares of the training rows."""

    method: Literal["bins"] = Field(description="One feature a bin, or the number of the bin.")
    bins: int = Field(default=5, ge=2, le=255, description="Bins at most; equal bounds are one.")
    encode: Literal["one_hot", "ordinal"] = Field(default="one_hot", description="As categories are.")


class Splines(Options):
    """B-splines, whose knots lie at even shares of the training rows."""

    method: Literal["spline"] = Field(description="Smooth pieces, one feature each.")
    knots: int = Field(default=5, ge=2, le=100, description="Knots at most; equal ones are one.")
    degree: int = Field(default=3, ge=1, le=5, description="Degree of the pieces.")
    outside: Literal["constant", "linear"] = Field(default="constant", description="Beyond the outer knots.")


class Powers(Options):
    """Powers of one number."""

    method: Literal["powers"] = Field(description="x, x^2, ... of the scaled number.")
    degree: int = Field(default=2, ge=2, le=5, description="The highest.")


Expand = Annotated[Bins | Splines | Powers, Field(discriminator="method")]


class NumericOptions(Options):
    """How numbers are prepared, in this order: fill, clip, transform, scale, expand.

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
    outliers: Outliers = Field(
        default="clip",
        description="What lies outside of the bounds is held to them; flag adds a 0/1 feature; remove leaves such training rows out.",
    )
    transform: Transform = Field(default="none", description="A curve that makes a skewed number even.")
    scale: Scale = Field(default="standard", description="How values are scaled; booleans are not.")
    expand: Expand | None = Field(default=None, description="Several features of one number.")


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
    hash_features: int = Field(
        default=64, ge=2, le=1 << 20, description="Features of encode: hashing and text_hashing."
    )
    max_values: int = Field(
        default=100_000,
        ge=2,
        le=1_000_000,
        description="Values that encode: frequency and target hold at most.",
    )
    smooth: Literal["auto"] | Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default="auto",
        description="encode: target draws the mean of a rare value to that of all, as if so many rows had it.",
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="encode: target, in training: a row gets what the other folds say.",
    )
    max_tokens: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Tokens of encode: tfidf and bag_of_words, the most frequent.",
    )
    min_documents: int = Field(default=2, ge=1, description="Rows in which a token must stand at least.")
    components: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        examples=[100],
        description="Singular vectors (latent semantic analysis) in place of the tokens of encode: tfidf, bag_of_words and "
        "text_hashing, of at most 2048 tokens, in a pass of its own.",
    )
    ngrams: tuple[Annotated[int, Field(ge=1, le=5)], Annotated[int, Field(ge=1, le=5)]] = Field(
        default=(1, 1), description="Words in a row that make a token, from and to."
    )
    lowercase: bool = Field(default=True, description="Whether capitals are small letters.")


class DatetimeOptions(Options):
    """How dates and times are prepared."""

    parts: tuple[Part, ...] | None = Field(
        default=None,
        min_length=1,
        examples=[["hour", "weekday"], ["year", "month", "day", "dayofyear", "minute", "epoch_days"]],
        description="Parts that become features; left out: hour and weekday, of dates weekday alone.",
    )
    cycles: Cycles = Field(
        default="one_hot",
        description="Hour, weekday, month, day, minute as a feature a value, or as sine and cosine of the round.",
    )


class ColumnOptions(Options):
    """What is different for one column; a key that is left out is as for its kind."""

    impute: Impute | None = Field(default=None, description="As numeric.impute.")
    fill_value: float | None = Field(
        default=None, allow_inf_nan=False, description="As numeric.fill_value; implies impute: constant."
    )
    indicator: bool | None = Field(default=None, description="As numeric.indicator.")
    clip: Literal["auto"] | Clip | None = Field(default=None, description="As numeric.clip.")
    outliers: Outliers | None = Field(default=None, description="As numeric.outliers.")
    transform: Transform | None = Field(default=None, description="As numeric.transform.")
    scale: Scale | None = Field(default=None, description="As numeric.scale.")
    expand: Expand | None = Field(default=None, description="As numeric.expand.")
    encode: Encode | None = Field(
        default=None, description="As categorical.encode; one_hot also for numbers that are codes."
    )
    max_categories: int | None = Field(default=None, ge=2, description="As categorical.max_categories.")
    min_frequency: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="As categorical.min_frequency."
    )
    missing: MissingCategory | None = Field(default=None, description="As categorical.missing.")
    hash_features: int | None = Field(
        default=None, ge=2, le=1 << 20, description="As categorical.hash_features."
    )
    max_values: int | None = Field(default=None, ge=2, le=1_000_000, description="As categorical.max_values.")
    smooth: Literal["auto"] | Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="As categorical.smooth."
    )
    folds: int | None = Field(default=None, ge=2, le=20, description="As categorical.folds.")
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000, description="As categorical.max_tokens.")
    min_documents: int | None = Field(default=None, ge=1, description="As categorical.min_documents.")
    components: int | None = Field(default=None, ge=1, le=1000, description="As categorical.components.")
    ngrams: tuple[Annotated[int, Field(ge=1, le=5)], Annotated[int, Field(ge=1, le=5)]] | None = Field(
        default=None, description="As categorical.ngrams."
    )
    lowercase: bool | None = Field(default=None, description="As categorical.lowercase.")
    cycles: Cycles | None = Field(default=None, description="As datetime.cycles.")
    parts: tuple[Part, ...] | None = Field(default=None, min_length=1, description="As datetime.parts.")

    @model_validator(mode="after")
    def _fill_is_constant(self) -> ColumnOptions:
        if self.fill_value is not None and self.impute not in {None, "constant"}:
            raise ValueError(f"fill_value is for impute: constant, not {self.impute}; leave one of them out")
        return self


class IsolationForestOptions(Options):
    """Outliers among several numbers at once are left out of training, found by an isolation forest of a sample."""

    contamination: float = Field(
        default=0.01, gt=0, le=0.5, description="Share of the sample that lies outside."
    )
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Numbers; left out: all that become features."
    )
    sample: int = Field(
        default=10_000, ge=256, le=100_000, description="Training rows that it is learnt from at most."
    )


class InteractOptions(Options):
    """Products of numbers with each other."""

    columns: tuple[str, ...] = Field(min_length=2, description="Numbers, filled and scaled before.")
    degree: int = Field(default=2, ge=2, le=3, description="Numbers in one product at most.")
    powers: bool = Field(default=False, description="Also squares and cubes of one number.")


class ReduceOptions(Options):
    """Fewer features in place of several numbers, which are filled with their means and scaled before."""

    method: Literal["pca", "svd", "random_projection"] = Field(
        description="Principal components, singular vectors, or random directions."
    )
    components: int | Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.95, ge=0, description="How many; of pca also the share of variance that is kept."
    )
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=2, description="Numbers; left out: all that become one plain feature."
    )

    @model_validator(mode="after")
    def _shares_are_of_variance(self) -> ReduceOptions:
        if self.components == 0:
            raise ValueError("components: 0 leaves nothing; name a number from 1 on")
        if isinstance(self.components, float) and self.method != "pca":
            raise ValueError(f"components of {self.method} is a whole number; write such as components: 10")
        return self


class SelectOptions(Options):
    """Which columns stay, judged from the profile of the training rows."""

    by: Literal[
        "variance",
        "correlation",
        "anova",
        "chi2",
        "mutual_information",
        "l1",
        "recursive_elimination",
        "permutation",
    ] = Field(
        description="Variance alone, or how much a column tells about the target, alone or beside others."
    )
    keep: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Columns that stay at most.")
    above: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Score above which a column stays."
    )

    @model_validator(mode="after")
    def _say_how_many(self) -> SelectOptions:
        if (self.keep is None) == (self.above is None):
            raise ValueError("select needs either keep or above")
        if self.by == "recursive_elimination" and self.keep is None:
            raise ValueError("recursive_elimination orders columns; write such as keep: 20 in place of above")
        return self


class PrepareOptions(Options):
    """How columns become features."""

    drop_missing_above: float = Field(
        default=1.0,
        gt=0,
        le=1,
        examples=[0.9],
        description="Share of missing values above which a column is dropped.",
    )
    drop_rows: tuple[str, ...] = Field(
        default=(),
        examples=[["dep_time"]],
        description="Columns without whose value a row is not trained on; it is still predicted.",
    )
    numeric: NumericOptions = Field(default=NumericOptions(), description="Numbers and booleans.")
    categorical: CategoricalOptions = Field(default=CategoricalOptions(), description="Strings.")
    datetime: DatetimeOptions = Field(default=DatetimeOptions(), description="Dates and times.")
    columns: dict[str, Literal["drop", "passthrough"] | ColumnOptions] = Field(
        default_factory=dict,
        examples=[{"tailnum": "drop"}, {"distance": "passthrough"}, {"distance": {"scale": "minmax"}}],
        description="Single columns: drop, passthrough (numbers as they are), or what is different.",
    )
    derive: dict[str, str] = Field(
        default_factory=dict,
        examples=[{"speed": "60 * distance / air_time"}, {"late": "arr_time - dep_time"}],
        description="Numbers from others by name: columns, numbers, + - * /, parentheses, abs(); of times, the days between them.",
    )
    isolation_forest: IsolationForestOptions | None = Field(
        default=None,
        examples=[
            {"contamination": 0.01},
            {"contamination": 0.02, "columns": ["distance", "air_time"], "sample": 20_000},
        ],
        description="Training rows that an isolation forest of a sample tells most easily from all others are left out.",
    )
    interact: tuple[InteractOptions, ...] = Field(
        default=(),
        examples=[[{"columns": ["distance", "air_time"], "degree": 2}]],
        description="Products of numbers, beside them.",
    )
    select: SelectOptions | None = Field(
        default=None,
        examples=[
            {"by": "variance", "above": 0.0},
            {"by": "correlation", "keep": 20},
            {"by": "anova", "keep": 20},
            {"by": "chi2", "keep": 20},
            {"by": "mutual_information", "keep": 20},
            {"by": "l1", "keep": 20},
            {"by": "recursive_elimination", "keep": 20},
            {"by": "permutation", "above": 0.0},
        ],
        description="Columns that stay.",
    )
    reduce: ReduceOptions | None = Field(
        default=None,
        examples=[
            {"method": "pca", "components": 0.95},
            {"method": "svd", "components": 5},
            {"method": "random_projection", "components": 5, "columns": ["a", "b"]},
        ],
        description="Fewer features of several numbers.",
    )

    @field_validator("derive")
    @classmethod
    def _understand(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            try:
                parse_arithmetic(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return value
