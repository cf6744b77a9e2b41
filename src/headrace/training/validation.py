"""Options of validation: by which rows candidates are judged, the `validation:` key."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from headrace.data.durations import Duration  # noqa: TC001 pydantic reads the annotation
from headrace.data.options import Moment  # noqa: TC001 pydantic reads the annotation
from headrace.options import Options

MOST_FOLDS = 50

Count = Annotated[int, Field(ge=2, le=MOST_FOLDS)]
Repeats = Annotated[int, Field(ge=1, le=20)]


class _Folded(Options):
    shared_preparation: bool = Field(
        default=False,
        description="Learn the preparation once from all rows that are not for the test: faster, and the rows that "
        "judge have then had a say in it",
    )
    nested: bool = Field(
        default=False,
        description="Also choose within each fold, by the other folds of the rows that it learns from: the score of the choice "
        "itself, for as many times the work as there are folds",
    )


class Holdout(Options):
    """One set of rows judges: the share `data.split.validation`."""

    kind: Literal["holdout"] = "holdout"


class KFold(_Folded):
    """Rows are dealt to folds by a hash; each fold judges what was learnt from the others."""

    kind: Literal["kfold"]
    folds: Count = Field(default=5, description="How many")
    repeats: Repeats = Field(default=1, description="How often all rows are dealt anew")


class Stratified(_Folded):
    """As kfold, with every class spread evenly over the folds."""

    kind: Literal["stratified"]
    folds: Count = Field(default=5, description="How many")
    repeats: Repeats = Field(default=1, description="How often all rows are dealt anew")


class Grouped(_Folded):
    """Rows with the same key are in the same fold."""

    kind: Literal["group"]
    key: str = Field(description="The column whose values stay together; it is no feature")
    folds: Count = Field(default=5, description="How many")
    repeats: Repeats = Field(default=1, description="How often all rows are dealt anew")


class Timed(_Folded):
    """Each fold judges by a stretch of time and learns from what was before it."""

    kind: Literal["time"]
    folds: Count = Field(
        default=5, description="Stretches that judge, of about equally many rows as the footers tell"
    )
    starts: tuple[Moment, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_FOLDS,
        description="Where each begins, in place of `folds`",
    )
    gap: Duration = Field(
        default=timedelta(0), description="Time before a stretch from which is not learnt, such as 7d"
    )
    window: Duration | None = Field(
        default=None,
        description="Learn from so much time only, such as 90d; left out: from all that was before",
    )


class ByColumn(_Folded):
    """A column says which fold a row is in, as scikit-learn's PredefinedSplit does."""

    kind: Literal["column"]
    key: str = Field(description="The column; it is no feature")
    values: tuple[int | str, ...] = Field(
        min_length=2,
        max_length=MOST_FOLDS,
        description="Its values, one a fold; rows with another are learnt from in every fold",
    )


Validation = Annotated[Holdout | KFold | Stratified | Grouped | Timed | ByColumn, Field(discriminator="kind")]
