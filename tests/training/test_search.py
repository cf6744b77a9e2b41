"""What is tried is a function of the seed and of what was learnt; losers leave the stream; a search may be extended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cluster.config import ClusterFile
from headrace.errors import InputError, WorkflowError
from headrace.runs import RunResult, Workflow
from headrace.training.deadline import NO_TIME
from headrace.training.options import ModelOptions
from headrace.training.rungs import Rung, halving_rungs, hyperband_brackets, losers, positions
from headrace.training.search import Round, ask, grid_size, rounds_of, rungs_of
from headrace.training.spaces import Bayes, Grid, Halving, Hyperband, Random, Range

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
SGD = "sklearn.linear_model.SGDClassifier"
SPACE: dict[str, Any] = {
    "alpha": {"low": 1e-7, "high": 1e-2, "log": True},
    "penalty": ["l2", "l1"],
    "prepare.numeric.scale": ["standard", "robust"],
}
MODEL = ModelOptions.model_validate({"name": "sgd", "estimator": SGD, "space": SPACE})
PLAIN = ModelOptions(name="plain", estimator=SGD)


def test_candidates_are_the_same_however_many_there_are() -> None:
    few = ask(Random(kind="random", candidates=3), [MODEL, PLAIN], Round(1, 0, 3), [], seed=1)
    many = ask(Random(kind="random", candidates=9), [MODEL, PLAIN], Round(1, 0, 9), [], seed=1)
    assert few == many[:4]
    assert [each.name for each in few] == ["plain", "sgd 1", "sgd 2", "sgd 3"]
    assert few != ask(Random(kind="random", candidates=3), [MODEL, PLAIN], Round(1, 0, 3), [], seed=2)
    later = ask(Random(kind="random", candidates=3), [MODEL, PLAIN], Round(2, 3, 6), [], seed=1)
    assert later == many[4:]


def test_a_drawn_setting_lies_in_its_space() -> None:
    for each in ask(Random(kind="random", candidates=50), [MODEL], Round(1, 0, 50), [], seed=0):
        assert 1e-7 <= each.params["alpha"] <= 1e-2
        assert each.params["penalty"] in {"l2", "l1"}
        assert each.prepare["numeric.scale"] in {"standard", "robust"}


def test_a_grid_has_every_combination_once() -> None:
    (round_,) = rounds_of(Grid(kind="grid"), [MODEL])
    found = ask(Grid(kind="grid"), [MODEL], round_, [], seed=0)
    assert len(found) == grid_size(MODEL) == round_.count == 5 * 2 * 2
    assert len({repr((each.params, each.prepare)) for each in found}) == len(found)
    steps = ModelOptions(name="m", estimator=SGD, space={"a": Range(low=1, high=3, steps=9), "b": [1] * 9999})
    with pytest.raises(WorkflowError, match="combinations"):
        grid_size(steps)


def test_what_bayes_asks_is_a_function_of_what_it_was_told() -> None:
    search = Bayes(kind="bayes", candidates=30, batch=15)
    first, second = rounds_of(search, [MODEL])
    tried = ask(search, [MODEL], first, [], seed=0)
    told = [(each, -abs(np.log10(each.params["alpha"]) + 4)) for each in tried]
    asked = ask(search, [MODEL], second, told, seed=0)
    assert asked == ask(search, [MODEL], second, told, seed=0)
    assert [each.name for each in asked] == [f"sgd {n}" for n in range(16, 31)]
    near = [np.median([abs(np.log10(each.params["alpha"]) + 4) for each in held]) for held in (tried, asked)]
    assert near[1] < near[0]


def test_a_search_that_is_extended_has_a_round_more() -> None:
    assert [(r.first, r.count) for r in rounds_of(Random(kind="random", candidates=8), [MODEL], [5, 2])] == [
        (0, 8), (8, 5), (13, 2),
    ]  # fmt: skip
    assert [r.count for r in rounds_of(Bayes(kind="bayes", candidates=10, batch=4), [MODEL], [3])] == [
        4,
        4,
        2,
        3,
    ]


@pytest.mark.parametrize("count", [2, 5, 9, 32, 81])
@pytest.mark.parametrize("eta", [2, 3])
def test_halving_leaves_one_and_hyperband_uses_every_candidate(count: int, eta: int) -> None:
    names = [f"c{n}" for n in range(count)]
    rungs = halving_rungs(names, most=1_000_000, eta=eta)
    assert rungs[-1].keep == 1
    assert [rung.rows for rung in rungs] == sorted({rung.rows for rung in rungs})
    assert rungs[-1].rows <= 1_000_000 // eta
    brackets = hyperband_brackets(count, eta=eta)
    assert sum(size for size, _ in brackets) == count
    assert brackets[-1][1] == 0
    assert all(
        rung.members <= set(names)
        for rung in rungs_of(Hyperband(kind="hyperband", candidates=count, eta=eta), names, most=9_000)
    )
    assert rungs_of(Halving(kind="halving", candidates=count, eta=eta), names, most=1_000_000) == rungs


def test_rungs_fall_where_the_rows_read_first_reach_them() -> None:
    rungs = [Rung(rows, 1, frozenset("ab")) for rows in (50, 100, 250, 300, 301)]
    assert positions(rungs, [100, 100, 100], epoch=1) == {1: [0, 1], 3: [2, 3]}
    assert positions(rungs, [100, 100, 100], epoch=2) == {1: [4]}


def test_the_losers_of_a_bracket_are_the_worst_of_those_still_there() -> None:
    rung = Rung(1, 2, frozenset({"a", "b", "c", "gone"}))
    assert losers(rung, {"a": 0.1, "b": 0.3, "c": 0.2, "other": 0.0}) == ["a"]


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 3))
    y = (X[:, 0] + rng.normal(size=3_000) > 0).astype(int)
    where = tmp_path_factory.mktemp("search")
    (where / "data").mkdir()
    table = pa.table({**{f"x{i}": X[:, i] for i in range(3)}, "y": y})
    for number in range(4):
        pq.write_table(table.slice(number * 750, 750), where / "data" / f"{number}.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        yield where


def job(search: dict[str, Any], **changes: Any) -> Workflow:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "models": [{"name": "sgd", "estimator": SGD, "space": SPACE}],
        "search": search,
        "train": {"epochs": 2},
        "evaluate": {"bootstrap": 0},
        **changes,
    }
    return Workflow.parse(yaml.safe_dump(document))


def rows_of(result: RunResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(Path(result.directory, "leaderboard.json").read_text())["rows"]
    return rows


def test_halving_drops_losers_within_the_stream_in_folds_too() -> None:
    result = job({"kind": "halving", "candidates": 9}, validation={"kind": "kfold", "folds": 2}).run(
        THREADS, "halving"
    )
    rows = [row for row in rows_of(result) if not row["is_baseline"]]
    assert len(rows) == 9
    assert rows[0]["best"]
    assert rows[0]["dropped_after_rows"] is None
    assert sorted(row["dropped_after_rows"] or 0 for row in rows) == [0, *[666] * 6, *[2000] * 2]
    assert result.run["data_passes"]["done"] <= result.run["data_passes"]["planned"]


def test_a_search_that_has_ended_can_be_extended_and_reads_nothing_again() -> None:
    bayes = {"kind": "bayes", "candidates": 4, "batch": 2}
    first = job(bayes, publish={"name": "extended"}).run(THREADS, "bayes")
    assert Path("bayes/optuna.journal").exists()
    more = Workflow.resume("bayes", THREADS, more_candidates=3)
    names = [row["candidate"] for row in rows_of(more) if not row["is_baseline"]]
    assert sorted(names) == [f"sgd {n}" for n in range(1, 8)]
    before = {row["candidate"]: row["validation"] for row in rows_of(first)}
    after = {row["candidate"]: row["validation"] for row in rows_of(more)}
    assert more.run["model"] == "extended@2"
    assert all(after[name] == score for name, score in before.items())
    assert Workflow.resume("bayes", THREADS).run["model"] == "extended@2"


def test_the_time_limit_ends_a_search_with_the_best_so_far() -> None:
    result = job({"kind": "random", "candidates": 3, "max_minutes": 1e-6}, train={"epochs": 9}).run(
        THREADS, "short"
    )
    assert result.run["data_passes"]["done"] == 3
    assert result.run["best"]["epoch"] == 1


def test_the_time_limit_holds_between_fits_that_are_outright() -> None:
    models = [
        {"name": "bayes", "estimator": "sklearn.naive_bayes.GaussianNB"},
        {
            "name": "logistic",
            "estimator": "sklearn.linear_model.LogisticRegression",
            "space": {"C": [0.1, 1]},
        },
    ]
    result = job({"kind": "grid", "max_minutes": 1e-6}, models=models).run(THREADS, "outright")
    rows = {row["candidate"]: row for row in rows_of(result)}
    assert rows["bayes"]["best"]
    assert [rows[f"logistic {n}"]["failure"] for n in (1, 2)] == [NO_TIME, NO_TIME]


def test_the_time_limit_holds_between_trees_of_other_bins() -> None:
    pytest.importorskip("xgboost")
    params = {"n_estimators": 2, "max_depth": 2}
    models = [
        {"name": "m", "estimator": "xgboost.XGBClassifier", "params": params, "space": {"max_bin": [16, 32]}}
    ]
    result = job({"kind": "grid", "max_minutes": 1e-6}, models=models).run(THREADS, "trees")
    failures = {row["candidate"]: row["failure"] for row in rows_of(result) if not row["is_baseline"]}
    assert failures == {"m 1": "", "m 2": NO_TIME}


def test_the_time_limit_ends_steps_where_they_are() -> None:
    models = [{"name": "m", "estimator": "sklearn.linear_model.LogisticRegression", "space": {"C": [0.1, 1]}}]
    result = job({"kind": "grid", "max_minutes": 1e-6}, models=models).run(THREADS, "steps")
    named = [each["name"] for each in result.run["passes"]]
    assert [name for name in named if name.startswith("step")] == ["step 1", "step 2"]
    assert not any(row["failure"] for row in rows_of(result))


def test_a_run_without_a_search_cannot_be_extended() -> None:
    document = yaml.safe_load(job({"kind": "random"}).text)
    document["models"][0].pop("space")
    document.pop("search")
    Workflow.parse(yaml.safe_dump(document)).run(THREADS, "plain")
    with pytest.raises(InputError, match="no search that could be extended"):
        Workflow.resume("plain", THREADS, more_candidates=1)


def test_a_space_that_cannot_be_tried_is_refused_before_data_are_read() -> None:
    for space, message in (
        ({"aplha": [1]}, "did you mean 'alpha'"),
        ({"alpha": {"low": -1.0, "high": 1.0}}, r"models\[0\]\.space: The 'alpha' parameter .*Got -1.0"),
        ({"prepare.numeric.scal": ["none"]}, "scal"),
        ({"prepare.numeric.scale": ["unheard"]}, "scale"),
    ):
        models = [{"name": "sgd", "estimator": SGD, "space": space}]
        with pytest.raises(WorkflowError, match=message):
            job({"kind": "random"}, models=models).run(THREADS, "none")
    with pytest.raises(WorkflowError, match="nothing to vary"):
        job({"kind": "random"}, models=[{"name": "sgd", "estimator": SGD}])
