from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from headrace.errors import WorkflowError
from headrace.workflow import load_workflow, parse_workflow, workflow_schema

OCTOBER = datetime.fromisoformat("2013-10-01")
SMALLEST = """
problem: {name: late, task: classification, target: late}
data: {url: data/flights}
"""
CONTRACT = """
problem: {name: late, objective: "...", statement: "...", task: classification, target: late,
  success: [{metric: roc_auc, at_least: 0.68}], data_needs: "...", risks: ["..."]}
data: {url: data/flights, time: time_hour, weight: null, drop: [flight], split: {kind: time, test_from: "2013-10-01", validation: 0.1}}
features: {function: "my_features:add"}
checks: {on_fail: stop, freshness: null, expect: {dep_hour: {minimum: 0, maximum: 23, max_missing: 0.0, values: [1, 2], type: int64, unique: false}}}
prepare: {numeric: {impute: mean, indicator: true, clip: {method: quantile, low: 0.001, high: 0.999}, scale: standard}, categorical: {encode: one_hot, max_categories: 300, min_frequency: 10}, datetime: {parts: [hour, weekday]}, columns: {tailnum: drop}}
models: [{name: logistic, estimator: sklearn.linear_model.SGDClassifier, params: {alpha: 1e-6}}]
train: {epochs: 5, patience: 2, class_weight: null}
evaluate: {slices: [carrier], bootstrap: 200}
publish: {registry: registry}
seed: 0
"""


def changed(**changes: Any) -> str:
    """Write the smallest workflow with keys such as ``data__split`` set."""
    document = yaml.safe_load(SMALLEST)
    for path, value in changes.items():
        *above, last = path.split("__")
        here = document
        for part in above:
            here = here.setdefault(part, {})
        here[last] = value
    return yaml.safe_dump(document)


def test_the_smallest_file_has_sound_defaults():
    workflow = parse_workflow(SMALLEST)
    assert workflow.data.split.kind == "random"
    assert (workflow.data.split.test, workflow.data.split.validation) == (0.2, 0.1)
    assert workflow.models == ()
    assert workflow.features is None
    assert workflow.checks.on_fail == "stop"
    assert workflow.seed == 0


def test_every_key_of_the_contract_is_known():
    workflow = parse_workflow(CONTRACT)
    assert workflow.data.split.kind == "time"
    assert workflow.data.split.test_from == OCTOBER
    assert workflow.models[0].params == {"alpha": 1e-6}
    assert workflow.features is not None
    assert workflow.features.function == "my_features:add"


