"""Parts of times: their arithmetic on arrays, and what is learnt of a column of times."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from headrace.preparation.distribution import Distribution
from headrace.preparation.plans import DatetimePlan, PartPlan
from headrace.preparation.recipes import RecipePlan, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.preparation.options import DatetimeOptions
    from headrace.profiling.profile import ColumnProfile

PARTS = ("year", "month", "day", "weekday", "dayofyear", "hour", "minute", "epoch_days")
CYCLES = {"month": (1, 12), "day": (1, 31), "weekday": (0, 7), "hour": (0, 24), "minute": (0, 60)}
"""First value and number of values of the parts that are one-hot. A day or a week is no straight line, and a one-hot part costs as
many stored numbers a row as a scaled one: one."""


def time_part(times: NDArray[np.datetime64], part: str) -> NDArray[np.float64]:
    """Take one part of each time, in UTC where the times are zoned.

    Parameters
    ----------
    times : ndarray of datetime64, shape (n,)
        Of any unit.
    part : str
        One of `PARTS`: month and day count from 1, weekday from Monday = 0; ``epoch_days`` are days since 1970 with their fraction.

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where there is no time.

    Examples
    --------
    >>> times = np.array(["2013-10-01T17:30", "NaT"], dtype="datetime64[s]")
    >>> time_part(times, "hour"), time_part(times, "weekday"), time_part(times, "dayofyear")
    (array([17., nan]), array([ 1., nan]), array([274.,  nan]))
    """
    absent = np.isnat(times)
    days = times.astype("datetime64[D]")
    found: NDArray[np.int64] | NDArray[np.float64]
    if part == "year":
        found = times.astype("datetime64[Y]").astype(np.int64) + 1970
    elif part == "month":
        found = times.astype("datetime64[M]").astype(np.int64) % 12 + 1
    elif part == "day":
        found = (days - times.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1
    elif part == "dayofyear":
        found = (days - times.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
    elif part == "weekday":
        found = (days.astype(np.int64) + 3) % 7
    elif part == "hour":
        found = times.astype("datetime64[h]").astype(np.int64) % 24
    elif part == "minute":
        found = times.astype("datetime64[m]").astype(np.int64) % 60
    else:
        found = times.astype(np.int64) / ticks_a_day(np.datetime_data(times.dtype)[0])
    numbers = found.astype(np.float64)
    numbers[absent] = np.nan
    return numbers


def fit_datetime(column: ColumnProfile, options: DatetimeOptions) -> tuple[DatetimePlan | RecipePlan, ...]:
    """Learn one column of dates or times.

    Mean and standard deviation of ``epoch_days`` are exact; those of ``year`` and ``dayofyear`` within the errors of
    `Distribution`. A missing time counts as their mean.

    Parameters
    ----------
    column : ColumnProfile
        Datetime, with a value.
    options : DatetimeOptions
    """
    summary = column.overall
    moments = summary.moments
    assert moments is not None
    default = ("weekday",) if column.type.startswith("date32") else ("hour", "weekday")
    unit = time_unit(column.type)
    plans = []
    wanted = options.parts or default
    around = [part for part in wanted if part in CYCLES] if options.cycles == "sin_cos" else []
    for part in wanted:
        if part in around:
            continue
        if part in CYCLES:
            first, values = CYCLES[part]
            plans.append(PartPlan(part, first, values))
            continue
        if part == "epoch_days":
            a_day = ticks_a_day(unit)
            center, spread = moments.mean / a_day, moments.std / a_day
        else:
            found = Distribution.of(summary).mapped(partial(_part_of, unit=unit, part=part))
            center, spread = found.mean, found.std()
        # Filling m of n + m rows with the mean leaves the mean and takes n / (n + m) of the variance.
        spread *= math.sqrt(moments.n / (moments.n + summary.missing))
        plans.append(PartPlan(part, center=center, spread=spread if spread > 0 else 1.0))
    rows = moments.n + summary.missing
    made: list[DatetimePlan | RecipePlan] = []
    if plans:
        made.append(DatetimePlan(column.name, column.kind, tuple(plans), rows))
    if around:
        made.append(fit_cycles(column.name, around, summary.missing))
    return tuple(made)


def fit_cycles(name: str, parts: Sequence[str], missing: int) -> RecipePlan:
    """Turn parts that come round into the sine and cosine of their place on the circle; a missing time is at 0, 0.

    Parameters
    ----------
    name : str
        The column.
    parts : sequence of str
        Some of `CYCLES`.
    missing : int
        Training rows without a time.
    """
    first, values = np.array([CYCLES[part] for part in parts], dtype=float).T
    steps = (
        Step("parts", {"parts": list(parts)}),
        Step("scale", {"center": first.tolist(), "spread": (values / (2 * math.pi)).tolist()}),
        Step("sin_cos", {}, f"sine and cosine of {', '.join(parts)}"),
        Step("fill", {"values": [0.0] * (2 * len(parts))}, "missing: 0" if missing else ""),
    )
    names = tuple(f"{side}__{name}_{part}" for side in ("sin", "cos") for part in parts)
    return RecipePlan(f"cycles {name}", "datetime", (name,), steps, names, len(names))


def time_unit(arrow_type: str) -> str:
    """Return numpy's code of the unit of an Arrow time type.

    Examples
    --------
    >>> time_unit("timestamp[us, tz=UTC]"), time_unit("date32[day]"), time_unit("date64[ms]")
    ('us', 'D', 'ms')
    """
    found = re.search(r"\[(\w+)", arrow_type)
    code = found.group(1) if found else "us"
    return "D" if code == "day" else code


def ticks_a_day(unit: str) -> int:
    """Return how many of a unit make a day.

    Examples
    --------
    >>> ticks_a_day("D"), ticks_a_day("s")
    (1, 86400)
    """
    return 1 if unit == "D" else 86400 * 1000 ** ("s", "ms", "us", "ns").index(unit)


def _part_of(numbers: NDArray[np.float64], unit: str, part: str) -> NDArray[np.float64]:
    return time_part(numbers.astype(np.int64).view(f"datetime64[{unit}]"), part)
