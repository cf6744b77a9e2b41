"""The drawing of a numeric or time column: histogram, classes over it, box plot, and the target's rate per bin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.report import numbers
from headrace.report.distributions import BINS, Shares, Window, edges, shares, wilson, window
from headrace.report.marks import Drawing, Frame, Mark, Path, Rect, Word, area, line, segment, x_axis
from headrace.report.scales import Scale, ticks, time_ticks

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from headrace.accumulators.columns import ColumnSummary

WIDTH = 360.0
MOST_CLASSES = 6
LEAST_ROWS = 20.0  # below this many rows a bin's rate says nothing


@dataclass(frozen=True)
class Rates:
    """The share of one class in each bin, with 95 % intervals."""

    positive: str
    overall: float
    values: tuple[float | None, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rows: tuple[float, ...]


def histogram(
    name: str,
    overall: ColumnSummary,
    by_class: dict[str, ColumnSummary],
    *,
    unit: numbers.Unit | None = None,
    slim: bool = False,
    lane: bool = True,
) -> Drawing:
    """Draw the distribution of one column.

    Parameters
    ----------
    name : str
        For screen readers.
    overall : ColumnSummary
        With a quantile sketch.
    by_class : dict
        Class label to its summary; drawn over the bars when there are two to six classes.
    unit : {"s", "ms", "us", "ns", "D"}, optional
        The unit of a time column.
    slim : bool
        Draw bars as one path without tips, for pages with very many columns.
    lane : bool
        Of two classes, also draw the share of the second in each bin.

    Returns
    -------
    Drawing
    """
    seen = window(overall)
    seconds = numbers.UNIT_SECONDS[unit] if unit else None
    assert overall.quantiles is not None
    # Few rows get few bins (Rice's rule), so that noise does not look like shape.
    most = min(BINS, max(8, math.ceil(2 * overall.quantiles.n ** (1 / 3))))
    cuts = edges(seen, whole=overall.integers_only and unit is None, unit_seconds=seconds, most=most)
    found = shares(overall, cuts)
    drawn_classes = {
        label: summary
        for label, summary in sorted(by_class.items())
        if summary.quantiles is not None and summary.quantiles.n
    }
    overlay = 2 <= len(drawn_classes) <= (2 if slim else MOST_CLASSES)
    class_shares = (
        {label: shares(summary, cuts).inside for label, summary in drawn_classes.items()} if overlay else {}
    )
    write = _writer(unit, whole=overall.integers_only)
    frame = Frame(30.0, 16.0, WIDTH - 10.0, 112.0)
    x = frame.x(float(cuts[0]), float(cuts[-1]))
    top = (
        max([float(found.inside.max()), *(float(part.max()) for part in class_shares.values())], default=1.0)
        or 1.0
    )
    y = frame.y(0.0, top * 1.04)
    marks: list[Mark] = []
    for tick in ticks(0.0, top, 3, percent=True):
        at = y(tick.value)
        marks.extend(
            (
                segment(frame.left, at, frame.right, at, "grid"),
                Word(frame.left - 4, at + 3.5, tick.label, "tick", "end"),
            )
        )
    marks.extend(_bars(cuts, found, x, y, write, slim=slim))
    for index, part in enumerate(class_shares.values()):
        marks.append(_steps(cuts, part, x, y, f"series series-{index}"))
    marks.extend(_tails(seen, found, frame))
    marks.extend(_box(overall, x, 124.0, write))
    axis = (
        time_ticks(float(cuts[0]), float(cuts[-1]), unit)
        if unit
        else ticks(float(cuts[0]), float(cuts[-1]), 5)
    )
    if overall.integers_only and not unit:
        axis = tuple(tick for tick in axis if float(tick.value).is_integer())
    marks.extend(x_axis(Frame(frame.left, frame.top, frame.right, 136.0), x, axis))
    rates = bin_rates(drawn_classes, cuts) if len(by_class) == 2 and lane and not slim else None
    height = 154.0
    if rates is not None:
        marks.extend(_rate_lane(rates, cuts, x, Frame(frame.left, 180.0, frame.right, 222.0), write))
        height = 228.0
    return Drawing(WIDTH, height, f"Distribution of {name}", tuple(marks))


def bin_rates(by_class: dict[str, ColumnSummary], cuts: np.ndarray) -> Rates | None:
    """Return the rate of the last of two classes per bin, or None where there are not two classes."""
    if len(by_class) != 2:
        return None
    (negative, others), (positive, ones) = sorted(by_class.items())
    if others.quantiles is None or ones.quantiles is None or negative == positive:
        return None
    ones_found, others_found = shares(ones, cuts), shares(others, cuts)
    hits, misses = ones_found.inside * ones_found.rows, others_found.inside * others_found.rows
    rows = hits + misses
    # Where bins come from sketches, the interval is widened by their error, and a bin of which the error could be
    # more than a tenth is not drawn.
    hit_error, miss_error = ones_found.error * ones_found.rows, others_found.error * others_found.rows
    least = max(LEAST_ROWS, 10 * (hit_error + miss_error))
    bands = [
        (
            wilson(max(hit - hit_error, 0.0), max(hit - hit_error, 0.0) + miss + miss_error)[0],
            wilson(hit + hit_error, hit + hit_error + max(miss - miss_error, 0.0))[1],
        )
        for hit, miss in zip(hits, misses, strict=True)
    ]
    return Rates(
        positive=positive,
        overall=ones.quantiles.n / (ones.quantiles.n + others.quantiles.n),
        values=tuple(float(h / r) if r >= least else None for h, r in zip(hits, rows, strict=True)),
        low=tuple(low for low, _ in bands),
        high=tuple(high for _, high in bands),
        rows=tuple(float(r) for r in rows),
    )


def _writer(unit: numbers.Unit | None, *, whole: bool) -> Callable[[float], str]:
    if unit is not None:
        return lambda value: numbers.moment(value, unit)
    if whole:
        return lambda value: numbers.count(value) if abs(value) < 1e12 else numbers.number(value)
    return lambda value: numbers.number(value, 5)


def _bars(
    cuts: np.ndarray,
    found: Shares,
    x: Scale,
    y: Scale,
    write: Callable[[float], str],
    *,
    slim: bool,
) -> list[Mark]:
    base = y(0.0)
    boxes = []
    for left, right, part in zip(cuts[:-1], cuts[1:], found.inside, strict=True):
        if part <= 0:
            continue
        start, end, top = x(float(left)), x(float(right)), min(y(float(part)), base - 0.5)
        gap = 1.0 if end - start > 4 else 0.3
        boxes.append((start, end - gap, top, float(left), float(right), float(part)))
    if slim:
        return [Path("".join(f"M{s:g},{base:g}V{t:g}H{e:g}V{base:g}Z" for s, e, t, *_ in boxes), "bar")]
    return [
        Rect(
            start,
            top,
            round(max(end - start, 0.6), 1),
            round(base - top, 1),
            "bar",
            f"{_range(left, right, write, cuts)}: {'≈ ' if found.error else ''}{numbers.count(part * found.rows)} rows, "
            f"{numbers.share(part)}",
        )
        for start, end, top, left, right, part in boxes
    ]


def _range(left: float, right: float, write: Callable[[float], str], cuts: np.ndarray) -> str:
    halves = float(cuts[0]) % 1 == 0.5 and (right - left) % 1 == 0
    if not halves:
        return numbers.span(write(left), write(right))
    first, last = left + 0.5, right - 0.5
    return write(first) if first == last else numbers.span(write(first), write(last))


def _steps(cuts: np.ndarray, part: np.ndarray, x: Scale, y: Scale, style: str) -> Path:
    points: list[tuple[float, float]] = []
    for left, right, value in zip(cuts[:-1], cuts[1:], part, strict=True):
        at = y(float(value))
        points.extend(((x(float(left)), at), (x(float(right)), at)))
    return line(points, style)


def _tails(seen: Window, found: Shares, frame: Frame) -> list[Mark]:
    marks: list[Mark] = []
    if seen.cut_low and found.below > 0:
        marks.append(
            Word(frame.left + 2, frame.top - 5, f"◂ {numbers.share(found.below)} lower", "note", "start")
        )
    if seen.cut_high and found.above > 0:
        marks.append(
            Word(frame.right, frame.top - 5, f"{numbers.share(found.above)} higher ▸", "note", "end")
        )
    return marks


def _box(overall: ColumnSummary, x: Scale, middle: float, write: Callable[[float], str]) -> list[Mark]:
    assert overall.quantiles is not None
    assert overall.moments is not None
    found = overall.quantiles.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
    p5, p25, p50, p75, p95 = (float(value) for value in found)
    low, high = float(overall.moments.minimum), float(overall.moments.maximum)
    tip = " · ".join(
        f"{label} {write(value)}"
        for label, value in (
            ("min", low), ("p5", p5), ("p25", p25), ("median", p50), ("p75", p75), ("p95", p95), ("max", high),
        )
    )  # fmt: skip
    width = round(max(x(p75) - x(p25), 1.0), 1)
    return [
        segment(x(low), middle, x(high), middle, "whisker faint"),
        segment(x(p5), middle, x(p95), middle, "whisker"),
        segment(x(p5), middle - 3, x(p5), middle + 3, "whisker"),
        segment(x(p95), middle - 3, x(p95), middle + 3, "whisker"),
        Rect(x(p25), middle - 5, width, 10.0, "box", tip),
        segment(x(p50), middle - 5, x(p50), middle + 5, "median"),
    ]


def _rate_lane(
    rates: Rates, cuts: np.ndarray, x: Scale, frame: Frame, write: Callable[[float], str]
) -> list[Mark]:
    shown = [i for i, value in enumerate(rates.values) if value is not None]
    if not shown:
        return []
    top = min(1.0, max([rates.overall * 1.5, *(rates.high[i] for i in shown)]))
    y = frame.y(0.0, top)
    marks: list[Mark] = [
        Word(frame.left, frame.top - 9, f"share of class {numbers.cut(rates.positive, 18)}", "lane", "start")
    ]
    for value in (0.0, top):
        at = y(value)
        marks.extend(
            (
                segment(frame.left, at, frame.right, at, "grid"),
                Word(frame.left - 4, at + 3.5, _percent(value), "tick", "end"),
            )
        )
    mean = y(rates.overall)
    marks.append(segment(frame.left, mean, frame.right, mean, "reference"))
    for start, end in _runs(shown):
        upper: list[tuple[float, float]] = []
        lower: list[tuple[float, float]] = []
        middle: list[tuple[float, float]] = []
        for i in range(start, end + 1):
            left, right = x(float(cuts[i])), x(float(cuts[i + 1]))
            upper.extend(((left, y(rates.high[i])), (right, y(rates.high[i]))))
            lower.extend(((left, y(rates.low[i])), (right, y(rates.low[i]))))
            value = y(rates.values[i] or 0.0)
            middle.extend(((left, value), (right, value)))
        marks.extend((area(upper, lower, "band band-1"), line(middle, "series series-1")))
    for i in shown:
        left, right = x(float(cuts[i])), x(float(cuts[i + 1]))
        tip = (
            f"{_range(float(cuts[i]), float(cuts[i + 1]), write, cuts)}: {numbers.share(rates.values[i])} of "
            f"{numbers.count(rates.rows[i])} rows ({numbers.span(numbers.share(rates.low[i]), numbers.share(rates.high[i]))})"
        )
        marks.append(
            Rect(left, frame.top, round(right - left, 1), round(frame.bottom - frame.top, 1), "hover", tip)
        )
    return marks


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%" if value >= 0.1 or value == 0 else f"{100 * value:.1g}%"


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
