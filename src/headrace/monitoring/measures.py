"""The figures of a window that rules are about, and that pages show (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.monitoring.drift import FALSE_ALARMS, ColumnDrift, find_drift
from headrace.monitoring.options import COLUMN_METRICS, LABEL_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.accumulators.metrics import Estimate
    from headrace.monitoring.grids import Grid
    from headrace.monitoring.windows import Window


@dataclass(frozen=True)
class Measures:
    """What a window says.

    Attributes
    ----------
    window : Window
    inputs, scores : dict of str to ColumnDrift
        Empty of a window whose cells are not known any more.
    metrics : dict of str to Estimate
        From labels, with 95 % intervals.
    """

    window: Window
    inputs: dict[str, ColumnDrift] = field(default_factory=dict)
    scores: dict[str, ColumnDrift] = field(default_factory=dict)
    metrics: dict[str, Estimate] = field(default_factory=dict)

    @property
    def drifted(self) -> list[str]:
        """Inputs that have moved by as much as matters, the most first."""
        moved = [each for each in self.inputs.values() if each.state in {"little", "much"}]
        return [each.column for each in sorted(moved, key=lambda each: (-each.size, each.column))]

    def of(self, metric: str, *, least_rows: int = 1) -> Iterator[tuple[str, float]]:
        """Give the values of a metric, each with its column ("" of what has none).

        Parameters
        ----------
        metric : str
            One of `headrace.monitoring.options.METRICS`.
        least_rows : int
            Rows, or labels, below which there is no value.
        """
        if metric in COLUMN_METRICS:
            for name, drift in self.inputs.items():
                value = getattr(drift, "size" if metric == "drift" else metric)
                if value is not None and drift.rows >= least_rows:
                    yield name, float(value)
        elif metric == "score_drift":
            for name, drift in self.scores.items():
                if drift.state and drift.rows >= least_rows:
                    yield name, drift.size
        elif metric in LABEL_METRICS:
            estimate = self.metrics.get(metric)
            if estimate is not None and self.window.outcomes.rows >= least_rows:
                yield "", math.nan if estimate.value is None else estimate.value
        else:
            yield from self._of_whole(metric, least_rows)

    def _of_whole(self, metric: str, least_rows: int) -> Iterator[tuple[str, float]]:
        traffic = self.window.traffic
        if metric == "drifted_columns" and self.inputs and self.window.rows >= least_rows:
            yield "", float(len(self.drifted))
        if metric in {"latency_p50", "latency_p99"}:
            value = traffic.latency(float(metric[-2:]) / 100)
            if not math.isnan(value) and traffic.requests >= least_rows:
                yield "", value
        elif metric == "error_rate":
            if not self.window.arm and traffic.requests + traffic.errors >= least_rows:
                yield "", traffic.error_rate
        elif metric == "requests_per_second":
            yield "", traffic.requests / max(1, self.window.end - self.window.start)
        elif metric == "unmatched_labels":
            yield "", float(traffic.unmatched)

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        window, traffic = self.window, self.window.traffic
        return {
            "version": window.version,
            "arm": window.arm,
            "start": window.start,
            "end": window.end,
            "rows": window.rows,
            "labels": window.outcomes.rows,
            "drifted": self.drifted,
            "inputs": [each.to_dict() for each in self.inputs.values()],
            "scores": [each.to_dict() for each in self.scores.values()],
            "metrics": {name: each.to_dict() for name, each in self.metrics.items()},
            "traffic": {
                "requests": traffic.requests,
                "per_second": traffic.requests / max(1, window.end - window.start),
                "failures": traffic.failures,
                "error_rate": traffic.error_rate,
                "seconds_p50": _finite(traffic.latency(0.5)),
                "seconds_p99": _finite(traffic.latency(0.99)),
                "findings": traffic.findings,
                "unmatched_labels": traffic.unmatched,
                "dropped_events": traffic.dropped,
            },
        }


def measure(
    window: Window,
    grids: Mapping[str, Grid],
    *,
    false_alarms: float = FALSE_ALARMS,
    errors: Mapping[str, float] | None = None,
) -> Measures:
    """Measure a window.

    Parameters
    ----------
    window : Window
    grids : mapping of str to Grid
        Cells by their digest; a window that was counted in others has no drift.
    false_alarms : float
        See `headrace.monitoring.drift.find_drift`.
    errors : mapping of str to float, optional
        See there.
    """
    grid = grids.get(window.grid)
    metrics = window.outcomes.metrics()
    if grid is None:
        return Measures(window, metrics=metrics)
    return Measures(
        window,
        find_drift(grid.inputs, window.inputs, false_alarms=false_alarms, errors=errors),
        find_drift(grid.scores, window.scores, false_alarms=false_alarms),
        metrics,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
