"""Alerts fire after their time and once, survive a restart, and reach real receivers; a model is trained again when due."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.monitoring.conftest import NOON, Served

from headrace.accumulators.metrics import Estimate
from headrace.cli import run as command
from headrace.errors import StorageError, WorkflowError
from headrace.monitoring.alerts import Alert, advance
from headrace.monitoring.measures import Measures
from headrace.monitoring.options import AlertRule, MonitorFile, RetrainOptions
from headrace.monitoring.performance import Traffic
from headrace.monitoring.retrain import reasons_to_retrain
from headrace.monitoring.watching import STATE, WatchState, look, read_state
from headrace.monitoring.windows import Window
from headrace.optionfile import parse_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from headrace.monitoring.grids import Grid

RULE = AlertRule.model_validate({"name": "fails", "metric": "error_rate", "above": 0.1, "for": "2m"})


def failing(share: float, rows: int = 1000) -> list[Measures]:
    failed = round(share * rows)
    traffic = Traffic(requests=rows - failed, failures={"500": failed})
    return [Measures(Window("late", "", NOON, NOON + 60, traffic=traffic))]


def run(shares: list[float | None], every: float = 60.0) -> tuple[list[Alert], list[list[Alert]]]:
    alerts: list[Alert] = []
    told = []
    for place, share in enumerate(shares):
        found = {} if share is None else {"fails": failing(share)}
        alerts, changed = advance(alerts, [RULE], found, NOON + every * place)
        # what is written and read back goes on as if nothing had been
        alerts = [Alert.from_dict(json.loads(json.dumps(alert.to_dict()))) for alert in alerts]
        told.append(changed)
    return alerts, told


def test_an_alert_fires_after_its_time_and_once() -> None:
    alerts, told = run([0.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0])
    assert [[alert.phase for alert in each] for each in told] == [
        [],
        [],
        [],
        ["firing"],
        [],
        ["resolved"],
        [],
    ]
    assert alerts[0].phase == "resolved"


def test_a_condition_that_ends_in_time_is_nothing() -> None:
    assert run([0.5, 0.5, 0.0, 0.5, 0.5, 0.0])[1] == [[]] * 6


def test_an_alert_without_figures_is_resolved_after_its_window() -> None:
    _, told = run([0.5, 0.5, 0.5, *[None] * 70])
    assert told[2][0].phase == "firing"
    assert [each[0].phase for each in told[3:] if each] == ["resolved"]


@given(st.lists(st.sampled_from([0.0, 0.5, None]), max_size=30))
def test_firing_and_resolved_take_turns(shares: list[float | None]) -> None:
    phases = [alert.phase for each in run(shares)[1] for alert in each]
    assert phases == (["firing", "resolved"] * len(phases))[: len(phases)]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))  # type: ignore[attr-defined] # set by the fixture
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []  # type: ignore[attr-defined] # read by the handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", server.got  # type: ignore[attr-defined] # as above
    server.shutdown()
    thread.join()
    server.server_close()


def watched(url: str) -> MonitorFile:
    text = f"""
rules:
  - {{name: inputs moved, metric: drift, above: 1, window: 10m, for: 1m, severity: critical}}
  - {{name: slow, metric: latency_p99, above: 1.0}}
sinks:
  - {{kind: webhook, url: "{url}/hook"}}
  - {{kind: alertmanager, url: "{url}"}}
  - {{kind: log}}
