from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.cli.runs import ending
from headrace.workflow import parse_workflow

WORKFLOW = """
problem: {name: bought, task: classification, target: bought, success: [{metric: roc_auc, at_least: 0.7}]}
data: {url: data, drop: [user, when]}
train: {epochs: 2, patience: 1}
evaluate: {bootstrap: 50}
"""
CLUSTER = "workers: 2\nmemory: 512MiB\nprocesses: false\n"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(inside: Run) -> Run:
    """Run commands beside the data, a workflow w.yaml and a cluster file c.yaml."""
    Path("w.yaml").write_text(WORKFLOW)
    Path("c.yaml").write_text(CLUSTER)
    return inside


def test_plan_says_passes_chunks_rows_bytes_and_memory_and_writes_nothing(place: Run):
    before = sorted(Path().rglob("*"))
    code, out, err = place("plan", "w.yaml", "--cluster", "c.yaml", "--json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert [item["name"] for item in plan["passes"]] == ["profile", "epoch 1", "epoch 2", "test"]
    assert all(item["rows"] == plan["rows"] == 3000 for item in plan["passes"])
    assert plan["memory_projected"] <= plan["memory_budget"]
    _, told, _ = place("plan", "w.yaml", "--cluster", "c.yaml")
    assert "epoch 2" in told
    assert "projected" in told
    assert sorted(Path().rglob("*")) == before


def test_run_ends_with_a_verdict_a_model_and_a_report_and_the_registry_shows_it(shell: Any, place: Run):
    done = shell("run", "w.yaml", "--cluster", "c.yaml", "--run", "r")
    assert done.code == 0, done.err
    assert "verdict    passed" in done.out
    assert "baseline 0.5" in done.out
    assert "bought@1 in registry" in done.out
    assert "report     r/report.html" in done.out
    assert "train" in done.err
    assert "Warning" not in done.err
    record = json.loads(Path("r/run.json").read_text())
    assert record["status"] == "passed"
    assert Path("r/report.html").exists()

    rows = json.loads(place("models", "list", "--json")[1])["models"]
    assert [(row["name"], row["version"], row["model_sha256"]) for row in rows] == [
        ("bought", 1, record["model_sha256"])
    ]
    assert "bought" in place("models", "list")[1]
    manifest = json.loads(place("models", "show", "bought", "--json")[1])
    assert manifest["model_sha256"] == record["model_sha256"]
    assert "bought" in place("models", "show", "r/model")[1]
    assert place("models", "show", "nothing")[0] == 2


def test_a_missed_goal_is_exit_1_with_a_model_that_is_no_champion(place: Run):
    Path("w.yaml").write_text(WORKFLOW.replace("0.7", "0.999"))
    code, out, err = place("run", "w.yaml", "--cluster", "c.yaml", "--run", "r", "--seed", "7", "--json")
    assert code == 1, err
    document = json.loads(out)
    assert document["passed"] is False
    assert document["seed"] == 7
    assert json.loads(place("models", "list", "--json")[1])["models"][0]["alias"] == ""


def test_a_failed_check_stops_the_run_with_exit_1(place: Run):
    Path("w.yaml").write_text(WORKFLOW + "checks: {expect: {x: {minimum: 0}}}\n")
    code, _, err = place("run", "w.yaml", "--cluster", "c.yaml", "--run", "r")
    assert code == 1
    assert "headrace: data: 1 failed" in err
    assert json.loads(Path("r/run.json").read_text())["status"] == "failed"
    assert not Path("registry").exists()


def test_a_workflow_that_init_wrote_runs(place: Run):
    assert place("init", "data", "--target", "bought", "-o", "made.yaml")[0] == 0
    code, _, err = place("run", "made.yaml", "--cluster", "c.yaml", "--run", "r")
    assert code == 0, err


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("w.yaml", WORKFLOW.replace("train:", "trian:"), "trian: unknown key; did you mean train?"),
        ("w.yaml", WORKFLOW.replace("target: bought", "target: bougth"), "did you mean 'bought'?"),
        ("w.yaml", WORKFLOW.replace("url: data", "url: nowhere"), "nowhere"),
        ("c.yaml", "memory: much\n", "c.yaml line 1: memory: should be a size"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_wrong_input_is_one_line_and_nothing_is_written(
    place: Run, command: str, name: str, text: str, line: str
):
    Path(name).write_text(text)
    before = sorted(Path().rglob("*"))
    code, out, err = place(command, "w.yaml", "--cluster", "c.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("headrace: ")
    assert line in err
    assert err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_an_empty_registry_is_no_error(place: Run):
    code, out, err = place("models", "list")
    assert (code, err) == (0, "")
    assert "no models" in out
    assert json.loads(place("models", "list", "--json")[1]) == {"registry": "registry", "models": []}


def test_the_ending_tells_verdict_figures_and_places():
    document = {
        "best": {
            "candidate": "logistic",
            "estimator": "sklearn.linear_model.SGDClassifier",
            "epoch": 3,
            "metric": "log_loss",
            "metrics": {
                "roc_auc": {"value": 0.7213, "low": 0.71, "high": 0.73},
                "log_loss": {"value": 0.5, "low": None, "high": None},
            },
        },
        "success": [{"metric": "roc_auc", "at_least": 0.75, "value": 0.7213, "met": False}],
        "model": "late@2",
        "registry": "registry",
        "model_sha256": "0123456789abcdef0123",
        "rows": 1000,
        "data_passes": {"planned": 7, "done": 5},
        "bytes_read": 2048,
        "seconds": {"profile": 1.0, "train": 2.0},
        "peak_rss_bytes": {"workers": {"a": 300 << 20, "b": 310 << 20}},
    }
    assert ending(document, "runs/late", {"roc_auc": {"value": 0.5}}, passed=False) == [
        "",
        "verdict    MISSED ITS GOAL",
        "           roc_auc 0.7213, wanted at least 0.75: missed",
        "best       logistic (sklearn.linear_model.SGDClassifier), epoch 3",
        "           roc_auc 0.7213 (95 % 0.7100 to 0.7300), baseline 0.5000",
        "           log_loss 0.5000",
        "model      late@2 in registry, sha256 0123456789abcdef",
        "read       1,000 rows in 5 passes of at most 7, 2.0 KiB, 3.0 s, at most 310.0 MiB a worker",
        "run        runs/late",
        "report     runs/late/report.html",
    ]


def test_the_workflow_of_these_tests_is_valid():
    assert parse_workflow(WORKFLOW).problem.name == "bought"
