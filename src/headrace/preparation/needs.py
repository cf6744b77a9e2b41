"""What a preparation needs beside the profile, from its options and a schema: the finders of the same pass (pure)."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from headrace.accumulators.leaves import kind_of
from headrace.data.expressions import columns_in
from headrace.errors import WorkflowError
from headrace.preparation.arithmetic import parse_arithmetic
from headrace.preparation.encodings import COUNTED, held_tokens, reduced_width
from headrace.preparation.finders import (
    CountFinder,
    DerivedFinder,
    GramFinder,
    RowFinder,
    TokenFinder,
    counted_name,
)
from headrace.preparation.linear_selection import JOINT
from headrace.preparation.options import ColumnOptions
from headrace.preparation.permutation import PERMUTED_ROWS
from headrace.preparation.recipes import RecipePlan, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.engine.splits import Splitter
    from headrace.preparation.options import CategoricalOptions, PrepareOptions

_TOKENS_HELD = 4
"""Tokens that are counted for each one that is kept."""
_LEAST_TOKENS = 100_000
PreparationFinder: TypeAlias = DerivedFinder | GramFinder | RowFinder | CountFinder | TokenFinder


def finders_of(
    options: PrepareOptions,
    schema: pa.Schema,
    *,
    features: Iterable[str],
    target: str | None,
    task: str,
    splitter: Splitter,
) -> tuple[PreparationFinder, ...]:
    """Name what the options need beside the profile; all of it is found in the same pass.

    Parameters
    ----------
    options : PrepareOptions
    schema : pyarrow.Schema
        Of the pass.
    features : iterable of str
        Columns that may become features.
    target : str or None
    task : str
        ``classification``, ``regression`` or ``clustering``.
    splitter : Splitter
        Tells the training rows.

    Raises
    ------
    WorkflowError
        When a column that is no text shall be cut to tokens.
    """
    features = tuple(features)
    names = [name for name in features if options.columns.get(name) != "drop"]
    kinds = {name: kind_of(_logical(schema.field(name).type)) for name in names}
    found: list[PreparationFinder] = []
    if options.derive:
        known = {field.name: kind_of(_logical(field.type)) for field in schema}
        found.append(DerivedFinder(derived_recipes(options, known), splitter))
    numbers = [name for name in names if kinds[name] == "numeric"]
    by = None if options.select is None else options.select.by
    by_target = task == "regression" and by in {"correlation", *JOINT}
    if needs_gram(options, numbers) or by_target:
        with_target = (*numbers, target) if by_target and target is not None else tuple(numbers)
        if numbers:
            found.append(GramFinder(with_target, splitter))
    judged: tuple[str, ...] = ()
    if by == "permutation" and target is not None:
        judged = (*(name for name in names if kinds[name] != "other"), target)
    found += _sampled(options, features, numbers, judged, splitter, classes=task == "classification")
    for name in names:
        how = encoding_of(options, name, kinds[name])
        if how is None or how.encode not in COUNTED:
            continue
        counts = counted_name(name, how)
        if how.encode in {"tfidf", "bag_of_words"}:
            if kinds[name] != "string":
                raise WorkflowError(
                    f"the column is a {kinds[name]}, and only text has tokens",
                    where=f"prepare.columns.{name}.encode",
                    mend="leave it out",
                )
            capacity = max(_LEAST_TOKENS, _TOKENS_HELD * held_tokens(how, name))
            found.append(TokenFinder(counts, name, capacity, splitter, how.ngrams, how.lowercase))
        elif how.encode == "frequency" or target is None:
            found.append(CountFinder(counts, name, how.max_values, splitter))
        else:
            found.append(
                CountFinder(
                    counts, name, how.max_values, splitter, target, task == "classification", how.folds
                )
            )
    return tuple(found)


def _sampled(
    options: PrepareOptions,
    features: Iterable[str],
    numbers: list[str],
    judged: tuple[str, ...],
    splitter: Splitter,
    *,
    classes: bool,
) -> list[RowFinder]:
    """Name the columns of which rows are sampled: one sample, of which each takes as many rows as it needs."""
    forest, isolated, size, reasons = options.isolation_forest, [], 0, []
    if forest is not None:
        isolated = numbers if forest.columns is None else [n for n in features if n in forest.columns]
    if forest is not None and isolated:
        size = forest.sample
        reasons.append("the isolation forest")
    if judged:
        size = max(size, PERMUTED_ROWS)
        reasons.append("permutation importance (a half is learnt from, a half judges)")
    columns = tuple(dict.fromkeys([*isolated, *judged]))
    return [RowFinder(columns, size, tuple(reasons), splitter, classes)] if columns else []


def reduced_texts(
    options: PrepareOptions, schema: pa.Schema, features: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """Name the texts whose tokens are reduced: how many tokens there are at most, and to how many numbers.

    Raises
    ------
    WorkflowError
        When they are more than can be reduced.
    """
    found = {}
    for name in features:
        how = encoding_of(options, name, kind_of(_logical(schema.field(name).type)))
        width = None if how is None or options.columns.get(name) == "drop" else reduced_width(how, name)
        if how is not None and width is not None and how.components is not None:
            found[name] = (width, how.components)
    return found


def needs_gram(options: PrepareOptions, numbers: Iterable[str]) -> bool:
    """Tell whether numbers are prepared together: selected, filled by regression or reduced."""
    numbers = tuple(numbers)
    if options.select is not None and options.select.by in JOINT and numbers:
        return True
    if options.reduce is not None and options.reduce.method != "random_projection":
        return True
    return any(imputes_by_regression(options, name) for name in numbers)


def imputes_by_regression(options: PrepareOptions, name: str) -> bool:
    """Tell whether a number is filled from others."""
    own = options.columns.get(name)
    if isinstance(own, ColumnOptions) and (own.impute is not None or own.fill_value is not None):
        return own.impute == "regression"
    return own != "passthrough" and options.numeric.impute == "regression"


def encoding_of(options: PrepareOptions, name: str, kind: str) -> CategoricalOptions | None:
    """Return how a column is encoded; None when it is no category."""
    own = options.columns.get(name)
    changes = (
        {key: value for key in own.model_fields_set if (value := getattr(own, key)) is not None}
        if isinstance(own, ColumnOptions)
        else {}
    )
    if kind != "string" and "encode" not in changes:
        return None
    fields = type(options.categorical).model_fields
    return options.categorical.model_copy(
        update={key: value for key, value in changes.items() if key in fields}
    )


def derived_recipes(options: PrepareOptions, kinds: Mapping[str, str]) -> tuple[RecipePlan, ...]:
    """Return what computes the derived columns.

    Parameters
    ----------
    options : PrepareOptions
    kinds : mapping of str to str
        Of the columns of the data.

    Raises
    ------
    WorkflowError
        When an expression names a column that does not exist, or mixes times and numbers.
    """
    recipes = []
    for name, text in options.derive.items():
        where = f"prepare.derive.{name}"
        columns = columns_in(parse_arithmetic(text))
        if name in kinds:
            raise WorkflowError("there is such a column already", where=where, mend="give it another name")
        for column in columns:
            if column not in kinds:
                near = difflib.get_close_matches(column, kinds, 1)
                mend = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(list(kinds)[:10])}"
                raise WorkflowError(f"there is no column {column!r}", where=where, mend=mend)
        found = {"numeric" if kinds[column] == "boolean" else kinds[column] for column in columns}
        if len(found) > 1 or not found <= {"numeric", "datetime"}:
            raise WorkflowError(
                "its columns must all be numbers, or all be times",
                where=where,
                mend="derive it in a features function",
            )
        (kind,) = found
        step = Step("derive", {"text": text, "times": kind == "datetime"}, text)
        recipes.append(RecipePlan(name, kind, columns, (step,), (name,), 1))
    return tuple(recipes)


def _logical(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
