"""Arrays of jobs: parameters read and refused, and jobs led one after the other by one real process."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster.conftest import write_workflow
from tests.cluster.test_jobs import kill, until

from headrace.cli import run as headrace
from headrace.cluster import arrays, jobs
from headrace.cluster.config import ClusterFile
from headrace.data.storage import read_json
from headrace.errors import InputError
from headrace.optionfile import parse_document
from headrace.runs import Workflow
from headrace.workflow import parse_workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = "500"
"""Seconds that a test waits for a job, on a machine that may have much else to do."""


@pytest.fixture
def place(in_tmp: Path) -> Iterator[Path]:
    write_workflow()
    Path("cluster.yaml").write_text("kind: laptop\nworkers: 1\nmemory: 512MiB\nprocesses: false\n")
    yield in_tmp
    for job in jobs.list_jobs("runs"):
        kill(job)


def submit(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    asked = ["submit", "workflow.yaml", "--cluster", "cluster.yaml", "--each", "each.yaml", "--json"]
    assert headrace([*asked, *words]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_jobs_of_an_array_run_one_after_the_other_and_are_told_together(
    place: Path, capsys: pytest.CaptureFixture[str]
):
    Path("each.yaml").write_text("seed: [1, 2]\nmodels.logistic.params.alpha: [1e-3]\n")
    array = submit(capsys)
    name = array["id"]
    ids = [f"{name}_1", f"{name}_2"]
    assert [job["id"] for job in array["jobs"]] == ids
    assert submit(capsys) == array
    assert headrace(["jobs", "logs", name]) == 2
    assert f"is an array of 2 jobs; name one, such as {name}_1" in capsys.readouterr().err
    assert headrace(["jobs", "wait", name, "--timeout", "90"]) == 0
    assert capsys.readouterr().out == f"{ids[0]} passed\n{ids[1]} passed\n"
    runs = [read_json(f"runs/{each}/run.json") for each in ids]
    assert [run["seed"] for run in runs] == [1, 2]
    assert len({run["model_sha256"] for run in runs}) == 2
    (process,) = {job.place["what"] for job in jobs.find_jobs(name, "runs")}
    assert process.startswith("process ")
    assert headrace(["jobs", "list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [name, "2", "jobs:", "2", "passed"]
    assert [line.split()[0] for line in lines] == ids
    assert "seed=2, models.logistic.params.alpha=0.001" in lines[1]
    assert headrace(["jobs", "status", name]) == 0
    assert capsys.readouterr().out.splitlines() == [head, *lines]
    assert headrace(["jobs", "status", ids[1]]) == 0
    assert "varied     seed=2, models.logistic" in capsys.readouterr().out
    assert headrace(["jobs", "resume", name]) == 2
    assert "is 2 passed; there is nothing to resume" in capsys.readouterr().err


@pytest.mark.slow
def test_an_array_is_cancelled_resumed_and_submitted_again(place: Path, capsys: pytest.CaptureFixture[str]):
    write_workflow(epochs=400)
    Path("each.yaml").write_text("- {}\n- {seed: 3}\n")
    name = submit(capsys, "--run", "runs/mine")["id"]
    first, second = jobs.find_jobs("runs/mine", "")
    assert first.id == f"{name}_1"
    assert second.url.endswith("runs/mine_2")
    assert jobs.status(second)[0] == "waiting"
    assert headrace(["jobs", "cancel", "mine"]) == 0
    until(second, "cancelled")
    assert headrace(["jobs", "wait", "mine"]) == 1
    assert capsys.readouterr().out.count("cancelled") == 2
    assert headrace(["jobs", "cancel", "mine"]) == 2
    assert "is not running, it is 2 cancelled" in capsys.readouterr().err
    assert headrace(["jobs", "resume", "mine"]) == 0
    # killed now, those that were to follow are lost with it, and can be resumed
    kill(jobs.read_job(second.url))
    assert headrace(["jobs", "wait", "mine"]) == 1
    assert capsys.readouterr().out.count(" lost\n") == 2
    other = submit(capsys)
    assert other["id"] == name
    kill(jobs.read_job(other["jobs"][0]["run"]))
    again = submit(capsys, "--again")
    assert again["jobs"][1]["id"] == f"{name}-2_2"


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_an_array_over_ssh_is_led_by_one_process_there_with_which_those_that_wait_are_lost(
    place: Path, capsys: pytest.CaptureFixture[str], ssh_server: dict[str, Any]
):
    Path("cluster.yaml").write_text(yaml.safe_dump(ssh_server))
    write_workflow(epochs=100)
    Path("each.yaml").write_text("seed: [1, 2]\n")
    array = submit(capsys)
    name = array["id"]
    first, second = jobs.find_jobs(name, "runs")
    assert first.place == second.place
    while (beat := until(first, "running", "waiting")) is None or beat.stage != "train":
        time.sleep(0.2)
    os.kill(beat.pid, signal.SIGTERM)
    assert headrace(["jobs", "wait", name, "--timeout", WAIT]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"{first.id} stopped", f"{second.id} lost"]
    assert told[2].endswith(f"headrace jobs resume {name}")
    assert headrace(["jobs", "resume", name]) == 0
    assert capsys.readouterr().out.count(" resumed, ") == 2
    assert headrace(["jobs", "wait", name, "--timeout", WAIT]) == 0
    for seed, job in enumerate((first, second), 1):
        alone = Workflow.load("workflow.yaml").with_seed(seed).run(ClusterFile(workers=1, processes=False))
        assert read_json(f"{job.url}/run.json")["model_sha256"] == alone.run["model_sha256"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {seed: 1}\n- {train.epoch: 2}", "each.yaml entry 2, w.yaml line 2: train.epoch: unknown key; did you mean epochs?"),
        ("- {train.epochs: none}", "each.yaml entry 1, w.yaml line 2: train.epochs: "),
        ("seed: 1", "each.yaml: seed: should be a list of values, not 1"),
        ("seed.low: [1]", "each.yaml entry 1: seed.low: has no keys below 0; give a key above it"),
        ("models.tree.params.alpha: [1]", "no entry named 'tree' there; use one of linear"),
        ("models.linear.params.alhpa: [1]", "entry 1, w.yaml: models[0].params: sklearn.linear_model.SGDClassifier has no parameter"),
        ("[seed]", "each.yaml entry 1: should be keys of the workflow with their values, not 'seed'"),
        ("- {seed: 1}\n- {}\n- {seed: 1}", "each.yaml entry 3: asks for the same as entry 1; remove one"),
        ("", "each.yaml: holds no parameters"),
        ("{seed: [1, 2], train.epochs: &many " + str(list(range(1, 502))) + "}", "makes 1,002 jobs, more than 1,000"),
    ],
)  # fmt: skip
def test_parameters_that_are_wrong_are_refused_in_one_line(in_tmp: Path, text: str, told: str):
    Path("each.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        arrays.read_members("each.yaml", WORKFLOW, name="w.yaml")
    assert told in str(caught.value)


WORKFLOW = """seed: 0
train: &shared {epochs: 2}
problem: {name: toy, task: classification, target: y}
data: {url: "1e5", drop: ["no", off]}
models: [{name: linear, estimator: sklearn.linear_model.SGDClassifier}]
"""


def test_a_changed_workflow_is_otherwise_the_same(in_tmp: Path):
    Path("each.yaml").write_text("train.epochs: [3, 4]\nevaluate.slices: [[color], []]\n")
    members = arrays.read_members("each.yaml", WORKFLOW, name="w.yaml")
    read = [parse_workflow(each.workflow) for each in members]
    assert [(each.train.epochs, tuple(each.evaluate.slices)) for each in read] == [
        (3, ("color",)), (3, ()), (4, ("color",)), (4, ()),
    ]  # fmt: skip
    before = parse_document(WORKFLOW, "w.yaml")
    after = parse_document(members[0].workflow, "w.yaml")
    assert {key: after[key] for key in before if key != "train"} == {
        key: value for key, value in before.items() if key != "train"
    }
    assert members[1].parameters == {"train.epochs": 3, "evaluate.slices": []}


def test_a_key_is_changed_and_not_what_shares_its_value(in_tmp: Path):
    Path("each.yaml").write_text("- {models.linear.params.alpha: 0.5}\n")
    text = (
        WORKFLOW.replace("models: [", "models: [{name: other, params: &p {eta0: 0.1}, ")
        .replace(
            "SGDClassifier}",
            "SGDClassifier}, {name: linear, params: *p, estimator: sklearn.linear_model.SGDClassifier}",
        )
        .replace("{name: linear, estimator", "estimator", 1)
    )
    (one,) = arrays.read_members("each.yaml", text, name="w.yaml")
    other, linear = parse_workflow(one.workflow).models
    assert (other.params, linear.params) == ({"eta0": 0.1}, {"eta0": 0.1, "alpha": 0.5})
