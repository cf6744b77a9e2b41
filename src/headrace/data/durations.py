"""Lengths of time as users write them: 30min, 12h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d|w)\s*", str(value))
    if match is None:
        raise ValueError(f"should be a length of time such as 7d or 12h (s, min, h, d, w), not {value!r}")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def duration_text(span: timedelta) -> str:
    """Write a length of time so that it is read back as the same.

    Examples
    --------
    >>> duration_text(timedelta(hours=36)), duration_text(timedelta(days=7)), duration_text(timedelta(seconds=1.5))
    ('36h', '7d', '1.5s')
    """
    for unit in ("d", "h", "min"):
        count, rest = divmod(span, timedelta(**{_UNITS[unit]: 1}))
        if count and not rest:
            return f"{count}{unit}"
    return f"{span.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=str),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
]
