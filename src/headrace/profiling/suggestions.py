"""Expectations that a profile suggests, with slack, as text for the `checks:` key (pure)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import yaml

from headrace.profiling.expectations import expectations_from
from headrace.profiling.outcomes import moment_of
from headrace.profiling.quality import check_quality

if TYPE_CHECKING:
    from headrace.profiling.profile import ColumnProfile, Profile

SLACK = 0.1
"""Share of its width by which a range is widened on either side."""
COMMON = 10
"""Rows of a value from which it is not rare."""
MOST_VALUES = 30
"""Distinct values up to which they are listed."""


def suggest_expectations(profile: Profile) -> dict[str, dict[str, Any]]:
    """Suggest what each column should hold.

    Parameters
    ----------
    profile : Profile
        Of data that are known to be good.

    Returns
    -------
    dict of str to dict
        Keys of `ColumnExpectation` by column.

    Notes
    -----
    Ranges are widened by a tenth of their width and rounded outwards to two digits, but do not cross 0; those of whole
    numbers of which none between the extremes is rare, such as months, stay as they are. Values are
    listed when at most `MOST_VALUES` occur and by Good and Turing's estimate (values seen once, as a share of rows) less
    than one row in a thousand would bring a new one. Shares of missing values and of values outside are those of
    `expectations_from`, rounded up to two digits.
    """
    keys = {
        check.column
        for check in check_quality(profile, profile.target, ignore=frozenset())
        if check.name == "identifier"
    }
    tolerances = expectations_from(profile)
    suggested = {}
    for name, tolerance in tolerances.items():
        column = profile.columns[name]
        known: dict[str, Any] = {"type": column.kind}
        if column.overall.valid:
            known |= _range(column) | _values(column)
        if {"minimum", "maximum", "values"} & known.keys() and tolerance.max_outside:
            known["max_outside"] = _up(tolerance.max_outside)
        if tolerance.max_missing is not None:
            known["max_missing"] = _up(tolerance.max_missing)
        if name in keys and column.kind in {"string", "numeric"} and not column.overall.missing:
            known["unique"] = True
        suggested[name] = known
    return suggested


def _range(column: ColumnProfile) -> dict[str, Any]:
    moments = column.overall.moments
    if moments is None or not moments.n or column.kind not in {"numeric", "datetime"}:
        return {}
    low, high = float(moments.minimum), float(moments.maximum)
    if column.kind == "datetime":  # later data are to come, earlier ones are not
        return {"minimum": moment_of(column, low).date()}
    whole = column.overall.integers_only
    if whole and _is_closed(column, round(high - low) + 1):
        return {"minimum": int(low), "maximum": int(high)}
    margin = SLACK * (high - low) or abs(high) * SLACK
    least, most = _outwards(low - margin, up=False), _outwards(high + margin, up=True)
    least = 0.0 if low >= 0 > least else least
    most = 0.0 if high <= 0 < most else most
    return {"minimum": int(least), "maximum": int(most)} if whole else {"minimum": least, "maximum": most}


def _is_closed(column: ColumnProfile, width: int) -> bool:
    hitters = column.overall.hitters
    counts = [count for _, count in hitters.items()]
    return bool(hitters.exact) and len(counts) == width and min(counts) >= COMMON


def _outwards(value: float, *, up: bool) -> float:
    if not value or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = (math.ceil if up else math.floor)(value / unit) * unit
    return float(f"{rounded:.6g}")


def _up(share: float) -> float:
    return min(1.0, _outwards(share, up=True)) if share else 0.0


def _values(column: ColumnProfile) -> dict[str, Any]:
    summary = column.overall
    items = summary.hitters.items()
    if column.kind != "string" or column.is_text or not summary.hitters.exact or len(items) > MOST_VALUES:
        return {}
    if 1000 * sum(count == 1 for _, count in items) >= summary.valid:
        return {}
    return {"values": sorted(str(value) for value, _ in items)}


def expectations_text(profile: Profile, *, source: str) -> str:
    """Write suggestions as YAML, for people to read and change.

    Parameters
    ----------
    profile : Profile
        Of data that are known to be good.
    source : str
        What it is of, for the comment.
    """
    lines = [
        f"# Suggested by {profile.rows:,} rows of {' '.join(source.split())}; read them, and change what is not meant.",
        "# Use them with: headrace check DATA --expectations FILE, or as the key `checks` of a workflow.",
        "checks:",
        "  expect:",
    ]
    for name, known in suggest_expectations(profile).items():
        flow = yaml.dump(
            _quoted(known), Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**9
        ).strip()
        key = yaml.safe_dump(name, default_style='"', allow_unicode=name.isprintable(), width=10**9).strip()
        lines.append(f"    {key}: {flow}")
    lines += [
        "  # rules:  # also between columns, such as:",
        '  #   - {name: lands after it starts, expression: "arr_time > dep_time", at_least: 0.99}',
        "  # unique: [[key, day]]",
        "  # references: [{column: airport, in: airports.parquet, key: faa}]",
    ]
    return "\n".join(lines) + "\n"


class _Text(str):
    """A string that is written in quotes, as YAML's versions do not agree on others."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes `_Text`."""


_Dumper.add_representer(
    _Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)


def _quoted(known: dict[str, Any]) -> dict[str, Any]:
    return known | ({"values": [_Text(value) for value in known["values"]]} if "values" in known else {})
