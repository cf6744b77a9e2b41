"""Dates and times from text, by formats that are checked to the day; vectorised, no locale (pure)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FULL = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
        "november", "december")  # fmt: skip
PIECES = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>[0-9]{1,2})",
    "M": r"(?P<M>[0-9]{2})",
    "S": r"(?P<S>[0-9]{2})",
    "f": r"(?P<f>[0-9]{1,6})",
    "p": r"(?P<p>[AaPp][Mm])",
    "b": rf"(?P<b>(?i:{'|'.join(MONTHS)}))",
    "B": rf"(?P<B>(?i:{'|'.join(FULL)}))",
}
ISO_DATE = "%Y-%m-%d"
ISO = (ISO_DATE, "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f",
       "%Y-%m-%d %H:%M:%S.%f")  # fmt: skip
"""What is understood of ISO 8601."""

LIKE_ONE = rf"^(?:[0-9]{{1,4}}[-/. ](?:[0-9]|(?i:{'|'.join(MONTHS)}))|(?i:{'|'.join(MONTHS)})[a-z]* [0-9])"
"""How any of the formats that are tried begins."""

TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
DATES = ("%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y",
         "%d %B %Y", "%B %d, %Y")  # fmt: skip
"""Formats that a first look tries beside ISO 8601. Years of two digits have to be declared."""


@cache
def pattern_of(text: str) -> str:
    """Turn a format such as ``%d/%m/%Y %H:%M`` into a regular expression with a group for each part.

    Raises
    ------
    ValueError
        A part is not known, stands twice, or year, month or day is missing.
    """
    pattern, parts = "", []
    for literal, part in re.findall(r"([^%]*)(?:%(.))?", text):
        pattern += re.escape(literal).replace(r"\ ", " ")
        if part:
            if part not in PIECES:
                raise ValueError(
                    f"%{part} in the format {text!r} is not known; use {', '.join('%' + each for each in PIECES)}"
                )
            parts.append(part)
            pattern += PIECES[part]
    for need in ("Yy", "mbB", "d"):
        if sum(part in need for part in parts) != 1:
            raise ValueError(f"the format {text!r} needs one of {' '.join('%' + each for each in need)}")
    if len(set(parts)) < len(parts) or ("I" in parts) != ("p" in parts):
        raise ValueError(f"the format {text!r} repeats a part, or has only one of %I and %p")
    return f"^{pattern}$"


def has_time(text: str) -> bool:
    """Whether a format says more than the day."""
    return "%H" in text or "%I" in text


def parse(texts: pa.Array, text: str) -> tuple[npt.NDArray[np.int64], Mask]:
    """Read trimmed strings by one format.

    Returns
    -------
    microseconds : (n,) int64
        Since 1970, on the clock that wrote them; 0 where not understood.
    understood : (n,) bool
        Whether a string fits and names a moment that there is. Nulls do not.
    """
    found = pc.extract_regex(texts, pattern_of(text))
    fits = np.array(pc.is_valid(found))
    if not fits.any():
        return np.zeros(len(fits), dtype=np.int64), fits
    parts = {field.name: pc.struct_field(found, field.name) for field in found.type}
    year = _whole(parts, "Y") if "Y" in parts else _century(_whole(parts, "y"))
    named = next((part for part in "bB" if part in parts), None)
    if named is None:
        month = _whole(parts, "m")
    else:
        short = pc.utf8_slice_codeunits(pc.utf8_lower(parts[named]), 0, 3)
        month = np.asarray(pc.fill_null(pc.index_in(short, pa.array(MONTHS)), -1)).astype(np.int64) + 1
    day = _whole(parts, "d")
    fits &= (month >= 1) & (month <= 12) & (day >= 1)
    month = np.where(fits, month, 1)
    fits &= day <= _month_length(year, month)
    hour, right = _hour(parts)
    minute, second = _whole(parts, "M"), _whole(parts, "S")
    fits &= right & (minute < 60) & (second < 60)
    micro = _micro(parts)
    total = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return np.where(fits, total * 1_000_000 + micro, 0), fits


def convert(texts: pa.Array, formats: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], Mask]:
    """Read trimmed strings by the first of several formats that fits each; see `parse`."""
    value = np.zeros(len(texts), dtype=np.int64)
    understood = np.zeros(len(texts), dtype=bool)
    for text in formats or ISO:
        left = np.flatnonzero(~understood & np.asarray(pc.is_valid(texts)))
        if not len(left):
            break
        values, fits = parse(texts.take(pa.array(left)), text)
        value[left[fits]] = values[fits]
        understood[left] = fits
    return value, understood


def _whole(parts: dict[str, Any], name: str) -> npt.NDArray[np.int64]:
    if name not in parts:
        length = len(next(iter(parts.values())))
        return np.zeros(length, dtype=np.int64)
    filled = pc.fill_null(parts[name], "0")
    return np.asarray(pc.if_else(pc.equal(filled, ""), "0", filled).cast(pa.int64()))


def _micro(parts: dict[str, Any]) -> npt.NDArray[np.int64]:
    if "f" not in parts:
        return _whole(parts, "f")
    padded = pc.utf8_rpad(pc.fill_null(parts["f"], "0"), 6, "0")
    return np.asarray(padded.cast(pa.int64()))


def _hour(parts: dict[str, Any]) -> tuple[npt.NDArray[np.int64], Mask]:
    if "I" not in parts:
        hour = _whole(parts, "H")
        return hour, hour < 24
    hour = _whole(parts, "I")
    afternoon = np.asarray(pc.fill_null(pc.equal(pc.utf8_lower(parts["p"]), "pm"), fill_value=False))
    return hour % 12 + 12 * afternoon, (hour >= 1) & (hour <= 12)


def _century(year: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Two digits as POSIX reads them: 69 to 99 are of the 20th century."""
    return np.where(year >= 69, 1900, 2000) + year


def _month_length(year: npt.NDArray[np.int64], month: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    lengths = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    return np.asarray(lengths[month - 1] + (leap & (month == 2)), dtype=np.int64)


def _days(
    year: npt.NDArray[np.int64], month: npt.NDArray[np.int64], day: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Days since 1970-01-01 in the Gregorian calendar; numpy's own months do the arithmetic."""
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    return np.asarray(months.astype("datetime64[D]").astype(np.int64) + day - 1, dtype=np.int64)
