"""Options of the file that says what to watch: rules, sinks, and when to train again."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from headrace.monitoring.drift import FALSE_ALARMS
from headrace.options import Options

Severity = Literal["info", "warning", "critical"]
COLUMN_METRICS = ("drift", "psi", "js", "ks", "wasserstein", "missing", "outside", "unseen")
"""Measured for each input."""
WINDOW_METRICS = (
    "drifted_columns",
    "score_drift",
    "latency_p50",
    "latency_p99",
    "error_rate",
    "requests_per_second",
    "unmatched_labels",
)
"""Measured of a window."""
LABEL_METRICS = ("roc_auc", "accuracy", "log_loss", "brier", "rmse", "mae", "bias")
"""Measured from labels."""
METRICS = (*COLUMN_METRICS, *WINDOW_METRICS, *LABEL_METRICS)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d)")
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_of(span: str) -> float:
    """Read a span of time.

    Examples
    --------
    >>> seconds_of("90s"), seconds_of("10m"), seconds_of("1.5h")
    (90.0, 600.0, 5400.0)
    """
    found = _SPAN.fullmatch(span.strip())
    if found is None:
        raise ValueError(f"{span!r} is no span of time; write 30s, 10m, 6h or 7d")
    return float(found.group(1)) * _UNITS[found.group(2)]


def _span(value: str) -> str:
    seconds_of(value)
    return value


def _metric(value: str) -> str:
    if value not in METRICS:
        raise ValueError(f"{value!r} is no metric; there are {', '.join(METRICS)}")
    return value


Span = Annotated[str, AfterValidator(_span)]
Metric = Annotated[str, AfterValidator(_metric)]


class AlertRule(Options):
    """When somebody should be told."""

    name: str = Field(min_length=1, max_length=100, description="What the alert is called")
    metric: Metric = Field(description=f"One of {', '.join(METRICS)}")
    above: float | None = Field(default=None, description="It fires above this")
    below: float | None = Field(default=None, description="It fires below this")
    column: str | None = Field(default=None, description="One input; left out: each one by itself")
    arm: str | None = Field(default=None, description="One arm; left out: each one by itself")
    window: Span = Field(default="1h", description="How far back rows are counted together")
    for_: Span = Field(default="0s", alias="for", description="How long it must hold before it fires")
    severity: Severity = Field(default="warning", description="info, warning or critical")
    least_rows: int = Field(default=50, ge=1, description="Rows (or labels) below which nothing is said")

    @model_validator(mode="after")
    def _one_limit(self) -> AlertRule:
        if (self.above is None) == (self.below is None):
            raise ValueError("needs one of above and below")
        if self.column is not None and self.metric not in COLUMN_METRICS:
            raise ValueError(f"column is for {', '.join(COLUMN_METRICS)}; remove it")
        return self


class LogSink(Options):
    """A line of JSON on standard error."""

    kind: Literal["log"]


class WebhookSink(Options):
    """A POST of JSON to an address."""

    kind: Literal["webhook"]
    url: str = Field(pattern="^https?://", description="Where to")
    seconds: float = Field(default=10.0, gt=0, description="How long it may take")


class AlertmanagerSink(Options):
    """Alerts for Prometheus' Alertmanager, by its API v2."""

    kind: Literal["alertmanager"]
    url: str = Field(pattern="^https?://", description="Its address, such as http://localhost:9093")
    seconds: float = Field(default=10.0, gt=0, description="How long it may take")


Sink = Annotated[LogSink | WebhookSink | AlertmanagerSink, Field(discriminator="kind")]


class RetrainOptions(Options):
    """When a model is trained again."""

    workflow: str = Field(description="The workflow file that is run")
    drifted_columns: int | None = Field(default=None, ge=1, description="So many inputs have moved")
    older_than: Span | None = Field(default=None, description="The model was made so long ago")
    metric: Metric | None = Field(default=None, description="A metric from labels")
    above: float | None = Field(default=None, description="It is above this, with 95 % certainty")
    below: float | None = Field(default=None, description="It is below this, with 95 % certainty")
    new_rows: int | None = Field(default=None, ge=1, description="So many rows more than it was trained on")
    window: Span = Field(default="1d", description="How far back drift and labels are counted")
    data_window: Span | None = Field(
        default=None, description="The newest rows by data.time that are trained on; left out: all"
    )
    at_most_every: Span = Field(default="1d", description="No sooner after the last time")

    @model_validator(mode="after")
    def _some_reason(self) -> RetrainOptions:
        if self.metric is not None and (self.above is None) == (self.below is None):
            raise ValueError("metric needs one of above and below")
        if self.metric is not None and self.metric not in LABEL_METRICS:
            raise ValueError(f"metric is one of {', '.join(LABEL_METRICS)}")
        if self.metric is None and (self.above is not None or self.below is not None):
            raise ValueError("above and below need a metric")
        reasons = (self.drifted_columns, self.older_than, self.metric, self.new_rows)
        if all(reason is None for reason in reasons):
            raise ValueError("names no reason; give drifted_columns, older_than, metric or new_rows")
        return self


DEFAULT_RULES = (
    AlertRule.model_validate(
        {"name": "inputs moved", "metric": "drift", "above": 1, "for": "5m", "severity": "critical"}
    ),
    AlertRule.model_validate({"name": "scores moved", "metric": "score_drift", "above": 1, "for": "5m"}),
    AlertRule.model_validate(
        {
            "name": "requests fail",
            "metric": "error_rate",
            "above": 0.01,
            "window": "10m",
            "severity": "critical",
        }
    ),
)


class MonitorFile(Options):
    """What to watch."""

    rules: tuple[AlertRule, ...] = Field(default=DEFAULT_RULES, description="When somebody should be told")
    sinks: tuple[Sink, ...] = Field(default=(LogSink(kind="log"),), description="Who is told")
    false_alarms: float = Field(
        default=FALSE_ALARMS,
        gt=0,
        lt=1,
        description="Probability that any input of a window is told to have moved when none has",
    )
    retrain: RetrainOptions | None = Field(default=None, description="When the model is trained again")

    @model_validator(mode="after")
    def _names_differ(self) -> MonitorFile:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules: the name {twice[0]!r} stands twice; rename one")
        return self
