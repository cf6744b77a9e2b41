"""Drawings over time: rows per period, the target's rate, means and missing shares of columns, and what moves most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.accumulators.trends import Trend, coarser
from headrace.report import numbers
from headrace.report.distributions import wilson
from headrace.report.marks import Drawing, Frame, Mark, Path, Rect, Word, area, line, segment, x_axis
from headrace.report.scales import ticks, time_ticks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MOST_POINTS = 190
_LEAST = 20
"""Rows of a period below which its rate or mean is not drawn."""
_LEAST_MOVEMENT = 0.02


@dataclass(frozen=True)
class Periods:
    """A trend in at most 190 periods.

    Parameters
    ----------
    trend : Trend
    word : str
        ``hour``, ``day``, ``week``, ``month`` or ``year``.
    """

    trend: Trend
    word: str

    @property
    def seconds(self) -> NDArray[np.float64]:
        """When each period begins, in seconds since 1970."""
        return self.trend.starts().astype(np.int64).astype(np.float64)


def periods(trend: Trend) -> Periods | None:
    """Put periods together until few enough are left to be drawn; None of fewer than two."""
    held, word = trend, str(trend.grain)
    if word == "hour" and not (held.periods % 24).any():  # dates, or times without hours
        held, word = held.by(held.periods // 24, "day"), "day"
    if word == "hour" and len(held.periods) > MOST_POINTS:
        held, word = held.by(coarser(held.periods, "hour", "day"), "day"), "day"
    if word == "day" and len(held.periods) > 7 * MOST_POINTS:
        held, word = held.by(coarser(held.periods, "day", "month"), "month"), "month"
    elif word == "day" and len(held.periods) > MOST_POINTS:
        # A week is told by its Monday; 1970 began on a Thursday.
        held, word = held.by(held.periods - (held.periods + 3) % 7, "day"), "week"
    if word == "month" and len(held.periods) > MOST_POINTS:
        held, word = held.by(coarser(held.periods, "month", "year"), "year"), "year"
    return Periods(held, word) if len(held.periods) > 1 else None


@dataclass(frozen=True)
class Movement:
    """How a column changes over time.

    Parameters
    ----------
    kind : {"mean", "missing"}
    size : float
        Of a mean, the share of the variance of the column that lies between periods; of missing values, the range of
        their share.
    low, high : float
        The least and the largest mean or share of a period with at least 20 rows.
    """

    kind: str
    size: float
    low: float
    high: float


def movements(trend: Trend, spreads: Mapping[str, float]) -> dict[str, Movement]:
    """Return the columns that change over time by more than chance.

    Parameters
    ----------
    trend : Trend
    spreads : mapping of str to float
        Standard deviation of the columns that have a mean.
    """
    found: dict[str, Movement] = {}
    enough = trend.rows >= _LEAST
    if int(enough.sum()) < 2:
        return {}
    rows = trend.rows[enough].astype(np.float64)
    for j, name in enumerate(trend.names):
        n = trend.finite[enough, j].astype(np.float64)
        spread = spreads.get(name, 0.0)
        if 0 < spread < np.inf and (n >= _LEAST).sum() > 1:
            held = n >= _LEAST
            means, n = trend.sums[enough, j][held] / n[held], n[held]
            overall = float((means * n).sum() / n.sum())
            between = float((n * (means - overall) ** 2).sum() / n.sum()) / spread**2
            size = between - (len(n) - 1) / float(n.sum())
            if size > _LEAST_MOVEMENT:
                found[name] = Movement("mean", min(1.0, size), float(means.min()), float(means.max()))
        share = trend.missing[enough, j] / rows
        low, high = float(share.min()), float(share.max())
        whole = float(trend.missing[:, j].sum() / trend.rows.sum())
        # What chance does at most: four standard errors of the smallest period.
        chance = 4 * float(np.sqrt(whole * (1 - whole) / rows.min()))
        if high - low > max(2 * chance, 0.02) and name not in found:
            found[name] = Movement("missing", high - low, low, high)
    return found


def rows_drawing(found: Periods) -> Drawing:
    """Draw the rows of each period as bars."""
    trend, at = found.trend, found.seconds
    frame, ends = _frame(at)
    top = float(trend.rows.max())
    x, y = frame.x(*ends), frame.y(0.0, top * 1.04)
    marks: list[Mark] = []
    for tick in ticks(0.0, top, 3):
        level = y(tick.value)
        marks.append(segment(frame.left, level, frame.right, level, "grid"))
        marks.append(Word(frame.left - 4, level + 3.5, numbers.brief(tick.value), "tick", "end"))
    step = float(np.diff(at).min())
    for start, rows in zip(at.tolist(), trend.rows.tolist(), strict=True):
        left, right = x(start), x(start + step)
        tip = f"{_moment(start)}: {numbers.count(rows)} rows"
        level = y(rows)
        marks.append(
            Rect(
                left,
                level,
                round(max(right - left - 0.6, 0.6), 1),
                round(frame.bottom - level, 1),
                "bar",
                tip,
            )
        )
    marks.extend(x_axis(frame, x, time_ticks(*ends, "s", 6)))
    return Drawing(480.0, 152.0, f"Rows per {found.word}", tuple(marks))


def rate_drawing(found: Periods, positive: str) -> Drawing | None:
    """Draw the share of one class in each period with its 95 % interval."""
    trend = found.trend
    hits = trend.classes.get(positive)
    if hits is None:
        return None
    known = np.sum(list(trend.classes.values()), axis=0)
    bands = [wilson(float(h), float(n)) for h, n in zip(hits, known, strict=True)]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(known >= _LEAST, hits / known, np.nan)
    low, high = (np.array(side) for side in zip(*bands, strict=True))
    if not np.isfinite(values).any():
        return None
    return _curve(
        found, values, (low, high), float(hits.sum() / known.sum()), f"Share of class {positive}", share=True
    )


def mean_drawing(found: Periods, name: str) -> Drawing | None:
    """Draw the mean of a column in each period; None where there is none."""
    trend = found.trend
    j = trend.names.index(name)
    n = trend.finite[:, j]
    if not n.any():
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(n >= _LEAST, trend.sums[:, j] / n, np.nan)
    if np.isfinite(values).sum() < 2:
        return None
    overall = float(trend.sums[:, j].sum() / n.sum())
    return _curve(found, values, None, overall, f"mean per {found.word}", share=False, small=True)


def missing_drawing(found: Periods, name: str) -> Drawing | None:
    """Draw the share of missing values of a column in each period; None where none is missing."""
    trend = found.trend
    gone = trend.missing[:, trend.names.index(name)]
    if not gone.any():
        return None
    values = np.where(trend.rows >= _LEAST, gone / trend.rows, np.nan)
    if np.isfinite(values).sum() < 2:
        return None
    overall = float(gone.sum() / trend.rows.sum())
    return _curve(found, values, None, overall, f"missing per {found.word}", share=True, small=True)


def _frame(at: NDArray[np.float64], *, small: bool = False) -> tuple[Frame, tuple[float, float]]:
    step = float(np.diff(at).min())
    frame = Frame(42.0, 14.0, 350.0, 62.0) if small else Frame(42.0, 8.0, 474.0, 128.0)
    return frame, (float(at[0]), float(at[-1]) + step)


def _moment(seconds: float) -> str:
    return numbers.moment(seconds, "s")


def _curve(
    found: Periods,
    values: NDArray[np.float64],
    band: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    overall: float,
    label: str,
    *,
    share: bool,
    small: bool = False,
) -> Drawing:
    at = found.seconds
    frame, ends = _frame(at, small=small)
    held = np.isfinite(values)
    low, high = float(values[held].min()), float(values[held].max())
    if band is not None:
        low = min(low, float(np.quantile(band[0][held], 0.1)))
        high = max(high, float(np.quantile(band[1][held], 0.9)))
    if share:
        low = 0.0 if low < 0.5 * high else low
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    x, y = frame.x(*ends), frame.y(low, high)
    marks: list[Mark] = []
    if small:
        marks.append(Word(frame.left, frame.top - 4, label, "lane", "start"))
    for tick in ticks(low, high, 2 if small else 3, percent=share):
        level = y(tick.value)
        marks.append(segment(frame.left, level, frame.right, level, "grid"))
        marks.append(Word(frame.left - 4, level + 3.5, tick.label, "tick", "end"))
    marks.append(segment(frame.left, y(overall), frame.right, y(overall), "reference"))
    step = float(np.diff(at).min())
    middles = at + step / 2
    for start, end in _runs(held, at, step):
        part = slice(start, end + 1)
        points = [(x(m), y(v)) for m, v in zip(middles[part].tolist(), values[part].tolist(), strict=True)]
        if band is not None:
            upper = [(p[0], y(float(b))) for p, b in zip(points, band[1][part], strict=True)]
            lower = [(p[0], y(float(b))) for p, b in zip(points, band[0][part], strict=True)]
            marks.append(area(upper, lower, "band band-1"))
        style = "series series-1" if band is not None else "series series-0"
        marks.append(line(points, style) if len(points) > 1 else _dash(points[0], style))
    if not small:
        for i in np.flatnonzero(held).tolist():
            written = numbers.share(float(values[i])) if share else numbers.number(float(values[i]))
            interval = (
                ""
                if band is None
                else f" ({numbers.span(numbers.share(float(band[0][i])), numbers.share(float(band[1][i])))})"
            )
            left, right = x(float(at[i])), x(float(at[i]) + step)
            tip = f"{_moment(float(at[i]))}: {written}{interval}"
            box = Rect(
                left, frame.top, round(max(right - left, 0.6), 1), frame.bottom - frame.top, "hover", tip
            )
            marks.append(box)
    marks.extend(x_axis(frame, x, time_ticks(*ends, "s", 4 if small else 6)))
    width, height = (360.0, 82.0) if small else (480.0, 152.0)
    return Drawing(width, height, label, tuple(marks))


def _dash(point: tuple[float, float], style: str) -> Path:
    return segment(point[0] - 1.5, point[1], point[0] + 1.5, point[1], style)


def _runs(held: NDArray[np.bool_], at: NDArray[np.float64], step: float) -> list[tuple[int, int]]:
    """Return runs of periods that follow each other and have a value; a gap in time breaks the line."""
    runs: list[tuple[int, int]] = []
    for i in np.flatnonzero(held).tolist():
        # Months and years differ in length; what is longer than twice the shortest is a gap.
        if runs and runs[-1][1] == i - 1 and at[i] - at[i - 1] < 2 * step:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((i, i))
    return runs
