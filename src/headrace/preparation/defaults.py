"""What becomes of each column: the options of its kind, its own, and rules where the file says nothing."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

from headrace.errors import WorkflowError
from headrace.options import Options
from headrace.preparation.categories import fit_categories
from headrace.preparation.curves import fit_curve, fit_outlier_flag, is_plain
from headrace.preparation.encodings import GENERAL, fit_encoding
from headrace.preparation.numeric import fit_numeric
from headrace.preparation.options import CategoricalOptions, ColumnOptions, DatetimeOptions, NumericOptions
from headrace.preparation.plans import ColumnPlan, Dropped
from headrace.preparation.times import fit_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.accumulators.grouped import GroupedSums
    from headrace.preparation.options import PrepareOptions
    from headrace.profiling.profile import ColumnProfile


T = TypeVar("T", bound=Options)
MOST_DISTINCT = 1000
"""Distinct strings up to which a column is one-hot when the file says nothing."""
_OF_CODES = {"one_hot", "frequency", "target"}
"""Encodings of numbers."""
_NULLABLE = {"clip", "expand", "max_categories", "min_frequency"}
"""Keys of which null is a value."""
_OF_KIND = {
    "numeric": NumericOptions.model_fields,
    "string": CategoricalOptions.model_fields,
    "datetime": DatetimeOptions.model_fields,
}


def check_columns(options: PrepareOptions, known: Iterable[str]) -> None:
    """Refuse options for columns that do not exist.

    Raises
    ------
    WorkflowError
        With the nearest name.
    """
    names = list(known)
    places = [(name, f"prepare.columns.{name}") for name in options.columns]
    places += [(name, "prepare.drop_rows") for name in options.drop_rows]
    for number, interaction in enumerate(options.interact):
        places += [(name, f"prepare.interact.{number}.columns") for name in interaction.columns]
    if options.reduce is not None:
        places += [(name, "prepare.reduce.columns") for name in options.reduce.columns or ()]
    if options.isolation_forest is not None:
        places += [
            (name, "prepare.isolation_forest.columns") for name in options.isolation_forest.columns or ()
        ]
    for name, where in places:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise WorkflowError(
                "there is no such column" if where.endswith(f".{name}") else f"there is no column {name!r}",
                where=where,
                mend=f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(names[:10])}",
            )


def plan_column(
    column: ColumnProfile, options: PrepareOptions, counted: GroupedSums | None = None
) -> tuple[ColumnPlan, ...] | Dropped:
    """Decide on one column and learn its numbers.

    A column is dropped when all of it is missing, or more than `drop_missing_above`, when it is constant without missing values, when
    its type is none that models take, and, unless its encoding is given, when it is text or has more than 1000 distinct strings.

    Parameters
    ----------
    column : ColumnProfile
    options : PrepareOptions
    counted : GroupedSums, optional
        What encodings by frequency, target and tokens need beside the profile.

    Raises
    ------
    WorkflowError
        When an option does not fit the kind of the column.
    DataError
        When it holds infinities.
    """
    own = options.columns.get(column.name)
    if own == "drop":
        return Dropped(column.name, column.kind, "as the workflow says", asked=True)
    if column.kind == "other":
        return Dropped(column.name, column.kind, f"no model takes {column.type}")
    summary = column.overall
    if not summary.valid:
        return Dropped(column.name, column.kind, "all values are missing")
    if summary.missing > options.drop_missing_above * summary.rows:
        why = f"{summary.missing / summary.rows:.1%} of its values are missing, more than drop_missing_above"
        return Dropped(column.name, column.kind, why)
    if column.is_constant and not summary.missing:
        return Dropped(column.name, column.kind, "has one value only")
    if own == "passthrough":
        if column.kind not in {"numeric", "boolean"}:
            raise WorkflowError(
                f"the column is a {column.kind}, and only numbers can pass as they are",
                where=f"prepare.columns.{column.name}",
                mend="drop it, or leave this line out",
            )
        as_it_is = NumericOptions(impute="none", indicator=False, clip=None, scale="none")
        return (fit_numeric(column, as_it_is),)
    return _plan(column, options, own or ColumnOptions(), counted)


def _plan(
    column: ColumnProfile, options: PrepareOptions, own: ColumnOptions, counted: GroupedSums | None
) -> tuple[ColumnPlan, ...] | Dropped:
    given = given_keys(own)
    kind = "numeric" if column.kind == "boolean" else column.kind
    if kind == "numeric" and "encode" in given:
        _check_keys(column, given, "string")
        if given["encode"] not in _OF_CODES:
            what = (
                "numbers are ordinal as they are" if given["encode"] == "ordinal" else "numbers are no text"
            )
            raise WorkflowError(
                what,
                where=f"prepare.columns.{column.name}.encode",
                mend="leave it out, or use one_hot, frequency or target",
            )
        return _category(column, _changed(options.categorical, given), counted)
    _check_keys(column, given, kind)
    if kind == "datetime":
        return fit_datetime(column, _changed(options.datetime, given))
    if kind == "string":
        categorical = _changed(options.categorical, given)
        if categorical.encode == "auto" and (column.is_text or column.distinct > MOST_DISTINCT):
            what = "is text" if column.is_text else f"has about {round(column.distinct):,} distinct values"
            way = "tfidf" if column.is_text else "target"
            why = f"{what}; kept when prepare.columns.{column.name} says such as encode: {way}"
            return Dropped(column.name, column.kind, why)
        return _category(column, categorical, counted)
    return _number(column, numeric_options(column, options, given))


def given_keys(own: ColumnOptions) -> dict[str, object]:
    """Return what a column's own options say."""
    given = {
        key: value
        for key in own.model_fields_set
        if (value := getattr(own, key)) is not None or key in _NULLABLE
    }
    if "fill_value" in given:
        given["impute"] = "constant"
    return given


def numeric_options(
    column: ColumnProfile, options: PrepareOptions, given: dict[str, object]
) -> NumericOptions:
    """Return how a number is prepared: its own options before those of all numbers."""
    if column.kind == "boolean":
        # 0 and 1 are at scale already, and a filled value should be one of them.
        plain = {
            "impute": "most_frequent",
            "scale": "none",
            "clip": None,
            "transform": "none",
            "expand": None,
        }
        given = {**plain, **given}
    return _changed(options.numeric, given)


def _number(column: ColumnProfile, numeric: NumericOptions) -> tuple[ColumnPlan, ...]:
    plan = fit_numeric(column, numeric)
    plans: tuple[ColumnPlan, ...] = (plan,) if is_plain(numeric) else fit_curve(column, numeric)
    flag = fit_outlier_flag(plan) if numeric.outliers == "flag" else None
    return plans if flag is None else (*plans, flag)


def _category(
    column: ColumnProfile, options: CategoricalOptions, counted: GroupedSums | None
) -> tuple[ColumnPlan, ...] | Dropped:
    if options.encode in GENERAL:
        return (fit_encoding(column, options, counted),)
    plan = fit_categories(column, options)
    return plan if isinstance(plan, Dropped) else (plan,)


def _check_keys(column: ColumnProfile, given: Iterable[str], kind: str) -> None:
    for key in given:
        if key not in _OF_KIND[kind]:
            fitting = ", ".join(_OF_KIND[kind])
            raise WorkflowError(
                f"does not apply to a {column.kind} column",
                where=f"prepare.columns.{column.name}.{key}",
                mend=f"of use there: {fitting}",
            )


def _changed(options: T, given: dict[str, object]) -> T:
    return options.model_copy(update=given)