"""
    return parse_options(text, MonitorFile, name="rules.yaml")


def test_drift_reaches_the_sinks_with_the_right_column(
    served: Served,
    grid: Grid,
    receiver: tuple[str, list[tuple[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, got = receiver
    options, grids, store = watched(url), {grid.digest: grid}, served.recorder.store
    for minute in range(10):
        served.predict(NOON + 60 * minute, 100)
        served.take()
    look(store, grids, options, now=NOON + 600)
    assert got == []
    for minute in range(10, 20):
        served.predict(NOON + 60 * minute, 100, shift=4, city="<script>alert(1)</script>")
        served.take()
        look(store, grids, options, now=NOON + 60 * (minute + 1))
    fired = {alert["column"] for path, body in got if path == "/hook" for alert in body["alerts"]}
    assert fired == {"size", "city"}
    assert sum(len(body["alerts"]) for path, body in got if path == "/hook") == 2
    repeated = [body for path, body in got if path == "/api/v2/alerts"]
    assert len(repeated) > 2  # Alertmanager is told at each look
    assert repeated[0][0]["labels"]["alertname"] == "inputs moved"
    assert '"phase": "firing"' in capsys.readouterr().err
    assert {alert.phase for alert in read_state(store).alerts} == {"firing"}


def test_a_sink_that_is_away_is_told_later(
    served: Served, grid: Grid, receiver: tuple[str, list[tuple[str, Any]]]
) -> None:
    url, got = receiver
    grids, store = {grid.digest: grid}, served.recorder.store
    served.predict(NOON, 500, shift=6)
    served.take()
    for minute in range(1, 4):
        look(store, grids, watched("http://127.0.0.1:1"), now=NOON + 60 * minute)
    assert len(read_state(store).untold) == 2
    look(store, grids, watched(url), now=NOON + 240)
    assert [body["alerts"][0]["column"] for path, body in got if path == "/hook"] == ["size"]
    assert read_state(store).untold == ()


def test_a_damaged_state_says_what_to_do(served: Served, grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "monitor" / "late").mkdir(parents=True)
    (tmp_path / "monitor" / "late" / STATE).write_text('{"alerts": 3}')
    with pytest.raises(StorageError, match="delete the file"):
        look(served.recorder.store, {grid.digest: grid}, MonitorFile(), now=NOON)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{name: a, metric: psj, above: 1}", "'psj' is no metric"),
        ("{name: a, metric: psi, above: 1, for: 5 weeks}", "no span of time"),
        ("{name: a, metric: psi}", "needs one of above and below"),
        ("{name: a, metric: error_rate, above: 1, column: x}", "column is for"),
    ],
)
def test_a_wrong_rule_is_one_line(line: str, said: str) -> None:
    with pytest.raises(WorkflowError, match=said) as raised:
        parse_options(f"rules:\n  - {line}\n", MonitorFile, name="rules.yaml")
    assert "rules.yaml line" in str(raised.value)


def due(options: dict[str, Any], measures: Measures, **known: Any) -> list[str]:
    facts = {
        "created": "2025-10-01T00:00:00+00:00", "trained_rows": 1000, "rows_now": None, "last": None, "now": float(NOON),
    }  # fmt: skip
    held = RetrainOptions.model_validate({"workflow": "w.yaml", **options})
    return reasons_to_retrain(held, [measures], **{**facts, **known})


def test_a_model_is_due_for_each_reason_and_not_again_at_once() -> None:
    bad = Measures(Window("late@1", "champion", 0, 60), metrics={"roc_auc": Estimate(0.6, 0.58, 0.62)})
    assert due({"metric": "roc_auc", "below": 0.65}, bad) == ["roc_auc is 0.6, below 0.65"]
    assert due({"metric": "roc_auc", "below": 0.61}, bad) == []  # it is not certain
    assert due({"older_than": "7d"}, bad) == ["it is 8.4 days old"]
    assert due({"older_than": "9d"}, bad) == []
    assert due({"new_rows": 500}, bad, rows_now=1600) == ["there are 600 new rows"]
    assert due({"new_rows": 500}, bad, rows_now=1600, last=NOON - 60.0) == []


def test_a_watch_goes_on_when_a_look_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    trained = {"reasons": ["it is old"], "model": "late@2"}
    looks = iter([StorageError("is away", where="s3://monitor"), (WatchState(), [], trained)])

    def once(*_: Any) -> Any:
        found = next(looks, None)
        if found is None:
            raise KeyboardInterrupt
        if isinstance(found, StorageError):
            raise found
        return found

    monkeypatch.setattr("headrace.cli.monitor._look", once)
    assert command(["monitor", "watch", "late", "--store", str(tmp_path), "--every", "0"]) == 130
    assert capsys.readouterr().out.splitlines() == [
        "s3://monitor: is away; the watch goes on",
        "trained again: it is old; challenger is late@2",
    ]
    looks = iter([StorageError("is away")])
    assert command(["monitor", "watch", "late", "--store", str(tmp_path), "--once"]) == 1
