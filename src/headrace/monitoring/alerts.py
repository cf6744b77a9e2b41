"""Alerts: rules held against figures, by a state machine that time and figures alone move (pure)."""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from headrace.monitoring.options import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from headrace.monitoring.measures import Measures
    from headrace.monitoring.options import AlertRule

Phase = Literal["pending", "firing", "resolved"]
KEPT = 7 * 86_400
"""Seconds for which a resolved alert is remembered."""


@dataclass(frozen=True)
class Alert:
    """One rule about one version, arm and column.

    Attributes
    ----------
    rule, severity, metric : str
    version, arm, column : str
        What it is about; "" where there is none.
    phase : {"pending", "firing", "resolved"}
        Pending until the condition has held for as long as the rule says.
    since : float
        When the condition began to hold, in seconds since 1970.
    seen : float
        When there was a value last.
    fired, resolved : float or None
        When it began to fire, and when the condition ended.
    value, limit : float
        The last value and the limit of the rule.
    """

    rule: str
    severity: str
    metric: str
    version: str
    arm: str
    column: str
    phase: Phase
    since: float
    seen: float
    value: float
    limit: float
    fired: float | None = None
    resolved: float | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it one alert."""
        return self.rule, self.version, self.arm, self.column

    def text(self) -> str:
        """Say it in one line."""
        about = ", ".join(part for part in (self.version, self.arm, self.column) if part)
        return f"{self.rule} ({about}): {self.metric} is {self.value:.4g}, limit {self.limit:g}"

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Alert:
        """Read `to_dict` back."""
        return cls(**document)


def advance(
    alerts: Sequence[Alert], rules: Sequence[AlertRule], found: Mapping[str, Sequence[Measures]], now: float
) -> tuple[list[Alert], list[Alert]]:
    """Move alerts on by one look.

    Parameters
    ----------
    alerts : sequence of Alert
        After the last look.
    rules : sequence of AlertRule
        Alerts of other rules are forgotten.
    found : mapping of str to sequence of Measures
        For each rule by name, the figures of its window.
    now : float
        Seconds since 1970.

    Returns
    -------
    alerts, changed : list of Alert
        All alerts, and those that began to fire or were resolved by this look. An alert whose figure is not there any
        more (no rows came) is forgotten while it is pending, and is resolved after the window of its rule when it fires.
    """
    held = {alert.key: alert for alert in alerts}
    after: dict[tuple[str, str, str, str], Alert] = {}
    changed = []
    for rule in rules:
        for value, alert in _looked_at(rule, found.get(rule.name, ()), now):
            before = held.pop(alert.key, None)
            moved = _moved(rule, before, alert, value, now)
            if moved is None:
                continue
            after[moved.key] = moved
            if moved.phase not in {before.phase if before else "pending", "pending"}:
                changed.append(moved)
    spans = {rule.name: seconds_of(rule.window) for rule in rules}
    for alert in held.values():
        if alert.rule not in spans:
            continue
        if alert.phase == "firing" and now - alert.seen > spans[alert.rule]:
            gone = replace(alert, phase="resolved", resolved=now)
            after[alert.key] = gone
            changed.append(gone)
        elif alert.phase == "firing" or (alert.phase == "resolved" and now - (alert.resolved or now) < KEPT):
            after[alert.key] = alert
    return list(after.values()), changed


def _looked_at(rule: AlertRule, found: Iterable[Measures], now: float) -> Iterable[tuple[float, Alert]]:
    limit = rule.above if rule.above is not None else rule.below
    assert limit is not None
    for measures in found:
        window = measures.window
        if rule.arm is not None and window.arm != rule.arm:
            continue
        for column, value in measures.of(rule.metric, least_rows=rule.least_rows):
            if rule.column is not None and column != rule.column:
                continue
            yield (
                value,
                Alert(
                    rule.name, rule.severity, rule.metric, window.version, window.arm, column,
                    "pending", now, now, value, limit,
                ),
            )  # fmt: skip


def _moved(rule: AlertRule, before: Alert | None, fresh: Alert, value: float, now: float) -> Alert | None:
    over = operator.gt if rule.above is not None else operator.lt
    alight = before is not None and before.phase != "resolved"
    if not over(value, fresh.limit):
        if before is None or before.phase == "pending":
            return None
        if before.phase == "firing":
            return replace(before, phase="resolved", resolved=now, seen=now, value=value)
        return before if now - (before.resolved or now) < KEPT else None
    alert = replace(before, value=value, seen=now) if alight and before is not None else fresh
    if alert.phase == "pending" and now - alert.since >= seconds_of(rule.for_):
        return replace(alert, phase="firing", fired=now)
    return alert
