"""What exploration found as the page shows it: pairs, time, missing values together, components, and alerts from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.profiling.components import principal_components
from headrace.profiling.pairs import Pair, Pairs, Sampled, Tie, find_pairs, sampled
from headrace.report import numbers
from headrace.report.alerts import Alert
from headrace.report.curves import whisker
from headrace.report.facts import time_unit
from headrace.report.matrices import loadings, scree, staircase
from headrace.report.pairs import pair_drawing
from headrace.report.trends import (
    Movement,
    Periods,
    mean_drawing,
    missing_drawing,
    movements,
    periods,
    rate_drawing,
    rows_drawing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.accumulators.absences import Absences
    from headrace.profiling.exploration import Exploration
    from headrace.profiling.profile import Profile
    from headrace.report.marks import Drawing

SHOWN_PAIRS, SHOWN_ABSENCES, SHOWN_MOVERS = 9, 24, 12
_SAME = 0.97
"""Strength from which two columns are said to tell the same."""
EXACT = "exact"


@dataclass(frozen=True)
class TieRow:
    """One column and what it says of the target."""

    name: str
    measure: str
    value: str
    exact: str
    bits: str
    bits_error: str
    drawing: Drawing


@dataclass(frozen=True)
class Panel:
    """One drawing with its words."""

    title: str
    text: str
    drawing: Drawing


@dataclass(frozen=True)
class ExplorationView:
    """All that the templates need of an exploration; what was not found is empty."""

    sample_rows: int = 0
    whole: bool = False
    """The sample is all rows."""
    matrix: Drawing | None = None
    matrix_columns: int = 0
    left_out: int = 0
    pairs: tuple[Panel, ...] = ()
    ties: tuple[TieRow, ...] = ()
    target: str = ""
    time: str = ""
    word: str = ""
    how: str = ""
    """How counts and means over time are known."""
    timeline: tuple[Panel, ...] = ()
    movers: tuple[Panel, ...] = ()
    trends: Mapping[str, Drawing] = field(default_factory=dict)
    """Column to the drawing in its card."""
    absences: Drawing | None = None
    absence_facts: tuple[str, ...] = ()
    components: tuple[Panel, ...] = ()
    alerts: tuple[Alert, ...] = ()


def explore(profile: Profile, exploration: Exploration | None) -> ExplorationView:
    """Turn what was found into what the templates show."""
    if exploration is None:
        return ExplorationView()
    columns = sampled(profile, exploration)
    pairs = find_pairs(profile, exploration)
    found = periods(exploration.trend) if exploration.trend is not None else None
    moved = _moved(profile, exploration)
    how = EXACT if exploration.rows_exact else "of about a million rows chosen by key"
    absences, absence_facts = _absences(exploration.absences, how)
    return ExplorationView(
        sample_rows=exploration.sample_rows,
        whole=exploration.sample_rows >= profile.rows,
        matrix=_matrix(pairs, columns),
        matrix_columns=len(pairs.names),
        left_out=pairs.left_out,
        pairs=tuple(_pair_panel(pair, columns, profile) for pair in pairs.strongest[:SHOWN_PAIRS]),
        ties=_tie_rows(pairs.ties, profile.target),
        target=profile.target or "",
        time=exploration.time or "",
        word="" if found is None else found.word,
        how=how,
        timeline=() if found is None else tuple(_timeline(found, profile, how)),
        movers=() if found is None else tuple(_movers(found, moved)),
        trends={} if found is None else _card_trends(found),
        absences=absences,
        absence_facts=absence_facts,
        components=_components(profile, exploration),
        alerts=tuple(_alerts(profile, pairs, moved, exploration.absences)),
    )


def _written(value: float, half: float) -> str:
    return (
        f"{numbers.score(value, 2)} ± {numbers.score(half, 2)}"
        if math.isfinite(half)
        else numbers.score(value, 2)
    )


def _matrix(pairs: Pairs, columns: Mapping[str, Sampled]) -> Drawing | None:
    if len(pairs.names) < 2:
        return None

    def tip(i: int, j: int) -> str:
        a, b = columns[pairs.names[i]], columns[pairs.names[j]]
        measure = (
            "Cramér's V"
            if a.is_category and b.is_category
            else "correlation ratio"
            if a.is_category or b.is_category
            else "Spearman"
        )
        value = float(pairs.values[i, j])
        words = numbers.score(value, 2) if math.isfinite(value) else "not defined"
        return f"{numbers.cut(a.name)} and {numbers.cut(b.name)}: {measure} {words}"

    return staircase(pairs.names, pairs.values, "Strength of each pair of columns", tip)


def _pair_panel(pair: Pair, columns: Mapping[str, Sampled], profile: Profile) -> Panel:
    first, second = columns[pair.first], columns[pair.second]
    text = f"{pair.measure} {_written(pair.value, pair.half)}, {numbers.count(pair.rows)} sampled rows"
    if pair.pearson is not None:
        text += f"; Pearson {_pearson(pair)}"
    kinds = (profile.columns[pair.first], profile.columns[pair.second])
    one, other = (time_unit(column.type) if column.kind == "datetime" else None for column in kinds)
    title = f"{numbers.cut(pair.first, 30)} · {numbers.cut(pair.second, 30)}"
    return Panel(title, text, pair_drawing(first, second, (one, other)))


def _tie_rows(ties: tuple[Tie, ...], target: str | None) -> tuple[TieRow, ...]:
    top = max((tie.information + (_zero(tie.information_half)) for tie in ties), default=0.0)
    rows = []
    for tie in ties:
        pair = tie.pair
        name = pair.second if pair.first == target else pair.first
        low, high = (max(0.0, tie.information + sign * _zero(tie.information_half)) for sign in (-1, 1))
        tip = f"{numbers.cut(name)}: {_bits(tie.information)} bits ({numbers.span(_bits(low), _bits(high))})"
        rows.append(
            TieRow(
                name,
                pair.measure,
                _written(pair.value, pair.half),
                "" if pair.pearson is None else _pearson(pair),
                _bits(tie.information),
                _bits(tie.information_half) if math.isfinite(tie.information_half) else "",
                whisker(tie.information, low, high, (0.0, top or 1.0), 0.0, tip),
            )
        )
    return tuple(rows)


def _pearson(pair: Pair) -> str:
    value = numbers.score(pair.pearson, 3)
    return f"{value} ± {numbers.score(pair.pearson_half, 3)}" if pair.pearson_half else f"{value}, exact"


def _zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _bits(value: float) -> str:
    return numbers.score(value, 3)


def _positive(profile: Profile) -> str | None:
    labels = sorted(profile.classes)
    return labels[1] if len(labels) == 2 else None


def _timeline(found: Periods, profile: Profile, how: str) -> Iterator[Panel]:
    rows = found.trend.rows
    text = f"{numbers.brief(float(rows.min()))} to {numbers.brief(float(rows.max()))} rows a {found.word}"
    yield Panel(f"Rows per {found.word}", f"{text}, {how}", rows_drawing(found))
    positive = _positive(profile)
    if positive is not None:
        drawing = rate_drawing(found, positive)
        if drawing is not None:
            words = f"{how}; the band is the 95 % interval of the rate of a {found.word}, dashed: all rows"
            yield Panel(f"Share of class {numbers.cut(positive, 30)} per {found.word}", words, drawing)
    elif profile.target in found.trend.names:
        drawing = mean_drawing(found, profile.target)
        if drawing is not None:
            yield Panel(f"Mean of {numbers.cut(profile.target, 40)}", f"{how}, dashed: all rows", drawing)


def _moved(profile: Profile, exploration: Exploration) -> dict[str, Movement]:
    if exploration.trend is None:
        return {}
    spreads = {
        name: float(column.overall.moments.std)
        for name, column in profile.columns.items()
        if column.overall.moments is not None and column.kind in {"numeric", "boolean"}
    }
    found = periods(exploration.trend)
    moved = {} if found is None else movements(found.trend, spreads)
    return dict(sorted(moved.items(), key=lambda item: (-item[1].size, item[0])))


def _movers(found: Periods, moved: Mapping[str, Movement]) -> Iterator[Panel]:
    for name, movement in list(moved.items())[:SHOWN_MOVERS]:
        of_mean = movement.kind == "mean"
        drawing = (mean_drawing if of_mean else missing_drawing)(found, name)
        if drawing is not None:
            ends = (
                numbers.span(numbers.number(movement.low, 3), numbers.number(movement.high, 3))
                if of_mean
                else numbers.span(numbers.share(movement.low), numbers.share(movement.high))
            )
            what = (
                f"{numbers.share(movement.size)} of its variance lies between periods"
                if of_mean
                else "missing"
            )
            yield Panel(numbers.cut(name, 60), f"{what}: {ends} a {found.word}", drawing)


def _card_trends(found: Periods) -> dict[str, Drawing]:
    drawn = {name: mean_drawing(found, name) or missing_drawing(found, name) for name in found.trend.names}
    return {name: drawing for name, drawing in drawn.items() if drawing is not None}


def _absences(absences: Absences | None, how: str) -> tuple[Drawing | None, tuple[str, ...]]:
    if absences is None or not absences.rows:
        return None, ()
    rows = absences.rows
    counts = np.diag(absences.joint)
    some = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i] > 0]
    complete = f"{numbers.share(absences.complete / rows)} of the rows lack nothing"
    if len(absences.names) > len(some) and not some:
        return None, (f"{complete}.",)
    facts = [f"{complete} in the {numbers.count(len(absences.names))} columns looked at; {how}."]
    shown = some[:SHOWN_ABSENCES]
    if len(shown) < 2:
        return None, tuple(facts)
    if len(some) > len(shown):
        facts.append(f"The {len(shown)} of {len(some)} columns that lack most are drawn.")
    phi = absences.correlation()[np.ix_(shown, shown)]
    names = [absences.names[i] for i in shown]

    def tip(i: int, j: int) -> str:
        both = int(absences.joint[shown[i], shown[j]])
        value = float(phi[i, j])
        words = f", correlation {numbers.score(value, 2)}" if math.isfinite(value) else ""
        return f"{numbers.cut(names[i])} and {numbers.cut(names[j])}: both missing in {numbers.count(both)} rows{words}"

    return staircase(names, phi, "Which columns are missing together", tip), tuple(facts)


def _components(profile: Profile, exploration: Exploration) -> tuple[Panel, ...]:
    if exploration.products is None:
        return ()
    found = principal_components(exploration.products, without=profile.target)
    if found is None or len(found.names) < 3:
        return ()
    upto = np.cumsum(found.shares)
    needed = int(np.searchsorted(upto, 0.9)) + 1
    words = (
        f"{needed} of {len(found.names)} components hold 90 % of the variance of the standardised columns; "
    )
    words += "exact" if exploration.products_exact else "of about a million rows"
    words += "" if found.complete else ", from the rows that hold each pair"
    return (
        Panel("Principal components", words, scree(found)),
        Panel("What they are made of", "blue: with the component, orange: against it", loadings(found)),
    )


def _alerts(
    profile: Profile, pairs: Pairs, moved: Mapping[str, Movement], absences: Absences | None
) -> Iterator[Alert]:
    yield from _copies(pairs)
    for name, movement in moved.items():
        if name == profile.target:
            yield Alert(
                "look", "target moves", name, f"{numbers.share(movement.size)} of its variance lies between periods",
                "split by time, so that the test is as far ahead as use will be", 1 + movement.size,
            )  # fmt: skip
        elif movement.kind == "missing" and movement.size > 0.2:
            yield Alert(
                "look", "gaps in time", name,
                f"missing {numbers.span(numbers.share(movement.low), numbers.share(movement.high))} over the periods",
                "ask what changed; a model learns the period from it", movement.size,
            )  # fmt: skip
        elif movement.kind == "mean" and movement.size > 0.3:
            yield Alert(
                "know", "moves in time", name, f"{numbers.share(movement.size)} of its variance lies between periods",
                "share of the variance between periods: split by time", movement.size,
            )  # fmt: skip
    if absences is not None and absences.rows:
        yield from _together(absences)


def _copies(pairs: Pairs) -> Iterator[Alert]:
    """Tell each column once of which another tells nearly the same."""
    told: set[str] = set()
    for pair in pairs.strongest:
        if abs(pair.value) > _SAME and pair.second not in told:
            told.add(pair.second)
            strength = _written(pair.value, pair.half)
            yield Alert(
                "look", "same again", pair.second,
                f"says nearly what {numbers.cut(pair.first, 40)} says: {pair.measure} {strength}",
                "keep one of them for a linear model", abs(pair.value),
            )  # fmt: skip


def _together(absences: Absences) -> Iterator[Alert]:
    """Tell groups of columns that are missing in the same rows."""
    counts = np.diag(absences.joint)
    left = [i for i in range(len(counts)) if counts[i] > 0.005 * absences.rows]
    phi = absences.correlation()
    while left:
        first = left.pop(0)
        group = [i for i in left if phi[first, i] > 0.95]
        left = [i for i in left if i not in group]
        if group:
            names = ", ".join(numbers.cut(absences.names[i], 30) for i in group[:5])
            more = f" and {len(group) - 5} more" if len(group) > 5 else ""
            yield Alert(
                "look", "missing together", absences.names[first], f"missing in the same rows as {names}{more}",
                "one flag of missingness says it for all", float(counts[first]) / absences.rows,
            )  # fmt: skip
