"""The page of two data sets side by side: what came, went, is missing or moved, and the distributions over each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import headrace
from headrace.profiling.comparison import ColumnComparison, compare
from headrace.profiling.outcomes import same_value
from headrace.report import numbers
from headrace.report.facts import Fact, few_values, time_unit
from headrace.report.histograms import histogram
from headrace.report.marks import Drawing, Mark, Rect, Word
from headrace.report.pages import render
from headrace.report.scales import Scale

if TYPE_CHECKING:
    from headrace.profiling.profile import ColumnProfile, Profile

MOST_CARDS, MOST_ROWS, TOP = 200, 1000, 8
ROW = 26.0
STATES = {"fail": "moved", "warn": "moved a little", "pass": "alike"}
TONES = {"fail": "act", "warn": "look", "pass": "good"}


@dataclass(frozen=True)
class ComparisonRow:
    """One column as the page shows it."""

    number: int
    name: str
    kind: str
    word: str
    tone: str
    missing: tuple[str, str]
    means: tuple[str, str]
    stability: str
    figure: str
    gap: float
    drawing: Drawing | None


def render_comparison(a: Profile, b: Profile, *, names: tuple[str, str]) -> str:
    """Draw two profiles as one HTML page that needs nothing else.

    Parameters
    ----------
    a, b : Profile
    names : pair of str
        Of the two data sets.

    Returns
    -------
    str
        An HTML document. The first 200 columns, those that differ most, are drawn; the first 1,000 stand in the table.
    """
    found = compare(a, b)
    rows = tuple(
        _row(index, column, a, b, drawn=index < MOST_CARDS)
        for index, column in enumerate(found.columns[:MOST_ROWS])
    )
    return render(
        "comparison.html",
        title="Two data sets",
        subtitle="",
        eyebrow="headrace compare",
        version=headrace.__version__,
        sections=(("overview", "Overview"), ("differences", "Differences"), ("columns", "Columns")),
        names=names,
        figures=_figures(found.columns, found.rows),
        rows=rows,
        cards=[row for row in rows if row.drawing is not None],
        left_out=len(found.columns) - len(rows),
    )


def _figures(columns: tuple[ColumnComparison, ...], rows: tuple[int, int]) -> tuple[Fact, ...]:
    def counted(*states: str) -> int:
        return sum(1 for column in columns if column.state in states)

    moved = sum(1 for column in columns if column.drift in {"warn", "fail"})
    compared = sum(1 for column in columns if column.drift)
    return (
        Fact("rows of A", numbers.count(rows[0])),
        Fact("rows of B", numbers.count(rows[1])),
        Fact(
            "columns in both",
            numbers.count(counted("both", "type")),
            f"{counted('type')} of another kind" if counted("type") else "",
        ),
        Fact("only in A", numbers.count(counted("only in A"))),
        Fact("only in B", numbers.count(counted("only in B"))),
        Fact("moved", numbers.count(moved), f"of {numbers.count(compared)} compared, beyond noise"),
    )


def _row(index: int, column: ColumnComparison, a: Profile, b: Profile, *, drawn: bool) -> ComparisonRow:
    left, right = a.columns.get(column.name), b.columns.get(column.name)
    drawing = None
    if drawn and left is not None and right is not None and column.state == "both":
        drawing = _drawing(left, right)
    held = left if left is not None else right
    assert held is not None
    of_kind = column.state in {"only in A", "only in B", "type"}
    word = {"type": f"{column.types[0]}, then {column.types[1]}"}.get(column.state, column.state)
    gap = (
        0.0
        if any(math.isnan(share) for share in column.missing)
        else abs(column.missing[0] - column.missing[1])
    )
    return ComparisonRow(
        index,
        column.name,
        held.kind,
        word if of_kind else STATES.get(column.drift, "not compared"),
        "act" if of_kind else TONES.get(column.drift, ""),
        (numbers.share(column.missing[0]), numbers.share(column.missing[1])),
        (numbers.number(column.means[0]), numbers.number(column.means[1])),
        _index(column.stability, column.stability_noise),
        column.figure,
        gap,
        drawing,
    )


def _index(value: float | None, noise: float | None) -> str:
    """Write a stability index with what chance explains of it."""
    if value is None or math.isnan(value):
        return numbers.MISSING
    return f"{numbers.score(value, 3)} (noise {numbers.score(noise, 3)})"


def _drawing(a: ColumnProfile, b: ColumnProfile) -> Drawing | None:
    if not a.overall.valid or not b.overall.valid or a.kind == "other":
        return None
    whole = a.overall.merge(b.overall)
    sketch, moments = whole.quantiles, whole.moments
    if sketch is not None and sketch.n and not (a.kind == "numeric" and few_values(whole)):
        if moments is None or moments.minimum == moments.maximum:
            return None
        if a.kind == "datetime" and a.type != b.type:
            return None
        unit = time_unit(a.type) if a.kind == "datetime" else None
        return histogram(a.name, whole, {"A": a.overall, "B": b.overall}, unit=unit, lane=False)
    return _bars(a, b)


def _bars(a: ColumnProfile, b: ColumnProfile) -> Drawing | None:
    """Draw the most frequent values of either, with their shares in both."""
    shares = [
        {same_value(value): count / column.overall.valid for value, count in column.top(200)}
        for column in (a, b)
    ]
    values = sorted(
        shares[0].keys() | shares[1].keys(),
        key=lambda value: (-max(shares[0].get(value, 0.0), shares[1].get(value, 0.0)), value),
    )[:TOP]
    if not values:
        return None
    top = max(max(part.get(value, 0.0) for value in values) for part in shares)
    scale = Scale(0.0, top or 1.0, 112.0, 308.0)
    marks: list[Mark] = []
    for index, value in enumerate(values):
        y = 2.0 + ROW * index
        marks.append(Word(106.0, y + 14.0, numbers.fit(value, 102.0), "category", "end"))
        for side, part in enumerate(shares):
            share = part.get(value, 0.0)
            end, at = scale(share), y + 10.0 * side
            tip = f"{numbers.cut(value, 100)}: {numbers.share(share)} of {'AB'[side]}"
            marks.append(Rect(112.0, at, round(max(end - 112.0, 0.8), 1), 9.0, f"fill-{side}", tip))
            marks.append(Word(round(end + 4, 1), at + 8.0, numbers.share(share), "value", "start"))
    return Drawing(360.0, ROW * len(values) + 2.0, f"Most frequent values of {a.name}", tuple(marks))


def comparison_rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the document of a comparison as rows of text: column, state, missing, mean, stability, figure."""
    return [
        (
            column["column"],
            column["state"] if column["state"] != "both" else STATES.get(column["drift"], "not compared"),
            *(numbers.share(share) for share in column["missing_share"]),
            *(numbers.number(mean) for mean in column["mean"]),
            _index(column["stability_index"], column["stability_noise"]),
            column["figure"],
        )
        for column in document["columns"]
    ]