@pytest.mark.parametrize("value", ["2013-10-01", "2013-10-01T00:00:00", OCTOBER, date(2013, 10, 1)])
def test_times_are_iso_quoted_or_not(value: Any):
    workflow = parse_workflow(changed(data__time="t", data__split={"kind": "time", "test_from": value}))
    assert workflow.data.split.kind == "time"
    assert workflow.data.split.test_from == OCTOBER


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data__splt": {}}, "data.splt: unknown key; did you mean split?"),
        ({"datta": {}}, "datta: unknown key; did you mean data?"),
        (
            {"problem__task": "clasification"},
            "problem.task: should be 'classification', 'regression' or 'clustering'",
        ),
        ({"problem__target": None}, "problem: classification needs a target; add problem.target"),
        ({"problem__task": "clustering"}, "problem: clustering has no target; remove problem.target"),
        ({"problem__name": "../evil"}, "problem.name:"),
        ({"problem__name": "Late"}, "problem.name:"),
        (
            {"problem__success": [{"metric": "auc", "at_least": 1}]},
            "no metric 'auc' for classification; use one of roc_auc",
        ),
        (
            {"problem__success": [{"metric": "roc_auc"}]},
            "problem.success[0]: the criterion on roc_auc needs at_least or at_most",
        ),
        (
            {"data__split": {"kind": "time", "test_from": "2013-10-01"}},
            "data: a time split needs the time column; add data.time",
        ),
        (
            {"data__split": {"kind": "time", "test_from": "soon"}},
            "data.split.test_from: should be an ISO date or time, not 'soon'",
        ),
        (
            {"data__split": {"kind": "time", "test_from": 20131001}},
            "data.split.test_from: should be an ISO date or time",
        ),
        (
            {"data__split": {"kind": "random", "test": 0.9, "validation": 0.1}},
            "data.split: test and validation leave no row",
        ),
        ({"data__split": {"kind": "random", "test": 20}}, "data.split.test: should be less than 1"),
        (
            {"data__split": {"kind": "k-fold"}},
            "data.split: unknown kind 'k-fold'; use one of 'random', 'time'",
        ),
        ({"data__drop": "late"}, "data.drop: should be a valid tuple, not 'late'"),
        ({"data__drop": ["late"]}, "data.drop holds the target 'late'; remove it there"),
        ({"data__weight": "late"}, "the target 'late' is also the time or weight column"),
        ({"data__url": ""}, "data.url:"),
        ({"features__function": "no_colon"}, "features.function:"),
        (
            {"checks__expect": {"x": {"minimum": 3, "maximum": 1}}},
            "checks.expect.x: minimum 3.0 is above maximum 1.0; swap them",
        ),
        (
            {"checks__expect": {"a b": {"max_mising": 0}}},
            "checks.expect.a b.max_mising: unknown key; did you mean max_missing?",
        ),
        ({"checks__on_fail": "explode"}, "checks.on_fail:"),
        ({"train__epochs": 0}, "train.epochs:"),
        ({"train__epoch": 3}, "train.epoch: unknown key; did you mean epochs?"),
        ({"seed": -1}, "seed:"),
        ({"seed": "x"}, "seed:"),
        (
            {"models": [{"name": "a", "estimator": "x"}, {"name": "a", "estimator": "y"}]},
            "models: the name 'a' stands twice",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_whole_key_and_mend(changes: dict[str, Any], expected: str):
    with pytest.raises(WorkflowError) as caught:
        parse_workflow(changed(**changes), name="w.yaml")
    line = str(caught.value)
    assert expected in line
    assert line.startswith("w.yaml line ")
    assert "\n" not in line
    assert caught.value.exit_code == 2


def test_what_is_missing_is_named():
    with pytest.raises(WorkflowError, match=r"w\.yaml line 1: problem: is missing; add it"):
        parse_workflow("data: {url: d}\n", name="w.yaml")


def test_clustering_needs_no_target():
    assert (
        parse_workflow("problem: {name: groups, task: clustering}\ndata: {url: d}\n").problem.target is None
    )


def test_options_never_change():
    workflow = parse_workflow(SMALLEST)
    with pytest.raises(ValueError, match="frozen"):
        workflow.seed = 1


def test_the_schema_accepts_what_loads_and_refuses_what_does_not():
    schema = workflow_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema, allow_nan=False)
    validator = jsonschema.Draft202012Validator(schema)
    assert not list(validator.iter_errors(yaml.safe_load(SMALLEST)))
    assert not list(validator.iter_errors(yaml.safe_load(CONTRACT.replace("1e-6", "0.000001"))))
    assert list(validator.iter_errors(yaml.safe_load(changed(data__splt={}))))
    assert list(validator.iter_errors(yaml.safe_load(changed(problem__task="x"))))


def test_every_part_of_the_schema_is_described_for_editors():
    schema = workflow_schema()
    assert [key for key, spec in schema["properties"].items() if not spec.get("description")] == []
    assert [name for name, spec in schema["$defs"].items() if not spec.get("description")] == []


@pytest.mark.parametrize(
    "path", sorted(Path("examples").glob("*/workflow.yaml")), ids=lambda path: path.parent.name
)
def test_the_examples_load_and_are_written_out(path: Path):
    problem = load_workflow(str(path)).problem
    assert all([problem.objective, problem.statement, problem.success, problem.data_needs, problem.risks])


def test_a_criterion_holds_at_its_bound_and_never_for_nan():
    at_least, at_most = (
        parse_workflow(changed(problem__success=[{"metric": "log_loss", key: 0.5}])).problem.success[0]
        for key in ("at_least", "at_most")
    )
    assert at_least.holds(0.5)
    assert not at_least.holds(0.4)
    assert at_most.holds(0.5)
    assert not at_most.holds(0.6)
    assert not at_least.holds(float("nan"))
    assert not at_most.holds(float("nan"))
