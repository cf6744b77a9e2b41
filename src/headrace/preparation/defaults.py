"""What becomes of each column: the options of its kind, its own, and rules where the file says nothing."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

from headrace.errors import WorkflowError
from headrace.options import Options
from headrace.preparation.categories import fit_categories
from headrace.preparation.numeric import fit_numeric
from headrace.preparation.options import CategoricalOptions, ColumnOptions, DatetimeOptions, NumericOptions
from headrace.preparation.plans import ColumnPlan, Dropped
from headrace.preparation.times import fit_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.preparation.options import PrepareOptions
    from headrace.profiling.profile import ColumnProfile


T = TypeVar("T", bound=Options)
MOST_DISTINCT = 1000
"""Distinct strings up to which a column is one-hot when the file says nothing."""
_NULLABLE = {"clip", "max_categories", "min_frequency"}
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
    for name in options.columns:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise WorkflowError(
                "there is no such column",
                where=f"prepare.columns.{name}",
                mend=f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(names[:10])}",
            )


def plan_column(column: ColumnProfile, options: PrepareOptions) -> ColumnPlan | Dropped:
    """Decide on one column and learn its numbers.

    A column is dropped when all of it is missing, when it is constant without missing values, when its type is none that models take,
    and, unless its encoding is given, when it is text or has more than 1000 distinct strings.

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
        return fit_numeric(column, as_it_is)
    return _plan(column, options, own or ColumnOptions())


def _plan(column: ColumnProfile, options: PrepareOptions, own: ColumnOptions) -> ColumnPlan | Dropped:
    given = {
        key: value
        for key in own.model_fields_set
        if (value := getattr(own, key)) is not None or key in _NULLABLE
    }
    if "fill_value" in given:
        given["impute"] = "constant"
    kind = "numeric" if column.kind == "boolean" else column.kind
    if kind == "numeric" and "encode" in given:
        _check_keys(column, given, "string")
        if given["encode"] == "ordinal":
            raise WorkflowError(
                "numbers are ordinal as they are",
                where=f"prepare.columns.{column.name}.encode",
                mend="leave it out, or use one_hot",
            )
        return fit_categories(column, _changed(options.categorical, given))
    _check_keys(column, given, kind)
    if kind == "datetime":
        return fit_datetime(column, _changed(options.datetime, given))
    if kind == "string":
        categorical = _changed(options.categorical, given)
        if categorical.encode == "auto" and (column.is_text or column.distinct > MOST_DISTINCT):
            what = "is text" if column.is_text else f"has about {round(column.distinct):,} distinct values"
            why = f"{what}; one-hot when prepare.columns.{column.name} says encode: one_hot"
            return Dropped(column.name, column.kind, why)
        return fit_categories(column, categorical)
    if column.kind == "boolean":
        # 0 and 1 are at scale already, and a filled value should be one of them.
        given = {"impute": "most_frequent", "scale": "none", "clip": None, **given}
    return fit_numeric(column, _changed(options.numeric, given))


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
