"""A profile as the page shows it: one card per column, the target's balance, missing values, key figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.report import numbers
from headrace.report.alerts import Alert, find_alerts, ranked_alerts
from headrace.report.categories import Category, value_bars
from headrace.report.exploration import ExplorationView, explore
from headrace.report.facts import Fact, column_facts, few_values, foot, time_unit
from headrace.report.histograms import histogram
from headrace.report.importance import column_importance

if TYPE_CHECKING:
    from headrace.accumulators.columns import ColumnSummary
    from headrace.profiling.exploration import Exploration
    from headrace.profiling.profile import ColumnProfile, Profile
    from headrace.report.marks import Drawing

FULL_CARDS = 150
MOST_CARDS = 400
TOP = 10


@dataclass(frozen=True)
class Card:
    """What the page shows of one column."""

    number: int
    name: str
    kind: str
    type: str
    is_target: bool
    missing: float
    importance: float | None
    drawing: Drawing | None
    facts: tuple[Fact, ...]
    foot: str
    alerts: tuple[Alert, ...] = ()
    note: str = ""
    trend: Drawing | None = None


@dataclass(frozen=True)
class Class:
    """One class of the target."""

    label: str
    rows: int
    share: float
    index: int


@dataclass(frozen=True)
class ProfileView:
    """All that the templates need of a profile."""

    rows: int
    figures: tuple[Fact, ...]
    target: str | None
    classes: tuple[Class, ...]
    loud: tuple[Alert, ...]
    """Findings one by one."""
    quiet: tuple[tuple[Alert, ...], ...]
    """Findings that are only good to know, one group for each rule."""
    cards: tuple[Card, ...]
    left_out: int
    has_importance: bool
    anchors: dict[str, int] = field(default_factory=dict)
    explored: ExplorationView = field(default_factory=ExplorationView)


def view(profile: Profile, exploration: Exploration | None = None) -> ProfileView:
    """Turn a profile into what the templates show.

    Parameters
    ----------
    profile : Profile
        Of any number of rows and columns; columns after the first 150 get a slimmer card, and those after the
        first 400 (by importance, then order) only count.
    exploration : Exploration, optional
        What was found beside it.

    Returns
    -------
    ProfileView
    """
    importance = column_importance(profile)
    explored = explore(profile, exploration)
    alerts = ranked_alerts([*find_alerts(profile, importance), *explored.alerts])
    total = sum(profile.classes.values()) or 1
    names = list(profile.columns)
    if profile.target in names:
        names.remove(profile.target)
        names.insert(0, profile.target)
    kept = set(names)
    if len(names) > MOST_CARDS:
        ranked = sorted(names, key=lambda name: (name != profile.target, -importance.get(name, 0.0)))
        kept = set(ranked[:MOST_CARDS])
    shown = [name for name in names if name in kept]
    cards = tuple(
        _card(
            index,
            profile,
            profile.columns[name],
            importance.get(name),
            alerts,
            slim=len(shown) > FULL_CARDS,
            trend=explored.trends.get(name),
        )
        for index, name in enumerate(shown)
    )
    return ProfileView(
        rows=profile.rows,
        figures=_figures(profile),
        target=profile.target,
        classes=tuple(
            Class(label, rows, rows / total, min(index, 6))
            for index, (label, rows) in enumerate(sorted(profile.classes.items()))
        ),
        loud=tuple(alert for alert in alerts if alert.level != "know"),
        quiet=_by_rule([alert for alert in alerts if alert.level == "know"]),
        cards=cards,
        left_out=len(names) - len(shown),
        has_importance=bool(importance),
        anchors={card.name: card.number for card in cards},
        explored=explored,
    )


def _by_rule(alerts: list[Alert]) -> tuple[tuple[Alert, ...], ...]:
    groups: dict[str, list[Alert]] = {}
    for alert in alerts:
        groups.setdefault(alert.rule, []).append(alert)
    return tuple(tuple(group) for group in groups.values())


def _figures(profile: Profile) -> tuple[Fact, ...]:
    kinds: dict[str, int] = {}
    missing = cells = 0
    for column in profile.columns.values():
        kinds[_kind(column)] = kinds.get(_kind(column), 0) + 1
        missing += column.overall.missing
        cells += column.overall.rows
    holes = sum(1 for column in profile.columns.values() if column.overall.missing)
    words = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds, key=lambda kind: -kinds[kind]))
    return (
        Fact("rows", numbers.count(profile.rows)),
        Fact("columns", numbers.count(len(profile.columns)), words),
        Fact(
            "missing cells",
            numbers.share(missing / cells if cells else 0.0),
            f"in {holes} columns" if holes else "none",
        ),
    )


def _kind(column: ColumnProfile) -> str:
    return "text" if column.is_text else column.kind


def _card(
    index: int,
    profile: Profile,
    column: ColumnProfile,
    importance: float | None,
    alerts: list[Alert],
    *,
    slim: bool,
    trend: Drawing | None,
) -> Card:
    overall = column.overall
    is_target = column.name == profile.target
    says_nothing = not overall.valid or column.is_constant
    return Card(
        number=index,
        name=column.name,
        kind=_kind(column),
        type=column.type,
        is_target=is_target,
        missing=overall.missing / overall.rows if overall.rows else 0.0,
        importance=None if says_nothing else importance,
        drawing=_drawing(column, {} if is_target else profile.classes, slim=slim),
        facts=column_facts(column),
        foot=foot(overall),
        alerts=tuple(alert for alert in alerts if alert.column == column.name),
        note=_note(column),
        trend=None if says_nothing else trend,
    )


def _note(column: ColumnProfile) -> str:
    """Say what stands in place of a drawing."""
    if not column.overall.valid:
        return "no values"
    if column.overall.moments is not None and not column.overall.moments.n:
        return "no finite values"
    if column.is_constant and column.top(1):
        return f"always {_value_label(column.top(1)[0][0], column)}"
    return "counted only" if column.kind == "other" else ""


def _drawing(column: ColumnProfile, classes: dict[str, int], *, slim: bool) -> Drawing | None:
    overall = column.overall
    if not overall.valid:
        return None
    by_class = {label: column.by_class[label] for label in classes if label in column.by_class}
    as_values = column.kind == "numeric" and few_values(overall)
    if overall.quantiles is not None and overall.quantiles.n and not as_values:
        if overall.moments is None or overall.moments.minimum == overall.moments.maximum:
            return None
        unit = time_unit(column.type) if column.kind == "datetime" else None
        return histogram(column.name, overall, by_class, unit=unit, slim=slim)
    if column.is_constant or not overall.hitters.items():
        return None
    return value_bars(column.name, _categories(column, by_class, 5 if slim else TOP), overall.rows, classes)


def _categories(column: ColumnProfile, by_class: dict[str, ColumnSummary], most: int) -> list[Category]:
    overall = column.overall
    top = column.top(most)
    counted = {label: dict(summary.hitters.items()) for label, summary in by_class.items()}
    shown = [
        Category(
            _value_label(value, column),
            float(rows),
            {label: float(counts.get(value, 0)) for label, counts in counted.items()},
        )
        for value, rows in top
    ]
    rest = overall.valid - sum(rows for _, rows in top)
    if rest > 0:
        others = {
            label: max(0.0, float(summary.valid - sum(counted[label].get(value, 0) for value, _ in top)))
            for label, summary in by_class.items()
        }
        shown.append(Category("all others", float(rest), others, "rest"))
    if overall.missing:
        shown.append(
            Category(
                "missing",
                float(overall.missing),
                {label: float(summary.missing) for label, summary in by_class.items()},
                "missing",
            )
        )
    return shown


def _value_label(value: Any, column: ColumnProfile) -> str:
    if column.kind == "boolean":
        return str(bool(value))
    if column.kind == "datetime":
        return numbers.moment(value, time_unit(column.type))
    return numbers.number(value, 6) if column.kind == "numeric" else numbers.cut(value, 200)
