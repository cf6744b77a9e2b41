"""The drawing of a pair of columns: density of two numbers, boxes of a number by category, shares of two categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.report import numbers
from headrace.report.marks import Drawing, Frame, Mark, Path, Rect, Word, segment, x_axis
from headrace.report.scales import Scale, Tick, ticks, time_ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.profiling.pairs import Sampled

WIDTH = 360.0
ACROSS, UP = 34, 22
LEVELS = 6
MOST_ROWS, MOST_ACROSS = 8, 6
ROW = 22.0


def pair_drawing(
    first: Sampled, second: Sampled, units: tuple[numbers.Unit | None, numbers.Unit | None]
) -> Drawing:
    """Draw two columns of a sample against each other.

    Parameters
    ----------
    first, second : Sampled
        A category comes before a number.
    units : pair of {"s", "ms", "us", "ns", "D"}, optional
        The units of columns that hold times.
    """
    if first.codes is None and first.values is not None and second.values is not None:
        return _density(first, second, units)
    if first.codes is not None and second.values is not None:
        return _boxes(first, second, units[1])
    return _shares(first, second)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range that is drawn: the middle 99 % where a tail is longer than that."""
    low, high = float(values.min()), float(values.max())
    inner_low, inner_high = (float(value) for value in np.quantile(values, [0.005, 0.995]))
    span = inner_high - inner_low
    if not span > 0:
        return low, high
    return (
        inner_low if inner_low - low > 0.5 * span else low,
        inner_high if high - inner_high > 0.5 * span else high,
    )


def _ticks(low: float, high: float, unit: numbers.Unit | None, most: int) -> tuple[Tick, ...]:
    return time_ticks(low, high, unit, most) if unit else ticks(low, high, most)


def _cells(
    values: NDArray[np.float64], low: float, high: float, cells: int
) -> tuple[NDArray[np.int64], int, float, float]:
    """Cell of each value; of few whole numbers, a cell each."""
    if (values == np.floor(values)).all() and 0 < high - low < cells:
        count = int(high - low) + 1
        return (values - low).astype(np.int64), count, low - 0.5, high + 0.5
    places = ((values / 2 - low / 2) / (high / 2 - low / 2) * cells).astype(np.int64)
    return np.minimum(places, cells - 1), cells, low, high


def _density(
    first: Sampled, second: Sampled, units: tuple[numbers.Unit | None, numbers.Unit | None]
) -> Drawing:
    assert first.values is not None
    assert second.values is not None
    both = ~(np.isnan(first.values) | np.isnan(second.values))
    a, b = first.values[both], second.values[both]
    (left, right), (low, high) = _range(a), _range(b)
    inside = (a >= left) & (a <= right) & (b >= low) & (b <= high)
    across, columns, left, right = _cells(a[inside], left, right, ACROSS)
    up, rows, low, high = _cells(b[inside], low, high, UP)
    counts = np.bincount(across * rows + up, minlength=columns * rows).reshape(columns, rows)
    frame = Frame(46.0, 8.0, WIDTH - 8.0, 208.0)
    x, y = frame.x(left, right), frame.y(low, high)
    # Even steps of the logarithm, so that thin regions are seen beside dense ones.
    top = float(np.log1p(counts.max())) or 1.0
    levels = np.ceil(np.log1p(counts) / top * LEVELS).astype(int)
    wide, tall = (frame.right - frame.left) / columns, (frame.bottom - frame.top) / rows
    marks: list[Mark] = []
    for tick in _ticks(low, high, units[1], 5):
        at = y(tick.value)
        marks.append(segment(frame.left, at, frame.right, at, "grid"))
        marks.append(Word(frame.left - 5, at + 3.5, tick.label, "tick", "end"))
    for level in range(1, LEVELS + 1):
        parts = [
            f"M{frame.left + i * wide:.1f},{frame.bottom - (j + 1) * tall:.1f}h{wide:.1f}v{tall:.1f}h-{wide:.1f}z"
            for i, j in np.argwhere(levels == level).tolist()
        ]
        if parts:
            marks.append(Path("".join(parts), f"density density-{level}"))
    marks.extend(x_axis(frame, x, _ticks(left, right, units[0], 5)))
    marks.append(Word(frame.right, frame.bottom + 29, numbers.fit(first.name, 300.0), "axis-name", "end"))
    marks.append(Word(4.0, frame.bottom + 29, f"↑ {numbers.fit(second.name, 130.0)}", "axis-name", "start"))
    return Drawing(WIDTH, 244.0, f"Density of {first.name} and {second.name}", tuple(marks))


