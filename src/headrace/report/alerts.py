"""What to look at first in a profile: rules over its numbers, ranked by what they can do to a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.report import numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headrace.accumulators.columns import ColumnSummary
    from headrace.profiling.profile import ColumnProfile, Profile

LEVELS = ("act", "look", "know")


@dataclass(frozen=True)
class Alert:
    """One finding.

    Parameters
    ----------
    level : {"act", "look", "know"}
        How much it matters.
    rule : str
        Two words that fit on a label.
    column : str
        The column, or "" for the data as a whole.
    text : str
        The finding with its figure.
    mend : str
        What one can do about it.
    weight : float
        Orders alerts of one level; larger comes first.
    """

    level: str
    rule: str
    column: str
    text: str
    mend: str
    weight: float = 0.0


def find_alerts(profile: Profile, importance: dict[str, float]) -> list[Alert]:
    """Return all alerts of a profile, those that matter most first.

    Parameters
    ----------
    profile : Profile
        What was measured.
    importance : dict
        Column to the share of the target's entropy that it explains on its own.
    """
    found = list(_balance(profile))
    for name, column in profile.columns.items():
        mine = list(_column_alerts(column, name == profile.target))
        explained = importance.get(name, 0.0)
        if explained > 0.8:
            mine.append(
                Alert(
                    "act",
                    "leak?",
                    name,
                    f"alone explains {numbers.share(explained)} of the target",
                    "make sure that it is known before the target is",
                    explained,
                )
            )
        found.extend(mine)
    return ranked_alerts(found)


def ranked_alerts(alerts: Iterable[Alert]) -> list[Alert]:
    """Order alerts, those that matter most first."""
    return sorted(alerts, key=lambda alert: (LEVELS.index(alert.level), -alert.weight, alert.column))


def _balance(profile: Profile) -> Iterator[Alert]:
    total = sum(profile.classes.values())
    if len(profile.classes) < 2 or not total:
        return
    label, rows = min(profile.classes.items(), key=lambda item: item[1])
    if rows / total < 0.05:
        yield Alert(
            "look",
            "rare class",
            profile.target or "",
            f"class {label} has {numbers.share(rows / total)} of the rows",
            "judge by average precision; consider class_weight: balanced",
            1 - rows / total,
        )


def _column_alerts(column: ColumnProfile, is_target: bool) -> Iterator[Alert]:
    overall, name = column.overall, column.name
    if not overall.rows:
        return
    missing = overall.missing / overall.rows
    if not overall.valid:
        yield Alert("act", "all missing", name, "holds no value at all", "drop it", 3)
        return
    if is_target and missing > 0:
        yield Alert(
            "act",
            "target missing",
            name,
            f"{numbers.share(missing)} of the target is missing",
            "drop those rows",
            4,
        )
    if column.is_constant:
        yield Alert(
            "act", "constant", name, "holds one value only", "drop it: there is nothing to learn from it", 2
        )
        return
    infinite = overall.pos_infs + overall.neg_infs
    if infinite:
        yield Alert(
            "act", "infinite", name, f"{numbers.count(infinite)} infinite values",
            "they count as missing; look at where they come from", 1 + infinite / overall.rows,
        )  # fmt: skip
    if not is_target:
        yield from _identity(column)
    if missing > 0.5:
        yield Alert(
            "act" if missing > 0.95 else "look", "mostly missing", name, f"{numbers.share(missing)} missing",
            "ask why; a flag of missingness may say more than the value", missing,
        )  # fmt: skip
    elif missing > 0.05:
        yield Alert(
            "know", "missing", name, f"{numbers.share(missing)} missing", "imputed, with a flag", missing
        )
    if column.kind == "numeric" and not is_target:
        yield from _shape(name, overall)


def _identity(column: ColumnProfile) -> Iterator[Alert]:
    overall = column.overall
    unique = column.unique_share
    # Every float above 2**53 is an integer, and says nothing by it.
    whole = column.kind == "string" or (column.type.startswith(("int", "uint")) and overall.integers_only)
    if whole and unique > 0.95 and overall.valid >= 100:
        yield Alert(
            "act", "identifier?", column.name, f"{numbers.share(min(unique, 1.0))} of its values are unique",
            "drop it: a model would learn the rows by heart", 1.5,
        )  # fmt: skip
    elif column.kind == "string" and overall.distinct.estimate() > 1000:
        yield Alert(
            "look", "many values", column.name,
            f"about {numbers.brief(overall.distinct.estimate())} distinct values",
            "rare ones go to one bucket; consider target encoding or hashing", unique,
        )  # fmt: skip


def _shape(name: str, overall: ColumnSummary) -> Iterator[Alert]:
    sketch, moments = overall.quantiles, overall.moments
    if sketch is None or moments is None or not sketch.n:
        return
    q25, q50, q75 = (float(value) for value in sketch.quantile([0.25, 0.5, 0.75]))
    spread = q75 - q25
    reach = max(float(moments.maximum) - q50, q50 - float(moments.minimum))
    if spread > 0:
        within_low, within_high = sketch.cdf([q25 - 1.5 * spread, q75 + 1.5 * spread])
        outside = min(1.0, max(0.0, float(within_low) + 1.0 - float(within_high)))
        if reach > 20 * spread:
            times = numbers.number(reach / spread, 2)
            yield Alert(
                "look", "heavy tail", name, f"reaches {times} interquartile ranges from the median",
                "clip by quantiles, or take a logarithm", 0.5 + outside,
            )  # fmt: skip
        elif outside > 0.05:
            yield Alert(
                "know", "outliers", name, f"{numbers.share(outside)} lie outside the fences of the box plot",
                "clip by quantiles, or scale robustly", outside,
            )  # fmt: skip
    zeros = overall.zeros / overall.valid
    if zeros > 0.75:
        yield Alert(
            "know",
            "mostly zero",
            name,
            f"{numbers.share(zeros)} are zero",
            "a flag of zero may say more",
            zeros,
        )
