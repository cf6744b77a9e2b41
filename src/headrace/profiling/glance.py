"""The table of a profile that a notebook shows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.profiling.profile import ColumnProfile, Profile

_HEAD = (
    "column",
    "type",
    "missing",
    "distinct",
    "mean",
    "std",
    "minimum",
    "median",
    "maximum",
    "most frequent",
)
_MOST_COLUMNS = 200


def glance(profile: Profile) -> str:
    """Return one self-contained HTML table, a row per column; all text from the data is escaped."""
    cells = [_row(column) for column in list(profile.columns.values())[:_MOST_COLUMNS]]
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
    hidden = len(profile.columns) - len(cells)
    more = f", the first {len(cells)} shown" if hidden else ""
    target = f", target {escape(profile.target)}" if profile.target else ""
    return (
        f"<div><p><b>Profile</b>: {profile.rows:,} rows, {len(profile.columns):,} columns{more}{target}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(column: ColumnProfile) -> tuple[str, ...]:
    whole = column.overall
    missing = f"{whole.missing / whole.rows:.1%}" if whole.rows else ""
    if column.kind == "other":
        return (column.name, column.type, missing, *[""] * (len(_HEAD) - 3))
    distinct = f"{'' if whole.distinct.exact else '~'}{column.distinct:,.0f}"
    numbers = [""] * 5
    if whole.moments is not None and whole.moments.n:
        moments = whole.moments
        spread = "" if column.kind == "datetime" else f"{moments.std:.4g}"
        median = "" if whole.quantiles is None else column.shown(column.quantile(0.5))
        ends = [column.shown(moments.minimum), median, column.shown(moments.maximum)]
        numbers = [column.shown(moments.mean), spread, *ends]
    top = ", ".join(
        f"{_short(column.shown(value))} ({count / whole.rows:.1%})" for value, count in column.top(3)
    )
    return (column.name, column.type, missing, distinct, *numbers, top)


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"
