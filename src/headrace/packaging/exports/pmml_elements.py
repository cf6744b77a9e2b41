"""Elements that all of a PMML file is made of: fields, expressions, and the schema of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable

PMML = "model.pmml"

Expression: TypeAlias = str | float | tuple[Any, ...]
"""A field by its name, a number, or a function of PMML and the expressions that it takes."""


@dataclass(frozen=True)
class Decision:
    """A weighted sum of fields."""

    intercept: float
    terms: tuple[tuple[str, float], ...]
    """Name and coefficient of each field."""

    @property
    def expression(self) -> Expression:
        """The sum as one expression."""
        return ("sum", self.intercept, *(("*", coefficient, name) for name, coefficient in self.terms))


def child(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    """Add an element."""
    return ET.SubElement(parent, tag, attributes)


def derived(place: ET.Element, name: str) -> ET.Element:
    """Add a derived field of a number, whose expression is still to come."""
    return child(place, "DerivedField", name=name, optype="continuous", dataType="double")


def derive(place: ET.Element, name: str, expression: Expression) -> str:
    """Add a derived field, and return its name."""
    _express(derived(place, name), expression)
    return name


def model(
    place: ET.Element, tag: str, fields: Iterable[str], target: str | None = None, **attributes: str
) -> ET.Element:
    """Add a model and its schema: the fields that it takes as they are, and its target where it has one."""
    made = child(place, tag, **attributes)
    schema = child(made, "MiningSchema")
    for name in fields:
        child(schema, "MiningField", name=name, invalidValueTreatment="asIs")
    if target is not None:
        child(schema, "MiningField", name=target, usageType="target")
    return made


def segments(place: ET.Element, method: str) -> ET.Element:
    """Add what holds several models, of which one is made."""
    return child(place, "Segmentation", multipleModelMethod=method)


def segment(place: ET.Element) -> ET.Element:
    """Add the place of one model among several."""
    made = child(place, "Segment", id=str(len(place) + 1))
    child(made, "True")
    return made


def output(place: ET.Element, name: str, feature: str, **attributes: str) -> None:
    """Add a number that a model says."""
    child(
        place, "OutputField", name=name, feature=feature, optype="continuous", dataType="double", **attributes
    )


def _express(parent: ET.Element, expression: Expression) -> None:
    if isinstance(expression, str):
        child(parent, "FieldRef", field=expression)
    elif isinstance(expression, tuple):
        function, *taken = expression
        applied = child(parent, "Apply", function=function)
        for each in taken:
            _express(applied, each)
    else:
        child(parent, "Constant", dataType="double").text = repr(float(expression))
