"""Drawings of an assessment and of training: ROC, precision-recall, calibration, scores, confusion, learning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.report import numbers
from headrace.report.marks import (
    Dot,
    Drawing,
    Frame,
    Mark,
    Rect,
    Word,
    area,
    line,
    segment,
    x_axis,
    y_axis,
)
from headrace.report.scales import Tick, ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH = 360.0
MOST_LABELS = 24


@dataclass(frozen=True)
class Band:
    """A point with a 95 % interval on its y value."""

    x: float
    y: float
    low: float
    high: float
    rows: float


def unit_curve(
    title: str,
    x_values: Sequence[float],
    y_values: Sequence[float],
    *,
    x_name: str,
    y_name: str,
    reference: tuple[tuple[float, float], tuple[float, float]],
    caption: str,
    filled: bool = False,
) -> Drawing:
    """Draw a curve in the unit square, as ROC and precision-recall are.

    Parameters
    ----------
    title : str
        For screen readers.
    x_values, y_values : sequence of float in [0, 1], same length
        The curve.
    x_name, y_name : str
        Axis names.
    reference : pair of points
        The line that guessing would give.
    caption : str
        Written inside, beside the curve.
    filled : bool
        Fill the area below.
    """
    frame = Frame(42.0, 22.0, WIDTH - 12.0, 292.0)
    x, y = frame.x(0.0, 1.0), frame.y(0.0, 1.0)
    points = [(x(a), y(b)) for a, b in zip(x_values, y_values, strict=True)]
    (x1, y1), (x2, y2) = reference
    marks: list[Mark] = [
        *_names(frame, x_name, y_name),
        *y_axis(frame, y, ticks(0.0, 1.0, 5)),
        *x_axis(frame, x, ticks(0.0, 1.0, 5), grid=True),
        segment(x(x1), y(y1), x(x2), y(y2), "reference"),
    ]
    if filled and points:
        marks.append(
            area(points, [(points[0][0], frame.bottom), (points[-1][0], frame.bottom)], "band band-0")
        )
    marks.append(line(points, "series series-0 strong"))
    step = max(1, len(points) // 40)
    for index in range(0, len(points), step):
        tip = f"{x_name} {numbers.score(x_values[index], 3)}, {y_name} {numbers.score(y_values[index], 3)}"
        marks.append(Dot(*points[index], 6.0, "reach", tip))
    marks.append(Word(frame.right - 8, frame.bottom - 12, caption, "caption", "end"))
    return Drawing(WIDTH, 326.0, title, tuple(marks))


def calibration(bands: Sequence[Band], caption: str) -> Drawing:
    """Draw observed rates against predicted ones, with 95 % intervals, above the number of rows in each bin."""
    frame = Frame(42.0, 22.0, WIDTH - 12.0, 236.0)
    top = min(1.0, max([0.1, *(band.high for band in bands), *(band.x for band in bands)]) * 1.04)
    x, y = frame.x(0.0, top), frame.y(0.0, top)
    marks: list[Mark] = [
        *_names(frame, "", "observed"),
        *y_axis(frame, y, ticks(0.0, top, 5)),
        segment(x(0.0), y(0.0), x(top), y(top), "reference"),
    ]
    for band in bands:
        at = x(band.x)
        marks.append(segment(at, y(band.low), at, y(band.high), "interval"))
    marks.append(line([(x(band.x), y(band.y)) for band in bands], "series series-0"))
    for band in bands:
        tip = (
            f"predicted {numbers.share(band.x)}, observed {numbers.share(band.y)} "
            f"({numbers.span(numbers.share(band.low), numbers.share(band.high))}), {numbers.count(band.rows)} rows"
        )
        marks.append(Dot(x(band.x), y(band.y), 3.6, "dot series-0", tip))
    marks.append(Word(frame.right - 8, frame.bottom - 12, caption, "caption", "end"))
    lower = Frame(frame.left, 246.0, frame.right, 292.0)
    most = max((band.rows for band in bands), default=1.0) or 1.0
    height = lower.y(0.0, most)
    marks.append(Word(lower.left - 5, 254.0, numbers.brief(most), "tick", "end"))
    for band in bands:
        at, up = x(band.x), height(band.rows)
        tip = f"{numbers.count(band.rows)} rows near {numbers.share(band.x)}"
        marks.append(Rect(round(at - 2.5, 1), up, 5.0, round(lower.bottom - up, 1), "bar", tip))
    marks.extend(x_axis(lower, x, ticks(0.0, top, 5)))
    marks.append(
        Word((frame.left + frame.right) / 2, 322.0, "predicted probability · rows below", "axis-name")
    )
    return Drawing(WIDTH, 326.0, "Calibration", tuple(marks))


def histogram_bars(
    title: str,
    cuts: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    x_name: str,
    zero: bool = False,
    share_within: bool = True,
) -> Drawing:
    """Draw one or more histograms over the same bins; several are drawn as outlines with a legend.

    Parameters
    ----------
    title, x_name : str
        For screen readers; below the axis.
    cuts : sequence of float, length bins + 1
        Edges.
    series : mapping
        Label to counts, each of length bins.
    zero : bool
        Mark zero by a reference line.
    share_within : bool
        Heights are shares within each series, so that a rare class can be seen.
    """
    frame = Frame(42.0, 22.0, WIDTH - 12.0, 292.0)
    parts = {
        label: [value / ((sum(values) or 1.0) if share_within else 1.0) for value in values]
        for label, values in series.items()
    }
    top = max((max(values, default=0.0) for values in parts.values()), default=1.0) or 1.0
    x, y = frame.x(cuts[0], cuts[-1]), frame.y(0.0, top * 1.05)
    marks: list[Mark] = [
        *_names(frame, x_name, "share of rows" if len(series) == 1 else "share within class"),
        *y_axis(frame, y, ticks(0.0, top, 4, percent=share_within)),
    ]
    for index, (label, values) in enumerate(parts.items()):
        only = len(parts) == 1
        steps: list[tuple[float, float]] = []
        for left, right, value, rows in zip(cuts[:-1], cuts[1:], values, series[label], strict=True):
            start, end, up = x(left), x(right), y(value)
            steps.extend(((start, up), (end, up)))
            if rows:
                name = "" if only else f"{numbers.cut(label, 24)}, "
                tip = f"{name}{numbers.span(numbers.number(left, 3), numbers.number(right, 3))}: {numbers.count(rows)} rows"
                style = "bar" if only else f"fill-{index % 6} veil"
                marks.append(
                    Rect(
                        start,
                        up,
                        round(max(end - start - 0.6, 0.6), 1),
                        round(frame.bottom - up, 1),
                        style,
                        tip,
                    )
                )
        if not only:
            marks.append(line(steps, f"series series-{index % 6}"))
    if zero and cuts[0] < 0 < cuts[-1]:
        marks.append(segment(x(0.0), frame.top, x(0.0), frame.bottom, "reference"))
    marks.extend(x_axis(frame, x, ticks(cuts[0], cuts[-1], 5)))
    if len(parts) > 1:
        for index, label in enumerate(parts):
            at = frame.top + 8 + 15 * index
            marks.append(Rect(frame.right - 12, at - 8, 9.0, 9.0, f"fill-{index % 6}"))
            marks.append(Word(frame.right - 17, at, numbers.cut(label, 20), "legend", "end"))
    return Drawing(WIDTH, 326.0, title, tuple(marks))


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[float]]) -> Drawing:
    """Draw a confusion matrix: rows are the truth, columns what was predicted; shade is the share of the row."""
    shown = min(len(labels), MOST_LABELS)
    frame = Frame(92.0, 46.0, WIDTH - 12.0, 46.0 + (WIDTH - 104.0))
    cell = (frame.right - frame.left) / shown
    marks: list[Mark] = [
        Word((frame.left + frame.right) / 2, 14.0, "predicted", "axis-name"),
        Word(4.0, frame.top - 8, "actual", "axis-name", "start"),
    ]
    for row in range(shown):
        total = sum(matrix[row]) or 1.0
        middle = frame.top + cell * (row + 0.5)
        marks.append(
            Word(frame.left - 7, round(middle + 4, 1), numbers.fit(labels[row], 82.0), "category", "end")
        )
        across = frame.left + cell * (row + 0.5)
        marks.append(Word(round(across, 1), frame.top - 8, numbers.fit(labels[row], cell), "category"))
        for column in range(shown):
            value = matrix[row][column]
            left, up = frame.left + cell * column, frame.top + cell * row
            part = value / total
            tip = (
                f"actual {numbers.cut(labels[row], 30)}, predicted {numbers.cut(labels[column], 30)}: "
                f"{numbers.count(value)} rows, {numbers.share(part)} of the row"
            )
            style = "cell right" if row == column else "cell wrong"
            side = round(cell - 2, 1)
            ground = Rect(round(left + 1, 1), round(up + 1, 1), side, side, "cell-ground")
            opacity = round(0.06 + 0.84 * part, 3) if value else 0.0
            marks += [ground, replace(ground, style=style, tip=tip, opacity=opacity)]
            if shown <= 10:
                ink = "cell-text light" if part > 0.55 else "cell-text"
                centre = (round(left + cell / 2, 1), round(up + cell / 2, 1))
                if cell >= 60:
                    marks.append(Word(centre[0], centre[1] - 1, numbers.count(value), f"{ink} big"))
                    marks.append(Word(centre[0], centre[1] + 15, numbers.share(part), ink))
                else:
                    marks.append(Word(centre[0], centre[1] + 4, numbers.brief(value), ink))
    return Drawing(WIDTH, round(frame.bottom + 8, 1), "Confusion matrix", tuple(marks))


def learning(histories: Mapping[str, Sequence[tuple[float, float]]], best: str, metric: str) -> Drawing:
    """Draw the validation score after each epoch, the best candidate strong, each line with its name at its end."""
    frame = Frame(50.0, 22.0, WIDTH - 104.0, 292.0)
    values = [score for points in histories.values() for _, score in points]
    epochs = [epoch for points in histories.values() for epoch, _ in points]
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or abs(high) * 0.01 or 1.0
    y = frame.y(low - pad, high + pad)
    x = frame.x(min(epochs), max(*epochs, min(epochs) + 1))
    whole = tuple(tick for tick in ticks(x.low, x.high, 6) if float(tick.value).is_integer())
    marks: list[Mark] = [
        *_names(frame, "epoch", f"validation {metric}"),
        *y_axis(frame, y, ticks(low - pad, high + pad, 5)),
        *x_axis(frame, x, whole or (Tick(x.low, numbers.number(x.low)),)),
    ]
    ends: list[tuple[float, float, str, int]] = []
    for index, (name, points) in enumerate(histories.items()):
        strong = " strong" if name == best else ""
        pixels = [(x(epoch), y(score)) for epoch, score in points]
        marks.append(line(pixels, f"series series-{index % 6}{strong}"))
        for (epoch, score), (across, up) in zip(points, pixels, strict=True):
            tip = f"{numbers.cut(name, 30)}, epoch {numbers.number(epoch)}: {numbers.score(score)}"
            marks.append(Dot(across, up, 3.0, f"dot series-{index % 6}", tip))
        ends.append((pixels[-1][1], pixels[-1][0], name, index % 6))
    marks.extend(_end_labels(ends, frame))
    return Drawing(WIDTH, 326.0, "Learning curves", tuple(marks))


def _end_labels(ends: list[tuple[float, float, str, int]], frame: Frame) -> list[Mark]:
    """Labels at the right, pushed apart so that none covers another; names beyond the room are left out."""
    marks: list[Mark] = []
    last = frame.top - 14.0
    for up, _, name, index in sorted(ends)[:20]:
        at = max(up + 4, last + 13.0)
        if at > frame.bottom + 6:
            break
        marks.append(
            Word(frame.right + 8, round(at, 1), numbers.fit(name, 96.0), f"legend ink-{index}", "start")
        )
        last = at
    return marks


def measure_bars(
    title: str, rows: Sequence[tuple[str, float, str]], *, limit: float | None = None, limit_name: str = ""
) -> Drawing:
    """Draw labelled horizontal bars, with an optional limit as a line that they should not cross.

    Parameters
    ----------
    title : str
        For screen readers.
    rows : sequence of (label, value, value as text)
        One bar each.
    limit : float, optional
        The value not to pass.
    limit_name : str
        Written at the limit.
    """
    start, end = 112.0, WIDTH - 64.0
    top = 22.0 if limit is not None else 4.0
    highest = max([value for _, value, _ in rows] + ([limit] if limit is not None else []) + [1e-12])
    scale = Frame(start, 0.0, end, 0.0).x(0.0, highest)
    height = top + 24.0 * len(rows) + 4.0
    marks: list[Mark] = []
    for index, (label, value, text) in enumerate(rows):
        y = top + 24.0 * index
        over = limit is not None and value > limit
        width = round(max(scale(value) - start, 1.0), 1)
        marks.extend(
            (
                Rect(start, y + 4, end - start, 14.0, "track"),
                Rect(
                    start,
                    y + 4,
                    width,
                    14.0,
                    "fill-over" if over else "fill-0",
                    f"{numbers.cut(label, 60)}: {text}",
                ),
                Word(start - 7, y + 15, numbers.fit(label, 104.0), "category", "end"),
                Word(end + 6, y + 15, text, "value", "start"),
            )
        )
    if limit is not None:
        at = scale(limit)
        marks.append(segment(at, top - 4, at, height - 4, "limit"))
        marks.append(Word(min(at, end), top - 8, limit_name, "lane", "end"))
    return Drawing(WIDTH, height, title, tuple(marks))


def whisker(
    value: float, low: float, high: float, bounds: tuple[float, float], reference: float, tip: str
) -> Drawing:
    """Draw one value with its interval on a scale shared by all rows of a table."""
    frame = Frame(6.0, 3.0, 174.0, 19.0)
    x = frame.x(*bounds)
    middle = 11.0
    return Drawing(
        180.0,
        22.0,
        tip,
        (
            segment(frame.left, middle, frame.right, middle, "grid"),
            segment(x(reference), 1.0, x(reference), 21.0, "reference"),
            segment(x(low), middle, x(high), middle, "interval strong"),
            Dot(x(value), middle, 4.0, "dot series-0", tip),
        ),
    )


def _names(frame: Frame, x_name: str, y_name: str) -> list[Mark]:
    marks: list[Mark] = [Word(4.0, 11.0, y_name, "axis-name", "start")]
    if x_name:
        marks.append(Word((frame.left + frame.right) / 2, frame.bottom + 30, x_name, "axis-name"))
    return marks
