"""From values to pixels: linear scales, round steps, and ticks for numbers and for time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headrace.report import numbers

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
SECONDS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600)
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)


@dataclass(frozen=True)
class Scale:
    """A linear map of ``[low, high]`` to ``[start, end]``; values outside are held at the ends.

    Parameters
    ----------
    low, high : float
        Values; where they are equal everything maps to the middle.
    start, end : float
        Pixels; `start` may be the larger one, as on a y axis.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of `value`, to a tenth.

        Examples
        --------
        >>> Scale(0, 10, 100, 0)(2.5)
        75.0
        """
        if self.high <= self.low:
            return round((self.start + self.end) / 2, 1)
        # Halving first keeps the difference of 1e308 and -1e308 finite.
        part = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return round(self.start + min(max(part, 0.0), 1.0) * (self.end - self.start), 1)


@dataclass(frozen=True)
class Tick:
    """A labelled value on an axis."""

    value: float
    label: str


def round_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that cuts `span` into at most `most` steps.

    Examples
    --------
    >>> round_step(100, 5), round_step(7, 5), round_step(0.9, 40)
    (20.0, 2.0, 0.025)
    """
    least = span / most
    if least <= 0 or not math.isfinite(least):
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    if power == 0.0:
        return least
    return next((step * power for step in STEPS if step * power >= least * (1 - 1e-9)), 10.0 * power)


def ticks(low: float, high: float, most: int = 5, *, percent: bool = False) -> tuple[Tick, ...]:
    """Return round values within ``[low, high]``.

    Parameters
    ----------
    low, high : float
        The ends of the axis.
    most : int
        Steps at most.
    percent : bool
        Write fractions as percentages.

    Examples
    --------
    >>> [tick.label for tick in ticks(0, 1, 4)]
    ['0', '0.25', '0.5', '0.75', '1']
    >>> [tick.label for tick in ticks(-3, 7, 5)]
    ['−2', '0', '2', '4', '6']
    """
    if not high > low or not math.isfinite(high - low):
        return (Tick(low, _label(low, 3, percent=percent)),)
    step = round_step(high - low, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # As many digits as tell neighbours apart.
    digits = 2 + math.floor(math.log10(max(abs(low), abs(high), step) / step))
    return tuple(Tick(k * step, _label(k * step, digits, percent=percent)) for k in range(first, last + 1))


def _label(value: float, digits: int, *, percent: bool) -> str:
    if percent:
        return f"{numbers.number(100 * value, 3)}%"
    if 10_000 <= abs(value) < 1e15 and digits <= 3:
        return numbers.brief(value).replace("-", numbers.MINUS)
    return numbers.number(value, max(digits, 3))


def time_ticks(low: float, high: float, unit: numbers.Unit, most: int = 4) -> tuple[Tick, ...]:
    """Return round points in time within ``[low, high]``: seconds to weeks, then months, then years.

    Parameters
    ----------
    low, high : float
        Integers in `unit` since 1970-01-01.
    unit : {"s", "ms", "us", "ns", "D"}
        NumPy's name of the unit.
    most : int
        Ticks at most.

    Examples
    --------
    >>> year = 365 * 86400
    >>> [tick.label for tick in time_ticks(0, year, "s", 4)]
    ['Jan 1970', 'Apr 1970', 'Jul 1970', 'Oct 1970', 'Jan 1971']
    """
    start = np.datetime64(round(low), unit).astype("datetime64[s]")
    end = np.datetime64(round(high), unit).astype("datetime64[s]")
    span = int((end - start).astype(np.int64))
    if span <= 0:
        return (Tick(low, numbers.moment(low, unit)),)
    to_unit = 1.0 / numbers.UNIT_SECONDS[unit]
    fitting = [step for step in SECONDS if span / step <= most]
    if fitting:
        step = fitting[0]
        first = math.ceil(int(start.astype(np.int64)) / step)
        last = math.floor(int(end.astype(np.int64)) / step)
        instants = np.array([k * step for k in range(first, last + 1)], dtype="datetime64[s]")
        return tuple(Tick(_seconds(at) * to_unit, _instant_label(at, step)) for at in instants)
    months = span / (30.44 * 86400)
    step = next((size for size in (*MONTHS[:3], 4, *MONTHS[3:]) if months / size <= most), MONTHS[-1])
    base = int(start.astype("datetime64[M]").astype(np.int64))
    final = int(end.astype("datetime64[M]").astype(np.int64))
    first_month = math.ceil(base / step) * step
    marks = np.arange(first_month, final + 1, step).astype("datetime64[M]").astype("datetime64[s]")
    inside = [at for at in marks if start <= at <= end]
    return tuple(Tick(_seconds(at) * to_unit, _month_label(at, step)) for at in inside)


def _seconds(instant: np.datetime64) -> float:
    return float(instant.astype("datetime64[s]").astype(np.int64))


def _instant_label(instant: np.datetime64, step: int) -> str:
    text = str(instant)
    if step >= 86400:
        return f"{int(text[8:10])} {_month_name(instant)}"
    return text[11:16] if step >= 60 else text[11:19]


def _month_label(instant: np.datetime64, step: int) -> str:
    year = str(instant.astype("datetime64[Y]"))
    return year if step % 12 == 0 else f"{_month_name(instant)} {year}"


def _month_name(instant: np.datetime64) -> str:
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return names[int(instant.astype("datetime64[M]").astype(np.int64)) % 12]
