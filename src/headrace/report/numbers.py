"""Numbers as people read them: counts, shares, sizes, durations and dates, to the digits that matter."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

Unit = Literal["s", "ms", "us", "ns", "D"]
"""NumPy's names of the units of Arrow's times; dates count days."""

UNIT_SECONDS: dict[Unit, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "D": 86400.0}
MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def span(low: str, high: str) -> str:
    """Write a range.

    Examples
    --------
    >>> span("1", "2")
    '1 – 2'
    """
    return f"{low} \N{EN DASH} {high}"


def count(value: float) -> str:
    """Write a whole number with thousands separators.

    Examples
    --------
    >>> count(336776)
    '336,776'
    """
    return f"{round(value):,}"


def brief(value: float) -> str:
    """Write a count in at most five characters, for axes and tight places.

    Examples
    --------
    >>> brief(950), brief(336776), brief(20_000_000)
    ('950', '337k', '20M')
    """
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def number(value: Any, digits: int = 4) -> str:
    """Write a measured value to `digits` significant digits.

    Examples
    --------
    >>> number(1234567.891), number(0.000012341), number(3.0), number(float("nan"))
    ('1,234,568', '1.234e−5', '3', '–')
    """
    if value is None:
        return MISSING
    real = float(value)
    if math.isnan(real):
        return MISSING
    if math.isinf(real):
        return "∞" if real > 0 else f"{MINUS}∞"
    if real == 0.0:
        return "0"
    size = abs(real)
    if size >= 1e12 or size < 1e-4:
        mantissa, exponent = f"{real:.{digits - 1}e}".split("e")
        text = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return _sign(f"{text}e{int(exponent)}")
    if size >= 10 ** (digits - 1):
        return _sign(f"{real:,.0f}")
    decimals = digits - 1 - math.floor(math.log10(size))
    text = f"{real:,.{decimals}f}"
    return _sign(text.rstrip("0").rstrip(".") if "." in text else text)


def score(value: Any, decimals: int = 4) -> str:
    """Write a metric with fixed decimals, so that columns of scores align.

    Examples
    --------
    >>> score(0.73251), score(1523.456), score(None)
    ('0.7325', '1,523', '–')
    """
    if value is None or not math.isfinite(float(value)):
        return MISSING
    real = float(value)
    return _sign(f"{real:,.{decimals}f}") if abs(real) < 100 else number(real)


def share(value: float | None) -> str:
    r"""Write a fraction as a percentage; what is not zero is never written as zero.

    Examples
    --------
    >>> share(0.2481), share(0.00001), share(1.0), share(0.99999)
    ('24.8\xa0%', '< 0.1\xa0%', '100\xa0%', '> 99.9\xa0%')
    """
    if value is None or math.isnan(value):
        return MISSING
    if 0.0 < value < 0.001:
        return "< 0.1\N{NO-BREAK SPACE}%"
    if 0.999 < value < 1.0:
        return "> 99.9\N{NO-BREAK SPACE}%"
    text = f"{100.0 * value:.1f}"
    return f"{text.removesuffix('.0')}\N{NO-BREAK SPACE}%"


def size(value: float | None) -> str:
    r"""Write a number of bytes in binary units.

    Examples
    --------
    >>> size(1536), size(3 << 30)
    ('1.5\xa0KiB', '3\xa0GiB')
    """
    if value is None:
        return MISSING
    real = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(real) < 1024 or unit == "TiB":
            text = f"{real:.1f}" if real < 100 else f"{real:.0f}"
            return f"{text.removesuffix('.0')}\N{NO-BREAK SPACE}{unit}"
        real /= 1024
    raise AssertionError("the last unit returns")


def duration(value: float | None) -> str:
    r"""Write a number of seconds.

    Examples
    --------
    >>> duration(0.0123), duration(12.34), duration(754), duration(7300)
    ('12\xa0ms', '12.3\xa0s', '12\xa0min\xa034\xa0s', '2\xa0h\xa01\xa0min')
    """
    if value is None:
        return MISSING
    space = "\N{NO-BREAK SPACE}"
    if value < 1:
        return f"{value * 1000:.0f}{space}ms"
    if value < 120:
        return f"{value:.1f}{space}s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes}{space}min{space}{seconds}{space}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{space}h{space}{minutes}{space}min"


def moment(value: float, unit: Unit) -> str:
    """Write a point in time that is held as an integer in `unit`, without needless parts.

    Parameters
    ----------
    value : float
        Units since 1970-01-01.
    unit : {"s", "ms", "us", "ns", "D"}
        NumPy's name of the unit.

    Examples
    --------
    >>> moment(86400, "s"), moment(90061, "s"), moment(19000, "D")
    ('1970-01-02', '1970-01-02 01:01:01', '2022-01-08')
    """
    if not math.isfinite(value):
        return MISSING
    text = str(np.datetime64(round(value), unit)).replace("T", " ")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.removesuffix(" 00:00:00").removesuffix(":00")


def cut(value: Any, length: int = 40) -> str:
    """Write any value in at most `length` characters.

    Examples
    --------
    >>> cut("a" * 50, 8), cut("")
    ('aaaaaaa…', '(empty)')
    """
    text = " ".join(str(value).split())
    if not text:
        return "(empty)" if str(value) == "" else "(blank)"
    return text if len(text) <= length else f"{text[: length - 1]}…"


def fit(value: Any, pixels: float) -> str:
    """Cut a text so that it fits into `pixels` at the size of labels (11 px), capitals and digits being wider.

    Examples
    --------
    >>> fit("MCDONNELL DOUGLAS", 104), fit("Fixed wing multi", 104)
    ('MCDONNELL DO…', 'Fixed wing multi')
    """
    text = cut(value, 200)
    room = pixels
    for place, letter in enumerate(text):
        room -= 7.7 if letter.isupper() or not letter.isascii() else 6.2
        if room < 0:
            return f"{text[: max(place - 1, 1)]}…"
    return text


def _sign(text: str) -> str:
    return text.replace("-", MINUS)
