"""The drawing of a categorical column: the most frequent values as bars, and the target's rate in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.report import numbers
from headrace.report.distributions import wilson
from headrace.report.marks import Dot, Drawing, Mark, Rect, Word, segment
from headrace.report.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH = 360.0
ROW = 20.0
HEAD = 18.0
MOST_CLASSES = 6


@dataclass(frozen=True)
class Category:
    """One value, or one group of values.

    Parameters
    ----------
    label : str
        As shown, before it is cut.
    rows : float
        How many rows have it.
    by_class : mapping
        Class label to rows.
    style : str
        ``""``, ``"rest"`` for all other values together, ``"missing"``.
    """

    label: str
    rows: float
    by_class: Mapping[str, float]
    style: str = ""


def value_bars(
    name: str, categories: Sequence[Category], total: float, classes: Mapping[str, float]
) -> Drawing:
    """Draw one row per category: label, bar, share and, for two classes, the rate with its 95 % interval.

    Parameters
    ----------
    name : str
        The column, for screen readers.
    categories : sequence of Category
        In the order to draw.
    total : float
        Rows of the whole column, which shares refer to.
    classes : mapping
        Class label to rows of the whole column; a lane of rates is drawn when there are two.
    """
    labels = sorted(classes)
    two = len(labels) == 2
    top = HEAD if two else 4.0
    bar_end = 232.0 if two else WIDTH - 52.0
    widest = max((c.rows for c in categories if c.style != "rest"), default=1.0) or 1.0
    bar = Scale(0.0, widest, 112.0, bar_end - (44.0 if two else 0.0))
    height = top + ROW * len(categories) + (14.0 if two else 2.0)
    marks: list[Mark] = []
    rates: Scale | None = None
    if two:
        rates = _rate_scale(categories, classes, labels)
        marks.extend(_rate_axis(rates, classes, labels, top, height))
    for index, category in enumerate(categories):
        y = top + ROW * index
        share = category.rows / total if total else 0.0
        tip = (
            f"{numbers.cut(category.label, 200)}: {numbers.count(category.rows)} rows, {numbers.share(share)}"
        )
        end = 110.0 if category.style == "rest" else bar(category.rows)
        marks.extend(
            (
                Word(
                    106.0,
                    y + 13.0,
                    numbers.fit(category.label, 104.0),
                    f"category {category.style}".strip(),
                    "end",
                ),
                *_bar(category, labels, end, y, tip),
                Word(round(end + 4, 1), y + 13.0, numbers.share(share), "value", "start"),
            )
        )
        if rates is not None:
            marks.extend(_rate(category, rates, labels, y))
    return Drawing(WIDTH, height, f"Most frequent values of {name}", tuple(marks))


def _bar(category: Category, labels: Sequence[str], end: float, y: float, tip: str) -> list[Mark]:
    """One bar; of three to six classes, a stack of their parts; of all other values no bar, which would dwarf all."""
    if category.style == "rest":
        return []
    width = max(end - 112.0, 1.0)
    if not 3 <= len(labels) <= MOST_CLASSES or not category.by_class:
        return [Rect(112.0, y + 3.0, round(width, 1), ROW - 7.0, f"bar {category.style}".strip(), tip)]
    parts: list[Mark] = []
    start, rows = 112.0, sum(category.by_class.values()) or 1.0
    for index, label in enumerate(labels):
        part = category.by_class.get(label, 0.0)
        if part > 0:
            long = width * part / rows
            words = f"{tip}; {numbers.share(part / rows)} of them {numbers.cut(label, 30)}"
            parts.append(Rect(round(start, 1), y + 3.0, round(long, 1), ROW - 7.0, f"fill-{index}", words))
            start += long
    return parts


def _rate_scale(categories: Sequence[Category], classes: Mapping[str, float], labels: Sequence[str]) -> Scale:
    total = sum(classes.values()) or 1.0
    highest = max(
        [1.5 * classes[labels[1]] / total]
        + [
            wilson(c.by_class.get(labels[1], 0.0), sum(c.by_class.values()))[1]
            for c in categories
            if sum(c.by_class.values()) >= 20
        ]
    )
    return Scale(0.0, min(1.0, highest), 252.0, WIDTH - 12.0)


def _rate_axis(
    rates: Scale, classes: Mapping[str, float], labels: Sequence[str], top: float, height: float
) -> list[Mark]:
    overall = classes[labels[1]] / (sum(classes.values()) or 1.0)
    at = rates(overall)
    foot = height - 13.0
    return [
        Word(rates.start, top - 7.0, f"share of class {numbers.cut(labels[1], 10)}", "lane", "start"),
        segment(rates.start, top, rates.start, foot, "grid"),
        segment(rates.end, top, rates.end, foot, "grid"),
        segment(at, top, at, foot, "reference"),
        Word(rates.start, height - 3.0, "0%"),
        Word(rates.end, height - 3.0, f"{100 * rates.high:.0f}%"),
    ]


def _rate(category: Category, rates: Scale, labels: Sequence[str], y: float) -> list[Mark]:
    rows = sum(category.by_class.values())
    if rows < 20:
        return []
    hits = category.by_class.get(labels[1], 0.0)
    low, high = wilson(hits, rows)
    middle = y + ROW / 2 - 0.5
    tip = (
        f"{numbers.cut(category.label, 60)}: {numbers.share(hits / rows)} {numbers.cut(labels[1], 20)} "
        f"({numbers.span(numbers.share(low), numbers.share(high))})"
    )
    return [
        segment(rates(low), middle, rates(high), middle, "interval"),
        Dot(rates(hits / rows), middle, 3.2, "dot series-1", tip),
    ]
