"""The page of a model in use: verdict, alerts, performance and traffic over time, inputs by drift times importance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import headrace
from headrace.report import numbers
from headrace.report.facts import Fact
from headrace.report.importance import column_importance
from headrace.report.marks import Drawing, Frame, Mark, Rect, Word, area, line, segment, x_axis
from headrace.report.pages import render
from headrace.report.scales import Scale, ticks, time_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from headrace.monitoring.alerts import Alert
    from headrace.monitoring.drift import ColumnDrift
    from headrace.monitoring.measures import Measures
    from headrace.profiling.profile import Profile


MOST_CARDS = 100
TONES = {"much": "act", "little": "look", "steady": "good", "": ""}
WORDS = {"much": "moved much", "little": "moved a little", "steady": "steady", "": "too few rows"}
STYLES = ("series series-0", "series series-1", "series series-2", "series series-3")


@dataclass(frozen=True)
class Series:
    """One line: its name, and values with intervals (or NaN) over time."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    """Seconds since 1970, value, low, high; low and high are NaN where there is no interval."""


@dataclass(frozen=True)
class InputCard:
    """One input as the page shows it."""

    number: int
    name: str
    word: str
    tone: str
    why: str
    importance: str
    rank: float
    missing: float
    facts: tuple[Fact, ...]
    drawing: Drawing | None
    new: str


def render_monitor(
    found: Sequence[Measures],
    timeline: Sequence[Measures],
    *,
    profiles: Mapping[str, Profile],
    alerts: Iterable[Alert],
    width: int,
    title: str,
    now: float,
) -> str:
    """Draw a model in use as one HTML page that needs nothing else.

    Parameters
    ----------
    found : sequence of Measures
        The whole span, for each version and arm.
    timeline : sequence of Measures
        The span in pieces of `width` seconds.
    profiles : mapping of str to Profile
        Of the training data, by version: they tell which inputs matter.
    alerts : iterable of Alert
        As the last look left them.
    width : int
        Seconds of a point.
    title : str
    now : float
        Seconds since 1970.

    Returns
    -------
    str
        An HTML document. Inputs are those of the champion with the most rows.
    """
    shown = [alert for alert in alerts if alert.phase != "pending"]
    main = max(found, key=_prominence, default=None)
    cards = [] if main is None else _cards(main, timeline, profiles.get(main.window.version))
    charts = [drawing for drawing in _charts(timeline, width) if drawing is not None]
    sections = [("overview", "Overview"), ("alerts", "Alerts")]
    sections += [("time", "Over time")] if charts else []
    sections += [("inputs", "Inputs")] if cards else []
    firing = [alert for alert in shown if alert.phase == "firing"]
    return render(
        "monitor.html",
        title=title,
        subtitle=_span(found, now),
        eyebrow="headrace monitor",
        version=headrace.__version__,
        sections=sections,
        figures=_figures(found),
        rows=[_row(each) for each in found],
        firing=firing,
        alerts=sorted(shown, key=lambda alert: (alert.phase != "firing", -(alert.fired or alert.since))),
        tones={"critical": "act", "warning": "look", "info": ""},
        moment=lambda at: numbers.moment(at, "s"),
        charts=charts,
        main="" if main is None else _about(main),
        cards=cards[:MOST_CARDS],
        left_out=max(0, len(cards) - MOST_CARDS),
    )


def _prominence(measures: Measures) -> tuple[bool, bool, int]:
    return bool(measures.inputs), measures.window.arm == "champion", measures.window.rows


def _about(measures: Measures) -> str:
    return " ".join(part for part in (measures.window.version, measures.window.arm) if part)


def _span(found: Sequence[Measures], now: float) -> str:
    if not found:
        return "No rows came in this time."
    start = min(each.window.start for each in found)
    end = min(now, max(each.window.end for each in found))
    return f"{numbers.span(numbers.moment(start, 's'), numbers.moment(round(end), 's'))} UTC"


def _figures(found: Sequence[Measures]) -> tuple[Fact, ...]:
    whole = [each.window.traffic for each in found if not each.window.arm]
    requests, errors = sum(each.requests for each in whole), sum(each.errors for each in whole)
    moved = {name for each in found for name in each.drifted}
    facts = [
        Fact("rows", numbers.count(sum(each.window.rows for each in found))),
        Fact("requests", numbers.count(requests)),
        Fact("labels", numbers.count(sum(each.window.outcomes.rows for each in found))),
        Fact("inputs that moved", numbers.count(len(moved)), ", ".join(sorted(moved)[:4])),
        Fact(
            "failed by the server", numbers.share(errors / (requests + errors) if requests + errors else 0.0)
        ),
    ]
    dropped = sum(each.window.traffic.dropped for each in found)
    if dropped:
        facts.append(Fact("events not counted", numbers.count(dropped), "the queue was full"))
    return tuple(facts)


def _row(measures: Measures) -> dict[str, str]:
    window, traffic = measures.window, measures.window.traffic
    metrics = "; ".join(
        f"{name} {numbers.number(each.value)} ({numbers.span(numbers.number(each.low), numbers.number(each.high))})"
        for name, each in measures.metrics.items()
        if each.value is not None
    )
    return {
        "about": _about(measures),
        "rows": numbers.count(window.rows),
        "requests": numbers.count(traffic.requests),
        "p50": _milliseconds(traffic.latency(0.5)),
        "p99": _milliseconds(traffic.latency(0.99)),
        "failures": numbers.count(sum(traffic.failures.values())),
        "metrics": metrics,
        "moved": ", ".join(measures.drifted[:8]),
    }


def _milliseconds(seconds: float) -> str:
    return numbers.MISSING if math.isnan(seconds) else f"{numbers.number(1000 * seconds, 3)} ms"


def _charts(timeline: Sequence[Measures], width: int) -> list[Drawing | None]:
    per_second = _series(timeline, lambda each: each.window.traffic.requests / width)
    slow = _series(timeline, lambda each: 1000 * each.window.traffic.latency(0.99))
    failed = _series(timeline, lambda each: math.nan if each.window.arm else each.window.traffic.error_rate)
    moved = _series(timeline, lambda each: float(len(each.drifted)) if each.inputs else math.nan)
    charts = [
        drawing("Requests a second", per_second, percent=False),
        drawing("Slowest hundredth of calls begins at, ms", slow, percent=False),
        drawing("Share of requests that failed by the server", failed, percent=True),
        drawing("Inputs that have moved", moved, percent=False),
    ]
    names = dict.fromkeys(name for each in timeline for name in each.metrics)
    charts += [
        drawing(f"{name}, from labels, with 95 % intervals", _metric(timeline, name), percent=False)
        for name in names
    ]
    return charts


def _series(timeline: Sequence[Measures], value: Callable[[Measures], float]) -> list[Series]:
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for each in timeline:
        held = value(each)
        if math.isfinite(held):
            lines.setdefault(_about(each), []).append((each.window.start, held, math.nan, math.nan))
    return [Series(name, tuple(points)) for name, points in lines.items()]


def _metric(timeline: Sequence[Measures], metric: str) -> list[Series]:
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for each in timeline:
        held = each.metrics.get(metric)
        if held is not None and held.value is not None and held.low is not None and held.high is not None:
            lines.setdefault(_about(each), []).append((each.window.start, held.value, held.low, held.high))
    return [Series(name, tuple(points)) for name, points in lines.items()]


def drawing(
    label: str, lines: Sequence[Series], *, percent: bool, limit: float | None = None, height: float = 168.0
) -> Drawing | None:
    """Draw lines over time, at most four, with their intervals; None when there is nothing to draw.

    Parameters
    ----------
    label : str
    lines : sequence of Series
    percent : bool
        Whether values are shares.
    limit : float, optional
        A line across.
    height : float
    """
    lines = [each for each in lines if each.points][:4]
    if not lines:
        return None
    times = [point[0] for each in lines for point in each.points]
    values = [held for each in lines for point in each.points for held in point[1:] if math.isfinite(held)]
    start, end = min(times), max(times)
    if end <= start:
        end = start + 60
    low, high = min(0.0, *values) if min(values) < 0.5 * max(values) else min(values), max(values)
    if limit is not None:
        high = max(high, 1.15 * limit)
    high = high if high > low else low + (abs(low) or 1.0)
    frame = Frame(48.0, 26.0, 470.0, height - 24.0)
    x, y = frame.x(start, end), frame.y(low, high + 0.04 * (high - low))
    marks: list[Mark] = [Word(2.0, 12.0, label, "lane", "start")]
    for tick in ticks(low, high, 3, percent=percent):
        level = y(tick.value)
        marks += [segment(frame.left, level, frame.right, level, "grid"), Word(frame.left - 5, level + 3.5, tick.label, "tick", "end")]  # fmt: skip
    if limit is not None:
        marks.append(segment(frame.left, y(limit), frame.right, y(limit), "reference"))
    for place, each in enumerate(lines):
        marks.extend(_line(place, each, x, y))
        if len(lines) > 1:
            name = numbers.fit(each.name, 140.0)
            marks.append(Word(470.0, 12.0 + 11.0 * place, name, f"fill-{place}", "end"))
    marks.extend(x_axis(frame, x, time_ticks(start, end, "s", 5)))
    return Drawing(480.0, height, label, tuple(marks))


def _line(place: int, series: Series, x: Scale, y: Scale) -> list[Mark]:
    marks: list[Mark] = []
    band = [point for point in series.points if math.isfinite(point[2])]
    if len(band) > 1:
        upper, lower = ([(x(point[0]), y(point[side])) for point in band] for side in (3, 2))
        marks.append(area(upper, lower, f"band band-{place}"))
    marks.append(line([(x(point[0]), y(point[1])) for point in series.points], STYLES[place]))
    style = f"fill-{place}" if len(series.points) < 40 else "hover"
    for at, value, *_ in series.points:
        tip = f"{numbers.moment(at, 's')}: {numbers.number(value)}"
        tip = f"{series.name}, {tip}" if series.name else tip
        marks.append(Rect(round(x(at) - 2, 1), round(y(value) - 2, 1), 4.0, 4.0, style, tip))
    return marks


def _cards(main: Measures, timeline: Sequence[Measures], profile: Profile | None) -> list[InputCard]:
    importance = {} if profile is None else column_importance(profile)
    same = [each for each in timeline if each.window.key == main.window.key]

    def rank(drift: ColumnDrift) -> float:
        # an input that says nothing of the target alone may still matter with others, so it does not count as nothing
        return (drift.size + 0.01 * drift.psi) * (0.02 + importance.get(drift.column, 0.0))

    ordered = sorted(main.inputs.values(), key=lambda drift: (-rank(drift), drift.column))
    return [
        _card(number, drift, rank(drift), importance.get(drift.column), same, drawn=number < MOST_CARDS)
        for number, drift in enumerate(ordered)
    ]


def _card(
    number: int,
    drift: ColumnDrift,
    rank: float,
    importance: float | None,
    same: Sequence[Measures],
    *,
    drawn: bool,
) -> InputCard:
    facts = [
        Fact(
            "PSI",
            numbers.score(drift.psi, 3),
            f"chance makes {numbers.score(drift.psi_chance, 3)} of it on average",
        ),
        Fact("Jensen-Shannon", numbers.score(drift.js, 3)),
    ]
    if drift.ks is not None:
        facts.append(Fact("KS distance", numbers.score(drift.ks, 3)))
    if drift.wasserstein is not None:
        facts.append(Fact("Wasserstein", numbers.number(drift.wasserstein, 3), "in units of the column"))
    facts += [
        Fact(
            "chi-squared",
            f"{numbers.number(drift.chi_square, 3)} / {drift.free}",
            "statistic and degrees of freedom",
        ),
        Fact("missing", numbers.share(drift.missing), f"{numbers.share(drift.missing_before)} in training"),
        Fact("outside the range", numbers.share(drift.outside)),
        Fact("unseen", numbers.share(drift.unseen)),
    ]
    sizes = [
        Series(
            name,
            tuple(
                (each.window.start, value(each.inputs[drift.column]), math.nan, math.nan)
                for each in same
                if drift.column in each.inputs and each.inputs[drift.column].state
            ),
        )
        for name, value in (("PSI", _psi), ("missing, unseen or outside", _odd))
    ]
    picture = drawing("", sizes, percent=False, limit=0.25, height=128.0) if drawn else None
    return InputCard(
        number,
        drift.column,
        WORDS[drift.state],
        TONES[drift.state],
        drift.why,
        "" if importance is None else numbers.share(importance),
        rank,
        drift.missing,
        tuple(facts),
        picture,
        ", ".join(f"{value} ({numbers.count(count)})" for value, count in drift.new),
    )


def _psi(drift: ColumnDrift) -> float:
    return max(0.0, drift.psi - drift.psi_chance)


def _odd(drift: ColumnDrift) -> float:
    return max(abs(drift.missing - drift.missing_before), drift.unseen, drift.outside)
