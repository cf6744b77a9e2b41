"""Prepared features as derived fields of a PMML file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError
from headrace.packaging.exports.pmml_elements import PMML, Decision, child, derive, derived
from headrace.preparation.plans import UNSEEN_CODE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from xml.etree import ElementTree as ET

    from headrace.packaging.exports.pmml_elements import Expression
    from headrace.preparation.layout import Layout
    from headrace.preparation.plans import CategoryPlan, NumericPlan

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def add_decisions(
    place: ET.Element, layout: Layout, weights: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any]
) -> list[Decision]:
    """Write the fields that a linear model weighs, one for all categories of a column, which holds their coefficients.

    Parameters
    ----------
    place : Element
        Takes the fields.
    layout : Layout
        Of the features.
    weights : ndarray, shape (outputs, features)
    offsets : ndarray, shape (outputs,)

    Raises
    ------
    PackageError
        When a column is prepared in a way that is not written.
    """
    terms: list[list[tuple[str, float]]] = [[] for _ in weights]
    for sort, plan, feature in _laid_out(layout):
        if sort == "numbers" and plan.fill is None:
            raise PackageError(f"{plan.name} may stay missing, which no linear model takes", where=PMML)
        if sort == "one_hot":
            for output, own in enumerate(weights):
                weighed = own[feature : feature + len(plan.labels)]
                name = f"one_hot: {plan.name}" + (f" {output}" if len(weights) > 1 else "")
                terms[output].append((_one_hot(place, name, plan, weighed), 1.0))
        else:
            name = _single(place, sort, plan)
            for output, own in enumerate(weights):
                terms[output].append((name, float(own[feature])))
    return [Decision(float(offset), tuple(weighed)) for offset, weighed in zip(offsets, terms, strict=True)]


def add_features(place: ET.Element, layout: Layout, used: Collection[int]) -> dict[int, str]:
    """Write each feature that is used as a field of its own.

    Parameters
    ----------
    place : Element
        Takes the fields.
    layout : Layout
        Of the features.
    used : collection of int
        Places of features.

    Returns
    -------
    dict of int to str
        Names of the fields.

    Raises
    ------
    PackageError
        When a column is prepared in a way that is not written.
    """
    names: dict[int, str] = {}
    for sort, plan, feature in _laid_out(layout):
        if sort != "one_hot":
            if feature in used:
                names[feature] = _single(place, sort, plan)
            continue
        for number, own in enumerate(np.eye(len(plan.labels))):
            if feature + number in used:
                names[feature + number] = _one_hot(place, f"one_hot: {plan.name} {number}", plan, own)
    return names


def _laid_out(layout: Layout) -> Iterator[tuple[str, Any, int]]:
    """Give the sort, the plan and the first feature of each column."""
    if layout.recipes:
        raise PackageError(f"{layout.recipes[0].name} is prepared in a way that is not written", where=PMML)
    for group in layout.groups:
        feature = group.start
        for plan in group.plans:
            if group.sort not in {"numbers", "missing", "ordinal", "one_hot"}:
                raise PackageError(f"{plan.name} is prepared in a way that is not written", where=PMML)
            yield group.sort, plan, feature
            feature += len(plan.labels) if group.sort == "one_hot" else 1


def _single(place: ET.Element, sort: str, plan: Any) -> str:
    """Write a column that is one feature."""
    name = f"{sort}: {plan.name}"
    if sort == "ordinal":
        return _ordinal(place, name, plan)
    absent: Expression = ("if", ("isMissing", plan.name), 1.0, 0.0)
    return derive(place, name, _number(plan) if sort == "numbers" else absent)


def _number(plan: NumericPlan) -> Expression:
    value: Expression = plan.name
    if plan.low is not None:
        value = ("max", ("min", value, plan.high), plan.low)
    scaled = ("/", ("-", value, plan.center), plan.spread)
    if plan.fill is None:  # bounds would come of what is missing, as evaluators leave it out of a minimum
        return ("if", ("isNotMissing", plan.name), scaled)
    fill = plan.fill if plan.low is None else float(np.clip(plan.fill, plan.low, plan.high))
    return ("if", ("isMissing", plan.name), (fill - plan.center) / plan.spread, scaled)


def _one_hot(place: ET.Element, name: str, plan: CategoryPlan, weights: np.ndarray[Any, Any]) -> str:
    """Map each category to its weight; rare and unseen ones share one, or have none."""
    other = float(weights[-1]) if plan.has_bucket else 0.0
    missing = float(weights[len(plan.frequent)]) if plan.missing_is == "frequent" else other
    return _mapped(place, name, plan, zip(plan.frequent, weights, strict=False), other, missing)


def _ordinal(place: ET.Element, name: str, plan: CategoryPlan) -> str:
    """Map each category to its code; rare ones share the last."""
    codes = [(value, code) for code, value in enumerate(plan.frequent)]
    codes += [(value, len(plan.frequent)) for value in plan.rare]
    return _mapped(place, name, plan, codes, UNSEEN_CODE, UNSEEN_CODE)


def _mapped(
    place: ET.Element,
    name: str,
    plan: CategoryPlan,
    known: Iterable[tuple[str | float, float]],
    other: float,
    missing: float,
) -> str:
    """Write a table of categories and numbers, `other` for those that it has not; return the name of the field."""
    numbers = {str(value): float(number) for value, number in known}
    if plan.fill is not None:
        missing = numbers.get(str(plan.fill), other)
    mapped = child(
        derived(place, name),
        "MapValues",
        outputColumn="number",
        dataType="double",
        defaultValue=repr(float(other)),
        mapMissingTo=repr(float(missing)),
    )
    child(mapped, "FieldColumnPair", field=plan.name, column="category")
    table = child(mapped, "InlineTable")
    for value, number in numbers.items():
        if number == other:
            continue
        if _NOT_IN_XML.search(value):
            raise PackageError(f"{plan.name} has a category {value!r} that XML cannot hold", where=PMML)
        row = child(table, "row")
        child(row, "category").text = value
        child(row, "number").text = repr(number)
    return name
