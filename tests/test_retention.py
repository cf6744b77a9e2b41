"""Retention: what is old goes, what is in use stays, and nothing goes without --yes."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Any

import yaml
from tests.packaging.conftest import fitted_once, write

from headrace.cli import run
from headrace.data.storage import write_json
from headrace.monitoring.store import MonitorStore
from headrace.packaging.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_is_old_goes_and_what_is_used_stays(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = in_tmp / "package"
    write(package, fitted_once("sgd-classifier"))
    registry = Registry("registry")
    for _ in range(4):
        registry.publish("late", package)
    registry.set_alias("late", "champion", 2)
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(days=40)).isoformat()
    records: dict[str, dict[str, Any]] = {
        "champion": {"ended": old, "model": "late@2", "registry": "registry"},
        "old": {"ended": old, "model": "late@1", "registry": "registry"},
        "failed": {"ended": old},
        "running": {"status": "running"},
        "no zone": {"ended": old.partition("+")[0]},
        "new": {"ended": dt.datetime.now(dt.UTC).isoformat(), "model": "late@1", "registry": "registry"},
    }
    for name, record in records.items():
        write_json(f"runs/{name}/run.json", record)
    (in_tmp / "runs" / "notes").mkdir()
    store = MonitorStore("monitor", "late")
    for days in (1, 40):
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - days * 86_400))
        write_json(f"monitor/late/days/{day}/rolled.json.z", {})
    policy = {
        "runs": {"url": "runs", "days": 30},
        "monitor": {"url": "monitor", "days": 30},
        "registry": {"url": "registry", "keep": 1},
    }
    (in_tmp / "policy.yaml").write_text(yaml.safe_dump(policy))
    assert run(["retain", "policy.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["removed"] is False
    assert set(found["runs"]) == {"runs/failed", "runs/old"}
    assert found["versions"] == ["late@1", "late@3"]
    assert registry.versions("late") == [1, 2, 3, 4]
    (in_tmp / "long.yaml").write_text("runs: {url: runs, days: .inf}")
    assert run(["retain", "long.yaml"]) == 0
    assert capsys.readouterr().out.startswith("runs: nothing")
    assert run(["retain", "policy.yaml", "--yes", "--json"]) == 0
    removed = json.loads(capsys.readouterr().out)
    assert removed["versions"] == found["versions"]
    assert removed["monitor"] == {"late": 1}
    assert registry.versions("late") == [2, 4]
    assert sorted(path.name for path in (in_tmp / "runs").iterdir()) == [
        "champion",
        "new",
        "no zone",
        "notes",
        "running",
    ]
    assert store.remove_before(time.time() - 30 * 86_400) == 0
    assert run(["retain", "policy.yaml", "--yes"]) == 0
    assert "runs: nothing" in capsys.readouterr().out
    (in_tmp / "policy.yaml").write_text("{}")
    assert run(["retain", "policy.yaml"]) == 2
