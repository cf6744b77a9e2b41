"""Drawings of how a model answers: what is lost without a column, what it says along one, what each adds to a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.report import numbers
from headrace.report.curves import WIDTH
from headrace.report.marks import Dot, Drawing, Frame, Mark, Path, Rect, Word, line, segment, x_axis, y_axis
from headrace.report.scales import Scale, ticks, time_ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LABEL = 112.0
"""Room for the names of columns and values, to the left."""
MOST_OUTPUTS = 6
SHADES = 5
"""Shades from low to high values."""


def lost_bars(title: str, rows: Sequence[tuple[str, float, float, float]]) -> Drawing:
    """Draw what is lost without each column, with its interval, around a line at zero.

    Parameters
    ----------
    title : str
        For screen readers.
    rows : sequence of (name, value, low, high)
        One bar each.
    """
    frame = Frame(LABEL, 4.0, WIDTH - 58.0, 8.0 + 22.0 * len(rows))
    low = min(0.0, *(each[2] for each in rows))
    high = max(1e-12, *(each[3] for each in rows))
    x = frame.x(low, high)
    marks: list[Mark] = []
    for index, (name, value, least, most) in enumerate(rows):
        top = frame.top + 22.0 * index
        start, end = sorted((x(0.0), x(value)))
        text = numbers.score(value)
        tip = f"{numbers.cut(name, 60)}: {text} ({numbers.span(numbers.score(least), numbers.score(most))})"
        marks += [
            Rect(start, top + 4, round(max(end - start, 1.0), 1), 12.0, "fill-0", tip),
            segment(x(least), top + 10, x(most), top + 10, "spread"),
            Word(LABEL - 7, top + 14, numbers.fit(name, LABEL - 8), "category", "end"),
            Word(frame.right + 6, top + 14, text, "value", "start"),
        ]
    marks.append(segment(x(0.0), frame.top, x(0.0), frame.bottom, "axis"))
    return Drawing(WIDTH, frame.bottom + 4.0, title, tuple(marks))


def along(held: Mapping[str, Any], name: str) -> Drawing:
    """Draw what a model says along one column: the mean, and single rows moved so that all begin at it.

    Parameters
    ----------
    held : mapping
        A `headrace.evaluation.dependence.Dependence` as a document.
    name : str
        What is said, for the axis.
    """
    mean = np.asarray(held["mean"], np.float64)
    # In their own order, so that a class has the same colour in every drawing.
    shown = np.sort(np.argsort(-np.ptp(mean, axis=1), kind="stable")[:MOST_OUTPUTS])
    lines = _centred(np.asarray(held["lines"], np.float64).reshape(-1, mean.shape[1]), mean)
    outputs = [str(held["outputs"][index]) for index in shown]
    drawn = mean[shown]
    # A single row far away does not press all others together: it is held at the edge.
    ends = np.quantile(lines, [0.02, 0.98]).tolist() if lines.size else []
    low, high = min([float(drawn.min()), *ends]), max([float(drawn.max()), *ends])
    pad = (high - low) * 0.06 or abs(high) * 0.01 or 1.0
    if held["kind"] == "category":
        return _by_value(held, drawn, lines, outputs, name, (low - pad, high + pad))
    return _along_line(held, drawn, lines, outputs, name, (low - pad, high + pad))


def _centred(lines: Any, mean: Any) -> Any:
    return lines - lines[:, :1] + mean[0, 0] if len(lines) else lines


def _along_line(
    held: Mapping[str, Any],
    mean: Any,
    lines: Any,
    outputs: Sequence[str],
    name: str,
    bounds: tuple[float, float],
) -> Drawing:
    frame = Frame(50.0, 22.0, WIDTH - 12.0, 222.0)
    timely = held["kind"] == "datetime"
    at = [_seconds(value) if timely else float(value) for value in held["grid"]]
    x, y = frame.x(at[0], at[-1]), frame.y(*bounds)
    marks: list[Mark] = [
        Word(4.0, 11.0, name, "axis-name", "start"),
        *y_axis(frame, y, ticks(*bounds, 5)),
        *x_axis(frame, x, time_ticks(at[0], at[-1], "s") if timely else ticks(at[0], at[-1], 5)),
    ]
    marks += [
        line([(x(a), y(b)) for a, b in zip(at, each, strict=True)], "thread") for each in lines.tolist()
    ]
    for index, values in enumerate(mean.tolist()):
        points = [(x(a), y(b)) for a, b in zip(at, values, strict=True)]
        marks.append(line(points, f"series series-{index} strong"))
        for shown, value, (across, up) in zip(held["grid"], values, points, strict=True):
            said = str(shown).replace("T", " ") if timely else numbers.number(shown)
            tip = f"{numbers.cut(held['column'], 30)} {said}: {outputs[index]} {numbers.score(value)}"
            marks.append(Dot(across, up, 6.0, "reach", tip))
    return Drawing(
        WIDTH, 244.0, f"{name} along {held['column']}", (*marks, *_legend(outputs, frame.right, frame.top))
    )


def _by_value(
    held: Mapping[str, Any],
    mean: Any,
    lines: Any,
    outputs: Sequence[str],
    name: str,
    bounds: tuple[float, float],
) -> Drawing:
    top = 22.0 + (15.0 * len(outputs) if len(outputs) > 1 else 0.0)
    frame = Frame(LABEL, top, WIDTH - 12.0, top + 19.0 * len(held["grid"]))
    x = frame.x(*bounds)
    reach = np.quantile(lines, [0.1, 0.9], axis=0) if len(lines) else None
    marks: list[Mark] = [
        Word(LABEL, 11.0, name, "axis-name", "start"),
        *x_axis(frame, x, ticks(*bounds, 4), grid=True),
    ]
    for index, value in enumerate(held["grid"]):
        up = frame.top + 19.0 * index + 9.5
        label = "missing" if value is None else value
        style = "category missing" if value is None else "category"
        marks.append(Word(LABEL - 7, up + 4, numbers.fit(label, LABEL - 8), style, "end"))
        if reach is not None:
            left, right = reach[:, index].tolist()
            marks.append(segment(x(left), up, x(right), up, "interval strong"))
        for place, output in enumerate(outputs):
            said = float(mean[place, index])
            tip = (
                f"{numbers.cut(held['column'], 30)} {numbers.cut(label, 30)}: {output} {numbers.score(said)}"
            )
            marks.append(Dot(x(said), up, 4.0, f"dot series-{place}", tip))
    marks += _legend(outputs, frame.right, 22.0)
    return Drawing(WIDTH, frame.bottom + 22.0, f"{name} by {held['column']}", tuple(marks))


def _legend(outputs: Sequence[str], right: float, top: float) -> list[Mark]:
    if len(outputs) < 2:
        return []
    marks: list[Mark] = []
    for index, output in enumerate(outputs):
        at = top + 8 + 15 * index
        marks.append(Rect(right - 12, at - 8, 9.0, 9.0, f"fill-{index}"))
        marks.append(Word(right - 17, at, numbers.cut(output, 20), "legend", "end"))
    return marks


def swarm(columns: Sequence[Mapping[str, Any]], base: float) -> Drawing:
    """Draw what each column adds to single predictions: a point a row, its shade by where the value stands among all.

    Parameters
    ----------
    columns : sequence of mapping
        `headrace.evaluation.contributions.ColumnContribution` as documents, with points.
    base : float
        What is said before anything is known, for the axis.
    """
    each = 30.0
    frame = Frame(LABEL, 20.0, WIDTH - 12.0, 20.0 + each * len(columns))
    every = [float(added) for column in columns for added, _ in column["points"]]
    x = frame.x(min(every), max(*every, min(every) + 1e-12))
    marks: list[Mark] = [
        *x_axis(frame, x, ticks(x.low, x.high, 5), grid=True),
        segment(x(0.0), frame.top, x(0.0), frame.bottom, "axis"),
        Word(
            (frame.left + frame.right) / 2,
            frame.bottom + 30,
            f"added to {numbers.number(base)}, which is said of every row",
            "axis-name",
        ),
    ]
    for index, column in enumerate(columns):
        middle = frame.top + each * (index + 0.5)
        marks.append(Word(LABEL - 7, middle + 4, numbers.fit(column["column"], LABEL - 8), "category", "end"))
        marks += _scattered(column["points"], x, middle)
    marks += _shade_key(frame)
    return Drawing(WIDTH, frame.bottom + 36.0, "What each column adds to predictions", tuple(marks))


def _scattered(points: Sequence[tuple[float, float | None]], x: Scale, middle: float) -> list[Mark]:
    """Lay points that would cover each other above and below the middle in turn."""
    taken: dict[int, int] = {}
    paths: dict[str, list[str]] = {}
    for added, stands in points:
        at = x(added)
        number = taken.get(round(at / 3), 0)
        taken[round(at / 3)] = number + 1
        off = min((number + 1) // 2, 12) * 1.05 * (1 if number % 2 else -1)
        shade = "n" if stands is None else str(min(int(stands * SHADES), SHADES - 1))
        paths.setdefault(shade, []).append(f"M{at:g},{middle + off:.4g}h0")
    return [Path("".join(parts), f"swarm swarm-{shade}") for shade, parts in sorted(paths.items())]


def _shade_key(frame: Frame) -> list[Mark]:
    left = frame.left
    return [
        Word(left, 11.0, "low values", "tick", "start"),
        *(Path(f"M{left + 60 + 10 * shade:g},7.6h0", f"swarm swarm-{shade}") for shade in range(SHADES)),
        Word(left + 108, 11.0, "high", "tick", "start"),
        Path(f"M{left + 146:g},7.6h0", "swarm swarm-n"),
        Word(left + 152, 11.0, "no order", "tick", "start"),
    ]


def _seconds(text: str) -> float:
    return float(np.datetime64(text).astype("datetime64[s]").astype(np.int64))
