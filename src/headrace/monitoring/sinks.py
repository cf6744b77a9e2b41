"""Where alerts go: a log, a webhook, Alertmanager."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import RunError
from headrace.monitoring.options import AlertmanagerSink, LogSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.monitoring.alerts import Alert
    from headrace.monitoring.options import Sink


def send(sink: Sink, alerts: Sequence[Alert]) -> None:
    """Tell one sink of alerts that began to fire or were resolved.

    Alertmanager is told of all that fire at each look, for it forgets what it does not hear of.

    Raises
    ------
    RunError
        When it cannot be told.
    """
    if not alerts:
        return
    if isinstance(sink, LogSink):
        for alert in alerts:
            line = {"at": _moment(alert.resolved or alert.fired or alert.since), "alert": alert.text()}
            sys.stderr.write(json.dumps({**line, **alert.to_dict()}, ensure_ascii=False) + "\n")
        sys.stderr.flush()
    elif isinstance(sink, AlertmanagerSink):
        _post(
            sink.url.rstrip("/") + "/api/v2/alerts",
            [_for_alertmanager(alert) for alert in alerts],
            sink.seconds,
        )
    else:
        _post(
            sink.url,
            {"alerts": [{**alert.to_dict(), "text": alert.text()} for alert in alerts]},
            sink.seconds,
        )


def _for_alertmanager(alert: Alert) -> dict[str, Any]:
    labels = {
        "alertname": alert.rule,
        "severity": alert.severity,
        "metric": alert.metric,
        "version": alert.version,
        "arm": alert.arm,
        "column": alert.column,
    }
    document: dict[str, Any] = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": alert.text()},
        "startsAt": _moment(alert.fired or alert.since),
    }
    if alert.phase == "resolved" and alert.resolved is not None:
        document["endsAt"] = _moment(alert.resolved)
    return document


def _post(url: str, document: Any, seconds: float) -> None:
    request = urllib.request.Request(  # noqa: S310 - the options allow http and https alone
        url, json.dumps(document).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - as above
            answer.read(1024)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise RunError(f"cannot be told of alerts ({reason})", where=url, mend="it is tried again") from error


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
