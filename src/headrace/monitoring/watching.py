"""One look at a model in use: windows read and measured, rules held against them, sinks told, state kept."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.data import storage
from headrace.errors import HeadraceError, StorageError
from headrace.monitoring.alerts import Alert, advance
from headrace.monitoring.drift import FALSE_ALARMS
from headrace.monitoring.measures import Measures, measure
from headrace.monitoring.options import AlertmanagerSink, MonitorFile, seconds_of
from headrace.monitoring.sinks import send
from headrace.monitoring.windows import MINUTE, merge_by, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.monitoring.grids import Grid
    from headrace.monitoring.store import MonitorStore

STATE = "watch.json"
_LOG = logging.getLogger("headrace.monitoring")


@dataclass(frozen=True)
class WatchState:
    """What a watch remembers from one look to the next.

    Attributes
    ----------
    alerts : tuple of Alert
    untold : tuple of (int, Alert)
        What a sink, by its place in the file, could not be told yet; it is tried again at the next look.
    retrained : float or None
        When the model was last trained again, in seconds since 1970.
    """

    alerts: tuple[Alert, ...] = ()
    untold: tuple[tuple[int, Alert], ...] = ()
    retrained: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        return {
            "alerts": [alert.to_dict() for alert in self.alerts],
            "untold": [[place, alert.to_dict()] for place, alert in self.untold],
            "retrained": self.retrained,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> WatchState:
        """Read `to_dict` back."""
        return cls(
            tuple(Alert.from_dict(each) for each in document["alerts"]),
            tuple((place, Alert.from_dict(each)) for place, each in document["untold"]),
            document["retrained"],
        )


def read_state(store: MonitorStore) -> WatchState:
    """Read what the last look left; nothing when there was none.

    Raises
    ------
    StorageError
        When it is damaged.
    """
    url = storage.join(store.url, STATE)
    if not storage.exists(url):
        return WatchState()
    try:
        return WatchState.from_dict(storage.read_json(url))
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"is not the state of a watch ({type(error).__name__})", where=url, mend="delete the file"
        ) from error


def write_state(store: MonitorStore, state: WatchState) -> None:
    """Write what the next look begins with."""
    storage.write_bytes(storage.join(store.url, STATE), json.dumps(state.to_dict(), indent=1).encode())


def measure_last(
    store: MonitorStore, grids: Mapping[str, Grid], seconds: float, now: float, *, false_alarms: float
) -> list[Measures]:
    """Measure the last `seconds` as one window for each version and arm."""
    windows = whole(store.read(now - seconds, now))
    return [measure(window, grids, false_alarms=false_alarms) for window in windows]


def moved_much(
    store: MonitorStore, grid: Grid, version: str, seconds: float, now: float
) -> tuple[int, dict[str, float]]:
    """Say what of a version has moved much since its training, in the last `seconds`.

    Returns
    -------
    rows : int
        On which it rests.
    moved : dict of str to float
        Inputs, and scores as ``score: class``, with their drift, of which 1 is the limit; the largest first.
    """
    found = [
        each
        for each in measure_last(store, {grid.digest: grid}, seconds, now, false_alarms=FALSE_ALARMS)
        if each.window.version == version
    ]
    moved: dict[str, float] = {}
    for each in found:
        named = {**each.inputs, **{f"score: {name}": drift for name, drift in each.scores.items()}}
        for name, drift in named.items():
            if drift.state == "much":
                moved[name] = max(drift.size, moved.get(name, 0.0))
    worst = sorted(moved.items(), key=lambda item: (-item[1], item[0]))
    return sum(each.window.rows for each in found), dict(worst)


def look(
    store: MonitorStore, grids: Mapping[str, Grid], options: MonitorFile, *, now: float | None = None
) -> tuple[WatchState, list[Alert]]:
    """Look once: hold the rules against the store, tell the sinks, keep the state.

    Parameters
    ----------
    store : MonitorStore
    grids : mapping of str to Grid
        Cells by their digest.
    options : MonitorFile
    now : float, optional
        Seconds since 1970.

    Returns
    -------
    WatchState and list of Alert
        As written to the store; and what began to fire, or was resolved, at this look.
    """
    moment = time.time() if now is None else now
    before = read_state(store)
    spans = {rule.name: seconds_of(rule.window) for rule in options.rules}
    measured = {
        seconds: measure_last(store, grids, seconds, moment, false_alarms=options.false_alarms)
        for seconds in sorted(set(spans.values()))
    }
    found = {name: measured[seconds] for name, seconds in spans.items()}
    alerts, changed = advance(before.alerts, options.rules, found, moment)
    state = replace(before, alerts=tuple(alerts), untold=tuple(_tell(options, before, alerts, changed)))
    write_state(store, state)
    return state, changed


def timeline(
    store: MonitorStore,
    grids: Mapping[str, Grid],
    start: float,
    end: float,
    span: int,
    *,
    false_alarms: float,
) -> list[Measures]:
    """Measure each span between two moments, for each version and arm, in order of time.

    Parameters
    ----------
    start, end : float
        Seconds since 1970.
    span : int
        Seconds, a multiple of 60.
    """
    windows = merge_by(store.read(start, end, span=MINUTE), span)
    return [measure(window, grids, false_alarms=false_alarms) for window in windows]


def _tell(
    options: MonitorFile, before: WatchState, alerts: Sequence[Alert], changed: Sequence[Alert]
) -> list[tuple[int, Alert]]:
    """Tell each sink; return what could not be told."""
    untold = []
    for place, sink in enumerate(options.sinks):
        waiting = [alert for held, alert in before.untold if held == place]
        firing = (
            [alert for alert in alerts if alert.phase == "firing"]
            if isinstance(sink, AlertmanagerSink)
            else []
        )
        fresh = {alert.key: alert for alert in (*waiting, *firing, *changed)}
        try:
            send(sink, list(fresh.values()))
        except HeadraceError as error:
            _LOG.warning("%s", error)
            untold += [(place, alert) for alert in fresh.values()]
    return untold
