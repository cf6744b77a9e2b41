"""What a model says of its decisions, as the last regression model of a PMML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from headrace.packaging.exports.pmml_elements import Decision, child, derive, derived, model, output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.packaging.exports.pmml_elements import Expression


@dataclass(frozen=True)
class Answer:
    """How decisions become probabilities or a prediction."""

    decisions: list[Decision]
    """One; or one for each class."""
    link: str
    """``identity``, ``exp``, ``sigmoid`` (of several: each by itself, then scaled to sum to 1) or ``softmax``."""
    curve: Any = None
    """Of a calibration of two classes: it takes what the link gives."""


def add_answer(
    place: ET.Element, answer: Answer, fields: Iterable[str], target: str, labels: list[str]
) -> None:
    """Add a regression model with the outputs ``probability_CLASS``, or ``prediction`` where there are no classes.

    Parameters
    ----------
    place : Element
        Takes the model.
    answer : Answer
        What it says.
    fields : iterable of str
        That it takes.
    target : str
    labels : list of str
        Of the classes.
    """
    local = ET.Element("LocalTransformations")
    normalization, decisions = _tables(local, answer)
    made = model(
        place,
        "RegressionModel",
        fields,
        target,
        functionName="classification" if labels else "regression",
        normalizationMethod=normalization,
    )
    says = child(made, "Output")
    for label in labels:
        output(says, f"probability_{label}", "probability", value=label)
    if not labels:
        output(says, "prediction", "predictedValue")
    if len(local):
        made.append(local)
    if labels and len(decisions) == 1:  # of the second class; the first has what is left
        labels, decisions = labels[::-1], [*decisions, Decision(0.0, ())]
    for number, decision in enumerate(decisions):
        about = {"targetCategory": labels[number]} if labels else {}
        table = child(made, "RegressionTable", intercept=repr(decision.intercept), **about)
        for name, coefficient in decision.terms:
            child(table, "NumericPredictor", name=name, coefficient=repr(coefficient))


def _tables(local: ET.Element, answer: Answer) -> tuple[str, list[Decision]]:
    """Return how evaluators normalize, and what; where they would overflow, fields are derived that do not."""
    decisions = answer.decisions
    if len(decisions) == 1 and answer.curve is None:
        return {"identity": "none", "exp": "exp", "sigmoid": "logit"}[answer.link], decisions
    names = [derive(local, f"decision: {number}", each.expression) for number, each in enumerate(decisions)]
    if answer.link == "softmax":
        largest = derive(local, "decision: largest", ("max", *names))
        return "softmax", [Decision(0.0, ((name, 1.0), (largest, -1.0))) for name in names]
    if answer.link == "sigmoid":
        names = [derive(local, f"probability: {number}", _sigmoid(name)) for number, name in enumerate(names)]
    if answer.curve is None:
        return "simplemax", [Decision(0.0, ((name, 1.0),)) for name in names]
    return _calibrated(local, answer.curve, names[0])


def _calibrated(local: ET.Element, curve: Any, name: str) -> tuple[str, list[Decision]]:
    if not hasattr(curve, "X_thresholds_"):
        return "logit", [Decision(-float(curve.b_), ((name, -float(curve.a_)),))]
    rising = child(
        derived(local, "probability: calibrated"), "NormContinuous", field=name, outliers="asExtremeValues"
    )
    for x, y in zip(curve.X_thresholds_, curve.y_thresholds_, strict=True):
        child(rising, "LinearNorm", orig=repr(float(x)), norm=repr(float(y)))
    return "none", [Decision(0.0, (("probability: calibrated", 1.0),))]


def _sigmoid(name: str) -> Expression:
    """``1 / (1 + exp(-x))`` without overflow, and not 0 where it is as small as floats go."""
    return ("/", ("exp", ("min", name, 0.0)), ("+", 1.0, ("exp", ("-", 0.0, ("abs", name)))))