def _most(codes: NDArray[np.int64], labels: tuple[str, ...], most: int) -> list[int]:
    """Return the codes that occur most often, in descending order."""
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    return [int(i) for i in np.argsort(-counts, kind="stable")[:most] if counts[i] > 0]


def _boxes(first: Sampled, second: Sampled, unit: numbers.Unit | None) -> Drawing:
    assert first.codes is not None
    assert second.values is not None
    held = ~np.isnan(second.values) & (first.codes >= 0)
    codes, values = first.codes[held], second.values[held]
    shown = _most(codes, first.labels, MOST_ROWS)
    groups = [np.quantile(values[codes == code], [0.05, 0.25, 0.5, 0.75, 0.95]) for code in shown]
    left, right = min(float(g[0]) for g in groups), max(float(g[-1]) for g in groups)
    if not right > left:
        left, right = left - 0.5, right + 0.5
    frame = Frame(112.0, 6.0, WIDTH - 10.0, 6.0 + ROW * len(shown))
    x = frame.x(left, right)
    marks: list[Mark] = []
    for row, (code, found) in enumerate(zip(shown, groups, strict=True)):
        middle = frame.top + ROW * (row + 0.5)
        p5, p25, p50, p75, p95 = (float(value) for value in found)
        count = int(np.count_nonzero(codes == code))
        tip = (
            f"{numbers.cut(first.labels[code], 60)}: median {_written(p50, unit)}, p25 {_written(p25, unit)}, "
            f"p75 {_written(p75, unit)}, {numbers.count(count)} sampled rows"
        )
        marks.extend(
            (
                Word(106.0, middle + 4, numbers.fit(first.labels[code], 102.0), "category", "end"),
                segment(x(p5), middle, x(p95), middle, "whisker"),
                Rect(x(p25), middle - 6, round(max(x(p75) - x(p25), 1.0), 1), 12.0, "box", tip),
                segment(x(p50), middle - 6, x(p50), middle + 6, "median"),
            )
        )
    marks.extend(x_axis(frame, x, _ticks(left, right, unit, 4)))
    marks.append(Word(frame.right, frame.bottom + 29, numbers.fit(second.name, 200.0), "axis-name", "end"))
    return Drawing(WIDTH, frame.bottom + 34, f"{second.name} by {first.name}", tuple(marks))


def _written(value: float, unit: numbers.Unit | None) -> str:
    return numbers.moment(value, unit) if unit else numbers.number(value)


def _shares(first: Sampled, second: Sampled) -> Drawing:
    assert first.codes is not None
    assert second.codes is not None
    held = (first.codes >= 0) & (second.codes >= 0)
    a, b = first.codes[held], second.codes[held]
    rows, across = _most(a, first.labels, MOST_ROWS), _most(b, second.labels, MOST_ACROSS)
    frame = Frame(112.0, 36.0, WIDTH - 6.0, 36.0 + ROW * len(rows))
    x = Scale(0.0, float(len(across)), frame.left, frame.right)
    wide = (frame.right - frame.left) / len(across)
    marks: list[Mark] = [
        Word(106.0, 12.0, numbers.fit(first.name, 100.0), "axis-name", "end"),
        Word(frame.left, 12.0, numbers.fit(f"by row: {second.name}", 220.0), "axis-name", "start"),
    ]
    for column, other in enumerate(across):
        marks.append(
            Word(
                round(x(column) + wide / 2, 1), 29.0, numbers.fit(second.labels[other], wide - 2), "category"
            )
        )
    for row, code in enumerate(rows):
        y = frame.top + ROW * row
        marks.append(Word(106.0, y + 15.0, numbers.fit(first.labels[code], 102.0), "category", "end"))
        mine = a == code
        total = int(np.count_nonzero(mine))
        for column, other in enumerate(across):
            share = float(np.count_nonzero(mine & (b == other))) / total
            tip = (
                f"of {numbers.count(total)} sampled rows with {numbers.cut(first.labels[code], 40)}, "
                f"{numbers.share(share)} have {numbers.cut(second.labels[other], 40)}"
            )
            marks.append(
                Rect(
                    x(column),
                    y,
                    round(wide - 1, 1),
                    ROW - 1,
                    "heat plus",
                    tip,
                    round(max(0.85 * share, 0.03), 2),
                )
            )
            if share >= 0.005:
                marks.append(
                    Word(round(x(column) + wide / 2, 1), y + 15.0, f"{100 * share:.0f}%", "cell-text")
                )
    return Drawing(WIDTH, frame.bottom + 4, f"{second.name} by {first.name}", tuple(marks))
