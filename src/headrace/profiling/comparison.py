"""Two profiles side by side: columns, missing shares, and how far each distribution moved (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.profiling.difference import check_difference, stability_index

if TYPE_CHECKING:
    from headrace.profiling.profile import ColumnProfile, Profile

_LEAST_ROWS = 20


@dataclass(frozen=True)
class ColumnComparison:
    """One column in two data sets.

    Attributes
    ----------
    name : str
    state : {"both", "only in A", "only in B", "type"}
        ``type``: it is in both, but of another kind.
    types : pair of str
        Arrow types, "" where it is absent.
    missing : pair of float
        Missing shares, exact; NaN where it is absent.
    means : pair of float
        Exact; NaN of what is not a number.
    stability : float
        Population stability index, see `stability_index`; NaN where it is not defined: of times, text, nested columns.
    stability_noise : float
        What sampling and the sketches explain of it.
    drift : {"", "pass", "warn", "fail"}
        Of the distribution, beyond sampling noise; "" where there is nothing to compare.
    figure : str
        The distance of the distributions with its noise, as the checks tell it.
    exact : bool
        Every value of both was counted.
    """

    name: str
    state: str
    types: tuple[str, str]
    missing: tuple[float, float]
    means: tuple[float, float]
    stability: float = math.nan
    stability_noise: float = 0.0
    drift: str = ""
    figure: str = ""
    exact: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        return {
            "column": self.name,
            "state": self.state,
            "types": list(self.types),
            "missing_share": [_finite(value) for value in self.missing],
            "mean": [_finite(value) for value in self.means],
            "stability_index": _finite(self.stability),
            "stability_noise": _finite(self.stability_noise),
            "drift": self.drift,
            "figure": self.figure,
            "exact": self.exact,
        }


@dataclass(frozen=True)
class Comparison:
    """Two data sets, A and B.

    Attributes
    ----------
    rows : pair of int
    columns : tuple of ColumnComparison
        Those that differ most come first.
    """

    rows: tuple[int, int]
    columns: tuple[ColumnComparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        return {"rows": list(self.rows), "columns": [column.to_dict() for column in self.columns]}


def compare(a: Profile, b: Profile) -> Comparison:
    """Compare two profiles, column by column.

    Parameters
    ----------
    a, b : Profile

    Notes
    -----
    ``drift`` is that of `check_against`: the Kolmogorov-Smirnov distance of numbers, the total variation distance of
    categories, less what sampling and the sketches explain.
    """
    checks = {
        check.column: check for check in check_difference(b, a) if check.name == "drift" and check.column
    }
    found = []
    for name in [*a.columns, *(name for name in b.columns if name not in a.columns)]:
        left, right = a.columns.get(name), b.columns.get(name)
        both = left is not None and right is not None
        same = left is not None and right is not None and left.kind == right.kind
        check = checks.get(name)
        index, noise = math.nan, 0.0
        if left is not None and right is not None and same and _comparable(left, right):
            index, noise = stability_index(right, left)
        found.append(
            ColumnComparison(
                name,
                ("both" if same else "type") if both else "only in A" if right is None else "only in B",
                ("" if left is None else left.type, "" if right is None else right.type),
                (_missing(left), _missing(right)),
                (_mean(left), _mean(right)),
                index,
                noise,
                "pass"
                if check is None and _enough(left, right, index)
                else ""
                if check is None
                else check.status,
                "" if check is None else check.figure.split(";")[0],
                same and _exact(left) and _exact(right),
            )
        )
    return Comparison((a.rows, b.rows), tuple(sorted(found, key=_weight)))


def _weight(column: ColumnComparison) -> tuple[int, float, str]:
    rank = {"only in A": 0, "only in B": 0, "type": 0}.get(
        column.state, {"fail": 1, "warn": 2}.get(column.drift, 3)
    )
    gap = abs(column.missing[0] - column.missing[1]) if rank else 0.0
    index = 0.0 if math.isnan(column.stability) else column.stability
    return rank, -max(index, gap), column.name


def _comparable(a: ColumnProfile, b: ColumnProfile) -> bool:
    """Whether a distribution is looked at: times move by themselves, texts hardly repeat."""
    return a.kind not in {"other", "datetime"} and not (a.is_text or b.is_text)


def _enough(a: ColumnProfile | None, b: ColumnProfile | None, index: float) -> bool:
    """Whether the checks compare the column at all."""
    if math.isnan(index) or a is None or b is None:
        return False
    return min(a.overall.valid, b.overall.valid) >= _LEAST_ROWS


def _exact(column: ColumnProfile | None) -> bool:
    return column is not None and bool(column.overall.hitters.exact)


def _missing(column: ColumnProfile | None) -> float:
    return (
        math.nan
        if column is None or not column.overall.rows
        else column.overall.missing / column.overall.rows
    )


def _mean(column: ColumnProfile | None) -> float:
    if column is None or column.kind not in {"numeric", "boolean"} or column.overall.moments is None:
        return math.nan
    return float(column.overall.moments.mean) if column.overall.moments.n else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
