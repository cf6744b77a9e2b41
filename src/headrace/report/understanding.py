"""How a model answers, as plain data for the page: figures, coefficients, and the rows that cost most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.report import numbers
from headrace.report.curves import measure_bars, whisker
from headrace.report.evaluation import Figure
from headrace.report.influence import along, lost_bars, swarm
from headrace.report.tables import title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.report.marks import Drawing

BARS = 20
"""Columns that are drawn."""
COEFFICIENTS = 60
FIRST = 15
"""Rows of a table that are seen at once."""


@dataclass(frozen=True)
class CoefficientRow:
    """One coefficient."""

    feature: str
    output: str
    value: str
    interval: str
    effect: str
    drawing: Drawing | None


@dataclass(frozen=True)
class HarmRow:
    """One group of test rows."""

    column: str
    value: str
    rows: int
    loss: str
    share: str
    interval: str
    drawing: Drawing


@dataclass(frozen=True)
class Understood:
    """All that the page says of how a model answers."""

    figures: tuple[Figure, ...] = ()
    """What the model rests on."""
    followed: tuple[Figure, ...] = ()
    """What it says along single columns."""
    followed_note: str = ""
    coefficients: tuple[CoefficientRow, ...] = ()
    coefficients_note: str = ""
    several: bool = False
    """Whether coefficients are of several outputs."""
    harm: tuple[HarmRow, ...] = ()
    harm_note: str = ""
    first: int = field(default=FIRST, init=False)

    @property
    def anything(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.figures or self.followed or self.coefficients or self.harm_note)


def understood(held: Mapping[str, Any], task: str) -> Understood:
    """Turn the document ``understanding.json`` into what the page shows.

    Parameters
    ----------
    held : mapping
        A `headrace.evaluation.understanding.Understanding` as a document; may be empty.
    task : str
        Of the problem.
    """
    if not held or not held.get("rows"):
        return Understood()
    told = held.get("coefficients") or {}
    said = "prediction" if task == "regression" else "probability"
    return Understood(
        figures=(*_importance(held.get("importance")), *_contributions(held.get("contributions"), task)),
        followed=tuple(
            Figure(each["column"], "", along(each, _said(each, said))) for each in held["dependence"]
        ),
        followed_note=_followed_note(held["dependence"], said),
        coefficients=_coefficients(told.get("features", ())),
        coefficients_note=_coefficients_note(told),
        several=len(told.get("intercept", ())) > 1,
        harm=_harm(held["slices"]),
        harm_note=_harm_note(held, task),
    )


def _said(each: Mapping[str, Any], said: str) -> str:
    outputs = each["outputs"]
    return f"{said} of {numbers.cut(outputs[0], 20)}" if len(outputs) == 1 else said


def _importance(held: Mapping[str, Any] | None) -> tuple[Figure, ...]:
    if not held or not held["columns"]:
        return ()
    columns = held["columns"]
    rows = [(each["column"], each["mean"], each["low"], each["high"]) for each in columns[:BARS]]
    repeats = len(columns[0]["repeats"])
    note = (
        f"By how much {title(held['metric'])}, {numbers.score(held['value'])} on {numbers.count(held['rows'])} test rows, gets worse when "
        f"the values of a column are dealt out anew. Bars: 95 % over {repeats} times. Columns that tell the same share their importance."
    )
    rest = len(columns) - len(rows)
    note += f" {rest} more lose less than these." if rest > 0 else ""
    note += f" {held['left_out']} that alone tell less were not looked at." if held["left_out"] else ""
    return (Figure("Lost without a column", note, lost_bars("Permutation importance", rows)),)


def _contributions(held: Mapping[str, Any] | None, task: str) -> tuple[Figure, ...]:
    if not held:
        return ()
    columns = held["columns"]
    what = (
        "the prediction"
        if task == "regression"
        else "log odds"
        if len(held["outputs"]) == 1
        else "the margin of a class"
    )
    found = []
    drawn = [each for each in columns if each["points"]]
    if drawn:
        note = f"SHAP values of the trees: what each column adds to {what} of {len(drawn[0]['points'])} test rows, before any calibration."
        found.append(Figure("Added to single predictions", note, swarm(drawn, held["base"][0])))
    bars = [(each["column"], each["size"], numbers.number(each["size"], 3)) for each in columns[:BARS]]
    note = f"Mean size of the SHAP values: what each column adds to {what}, on {numbers.count(held['rows'])} test rows."
    found.append(Figure("Added on average", note, measure_bars("Mean contribution of each column", bars)))
    return tuple(found)


def _followed_note(held: Sequence[Mapping[str, Any]], said: str) -> str:
    if not held:
        return ""
    note = f"Strong: the mean {said} of {numbers.count(held[0]['rows'])} test rows if all had the value and nothing else changed."
    if any(each["lines"] for each in held):
        count = max(len(each["lines"]) for each in held)
        note += (
            f" Thin: {count} single rows, moved to begin at the mean; where they part, the column acts together with others. Of categories the bar"
            " holds the middle 80 % of them."
        )
    rest = "Each has a scale of its own. Of columns that go together read with care what is said: such rows may not exist."
    return f"{note} {rest}"


def _coefficients(features: Sequence[Mapping[str, Any]]) -> tuple[CoefficientRow, ...]:
    shown = features[:COEFFICIENTS]
    ends = [each[key] for each in shown for key in ("low", "high", "value") if each[key] is not None]
    bounds = (min([0.0, *ends]), max([0.0, *ends]))
    found = []
    for each in shown:
        known = each["low"] is not None
        interval = numbers.span(numbers.number(each["low"]), numbers.number(each["high"])) if known else ""
        value = each["value"]
        low, high = (each["low"], each["high"]) if known else (value, value)
        tip = f"{numbers.cut(each['feature'], 40)}: {numbers.number(value)}"
        drawing = whisker(value, low, high, bounds, 0.0, tip)
        found.append(
            CoefficientRow(
                each["feature"],
                each["output"],
                numbers.number(value),
                interval,
                numbers.number(each["effect"], 3),
                drawing,
            )
        )
    return tuple(found)


def _coefficients_note(held: Mapping[str, Any]) -> str:
    if not held:
        return ""
    note = "On prepared features, those first that move the prediction most over the test rows."
    note += f" Intervals: {held['interval']}." if held["interval"] else ""
    note += f" {held['why']}" if held["why"] else ""
    rest = max(0, len(held["features"]) - COEFFICIENTS) + held["left_out"]
    return note + (f" {numbers.count(rest)} smaller ones are left out here." if rest > 0 else "")


def _harm(slices: Sequence[Mapping[str, Any]]) -> tuple[HarmRow, ...]:
    shares = [[each["share"] * each[key] / each["harm"] for key in ("low", "high")] for each in slices]
    bounds = (0.0, max((high for _, high in shares), default=1.0))
    found = []
    for each, (low, high) in zip(slices, shares, strict=True):
        share = numbers.share(each["share"])
        interval = numbers.span(numbers.share(low), numbers.share(high))
        tip = f"{numbers.cut(each['column'], 30)} {numbers.cut(each['value'], 30)}: {share} ({interval})"
        drawing = whisker(each["share"], low, high, bounds, 0.0, tip)
        loss = numbers.number(each["loss"])
        found.append(HarmRow(each["column"], each["value"], each["rows"], loss, share, interval, drawing))
    return tuple(found)


def _harm_note(held: Mapping[str, Any], task: str) -> str:
    if not held["sliced"]:
        return ""
    loss = "squared error" if task == "regression" else "log loss"
    note = f"All test rows, grouped by each of {numbers.count(len(held['sliced']))} columns in turn: by values, or by ranges of equal share."
    if not held["slices"]:
        return f"{note} No group has a {loss} above that of all rows that could not be chance."
    return (
        f"{note} Harm is the share of the whole {loss} that would go if the group were predicted as well as the average row; groups of "
        "different columns overlap. First come those that do most harm at the least, by the lower end of the 95 % interval, so that few "
        "and noisy rows are not on top."
    )
