"""Columns of text to typed columns, with a mark on each value that is not of the type (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.ingesting import moments
from headrace.ingesting.columns import FALSE, TRUE

if TYPE_CHECKING:
    from headrace.ingesting.columns import ColumnPlan
    from headrace.ingesting.moments import Mask

WHOLE = r"^[-+]?[0-9]{1,18}$"
LONG = r"^[-+]?[0-9]{19,20}$"
NUMBER = r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?$"
WORDS = r"^[-+]?(?i:inf|infinity|nan)$"
ZONE = r"(?:Z|z|[+-][0-9]{2}:?[0-9]{2})$"


def typed(texts: pa.Array, plan: ColumnPlan) -> tuple[pa.Array, Mask]:
    """Convert one column.

    Parameters
    ----------
    texts : pyarrow.StringArray
        Of length n; null is a missing value.
    plan : ColumnPlan
        Type and way of writing.

    Returns
    -------
    values : pyarrow.Array
        Of the plan's type; null where the text is null or not of the type.
    bad : (n,) bool
        Where a text that is there is not of the type.
    """
    if pa.types.is_string(plan.type):
        return texts, np.zeros(len(texts), dtype=bool)
    there = np.asarray(pc.is_valid(texts))
    trimmed = pc.utf8_trim_whitespace(texts)
    if pa.types.is_boolean(plan.type):
        values = pc.if_else(
            _among(trimmed, (*TRUE, "1")), True, pc.if_else(_among(trimmed, (*FALSE, "0")), False, None)
        )
    elif pa.types.is_integer(plan.type):
        values = _integers(_plain(trimmed, plan), plan.type)
    elif pa.types.is_floating(plan.type):
        values = _floats(_plain(trimmed, plan), plan.type)
    else:
        values = _moments(trimmed, plan)
    return values, there & ~np.asarray(pc.is_valid(values))


def number_pattern(decimal: str, thousands: str) -> str:
    """Regular expression of numbers that are written with these signs, thousands in whole groups or not at all."""
    groups = "" if not thousands else rf"|[0-9]{{1,3}}(?:[{thousands}][0-9]{{3}})+"
    return rf"^[-+]?(?:(?:[0-9]+{groups})(?:[{decimal}][0-9]*)?|[{decimal}][0-9]+)(?:[eE][-+]?[0-9]{{1,4}})?$"


def _plain(texts: pa.Array, plan: ColumnPlan) -> pa.Array:
    """Write numbers as programs do; null what does not keep to the signs."""
    if plan.direct:
        return texts
    if plan.thousands == " ":  # no-break spaces are what spreadsheets write
        texts = pc.replace_substring_regex(texts, "[\u00a0\u202f]", " ")
    fits = pc.match_substring_regex(texts, number_pattern(plan.decimal, plan.thousands))
    texts = pc.if_else(fits, texts, None)
    if plan.thousands:
        texts = pc.replace_substring(texts, plan.thousands, "")
    return pc.replace_substring(texts, plan.decimal, ".") if plan.decimal != "." else texts


def _among(texts: pa.Array, words: tuple[str, ...]) -> pa.Array:
    return pc.is_in(texts, pa.array(words))


def _where(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)


def _integers(texts: pa.Array, wanted: pa.DataType) -> pa.Array:
    values = pc.replace_substring_regex(_where(texts, WHOLE), r"^\+", "").cast(pa.int64())
    long = pc.fill_null(pc.match_substring_regex(texts, LONG), fill_value=False)
    if pc.any(long).as_py():
        kept = [
            _in_64_bits(text) if flag else None
            for text, flag in zip(texts.to_pylist(), long.to_pylist(), strict=True)
        ]
        values = pc.coalesce(values, pa.array(kept, pa.int64()))
    if wanted.bit_width < 64:
        most = (1 << (wanted.bit_width - 1)) - 1
        inside = pc.and_(pc.greater_equal(values, -most - 1), pc.less_equal(values, most))
        values = pc.if_else(inside, values, None).cast(wanted)
    return values


def _in_64_bits(text: str) -> int | None:
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None


def _floats(texts: pa.Array, wanted: pa.DataType) -> pa.Array:
    kept = pc.coalesce(_where(texts, NUMBER), _where(texts, WORDS))
    return pc.replace_substring_regex(kept, r"^\+", "").cast(wanted)


def _moments(texts: pa.Array, plan: ColumnPlan) -> pa.Array:
    zoned = pa.types.is_timestamp(plan.type) and plan.type.tz is not None
    shift: np.ndarray | int = 0
    if zoned and not plan.formats:
        zone = pc.struct_field(pc.extract_regex(texts, f"(?P<zone>{ZONE})"), "zone")
        shift = _offset(zone)
        texts = pc.if_else(pc.is_valid(zone), pc.replace_substring_regex(texts, ZONE, ""), None)
    formats = plan.formats
    if not formats and pa.types.is_date(plan.type):
        formats = (moments.ISO_DATE,)
    value, understood = moments.convert(texts, formats)
    value = value - shift
    if pa.types.is_date(plan.type):
        days = np.floor_divide(value, 86_400_000_000).astype(np.int32)
        return pa.array(days, mask=~understood).cast(pa.date32())
    return pa.array(value, mask=~understood).cast(plan.type)


def _offset(zone: pa.Array) -> np.ndarray:
    """Microseconds that a clock of the zone is ahead of UTC."""
    parts = pc.extract_regex(zone, r"^(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})$")
    hours, minutes = (
        np.asarray(pc.fill_null(pc.struct_field(parts, name), "0").cast(pa.int64()))
        for name in ("hours", "minutes")
    )
    ahead = np.where(
        np.asarray(pc.fill_null(pc.equal(pc.struct_field(parts, "sign"), "-"), fill_value=False)), -1, 1
    )
    return np.asarray(ahead * (hours * 60 + minutes) * 60_000_000)
