"""The main job, from Parquet to a published model: the same model wherever it runs, and errors that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn import metrics

import headrace as hr
from headrace.cluster.config import ClusterFile
from headrace.errors import ChecksFailedError, DataError, InputError, RunError, WorkflowError
from headrace.runs import RunResult, Workflow

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
ROWS = 6_000


def make_data(directory: Path, *, rows: int = ROWS, files: int = 3, seed: int = 0) -> pd.DataFrame:
    """A small table with a known signal, in several files."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(10, 3, rows),
            "z": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "color": rng.choice(["red", "green", "blue"], rows, p=[0.5, 0.3, 0.2]),
            "when": pd.date_range("2026-01-01", periods=rows, freq="min"),
        }
    )
    logit = 0.5 * (frame["x"] - 10) + np.nan_to_num(frame["z"]) + (frame["color"] == "red") - 0.5
    frame["y"] = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    frame["amount"] = logit * 3 + rng.normal(size=rows)
    directory.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, rows // files)):
        part = frame.iloc[start : start + rows // files]
        table = pa.Table.from_pandas(part, preserve_index=False)
        pq.write_table(table, directory / f"part-{number}.parquet", row_group_size=700)
    return frame


def workflow(**changes: Any) -> Workflow:
    """A workflow file with some of its keys changed; a key ``a__b`` is ``a: {b: ...}``."""
    document: dict[str, Any] = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data", "time": "when", "drop": ["amount"]},
        "models": [
            {"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"},
            {"name": "bayes", "estimator": "sklearn.naive_bayes.GaussianNB"},
        ],
        "train": {"epochs": 2},
        "evaluate": {"bootstrap": 50, "slices": ["color"]},
    }
    for key, value in changes.items():
        place, parts = document, key.split("__")
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = value
    return Workflow.parse(yaml.safe_dump(document))


def read(result: RunResult, name: str) -> Any:
    return json.loads((Path(result.directory) / name).read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult, pd.DataFrame]:
    """One finished run, with its directory and data."""
    place = tmp_path_factory.mktemp("done")
    frame = make_data(place / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        result = workflow(problem__success=[{"metric": "roc_auc", "at_least": 0.7}]).run(THREADS, "run")
        result = RunResult(result.run, str(place / "run"), result.passed)
    return place, result, frame


def test_a_run_leaves_every_document_of_the_contract(done: tuple[Path, RunResult, pd.DataFrame]) -> None:
    _, result, _ = done
    written = {path.name for path in Path(result.directory).iterdir()}
    assert written >= {
        "workflow.yaml", "run.json", "profile.json", "checks.json", "leaderboard.json", "metrics.json", "model",
        "report.html",
    }  # fmt: skip
    run = read(result, "run.json")
    assert run["status"] == "passed"
    assert run["rows"] == ROWS
    assert run["data_passes"] == {"planned": 5, "done": 5}
    assert [each["rows"] for each in run["passes"]] == [ROWS] * 5
    assert run["best"]["metrics"]["roc_auc"]["low"] < run["best"]["metrics"]["roc_auc"]["value"]
    assert run["model_sha256"] == read(result, "model/manifest.json")["model_sha256"]
    assert {"seconds", "seed", "versions", "bytes_read", "peak_rss_bytes", "chunks"} <= run.keys()


def test_the_model_is_in_the_registry_and_predicts_what_was_assessed(
    done: tuple[Path, RunResult, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, result, frame = done
    monkeypatch.chdir(place)
    model = hr.load("toy")
    said = model.predict_proba(frame)[:, 1]
    measured = read(result, "metrics.json")["metrics"]["roc_auc"]
    auc = metrics.roc_auc_score(frame["y"], said)
    # All rows rather than the test rows, hence the interval widened by half.
    assert abs(auc - measured["value"]) < 0.75 * (measured["high"] - measured["low"])
    assert auc > 0.8
    assert set(np.unique(model.predict(frame.head(100)))) <= {0, 1}


def test_a_run_shows_itself_with_every_name_as_text() -> None:
    evil = "<script>alert(1)</script>"
    shown = RunResult({"best": {"candidate": evil}, "model": evil}, evil, passed=True)._repr_html_()
    assert shown.count("&lt;script&gt;") == 3
    assert "<script" not in shown


def test_the_leaderboard_has_every_candidate_and_the_baseline(
    done: tuple[Path, RunResult, pd.DataFrame],
) -> None:
    _, result, _ = done
    board = read(result, "leaderboard.json")
    assert [row["candidate"] for row in board["rows"]][-1] == "baseline"
    assert {row["candidate"] for row in board["rows"]} == {
        "logistic", "bayes", "baseline", "baseline one column",  # and logistic is the linear one
    }  # fmt: skip
    assert [row["candidate"] for row in board["rows"] if row["best"]] == [
        read(result, "run.json")["best"]["candidate"]
    ]
    assert read(result, "metrics.json")["baseline"]["metrics"]["roc_auc"]["value"] == pytest.approx(0.5)


def test_slices_cover_the_test_rows(done: tuple[Path, RunResult, pd.DataFrame]) -> None:
    _, result, _ = done
    document = read(result, "metrics.json")
    assert set(document["slices"]["color"]) == {"red", "green", "blue"}
    assert sum(each["rows"] for each in document["slices"]["color"].values()) == document["rows"]


@pytest.mark.parametrize(
    "cluster",
    [
        ClusterFile(workers=1, memory=1 << 30),
        ClusterFile(workers=2, memory=1 << 30),
        ClusterFile(workers=1, threads=3, processes=False, memory=1 << 30),
    ],
    ids=["one process", "two processes", "three threads"],
)
def test_the_model_is_the_same_wherever_it_is_trained(
    cluster: ClusterFile,
    done: tuple[Path, RunResult, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    place, result, _ = done
    monkeypatch.chdir(place)
    other = workflow(publish__registry=str(tmp_path / "registry")).run(cluster, str(tmp_path / "run"))
    assert other.run["model_sha256"] == result.run["model_sha256"]
    assert read(other, "metrics.json")["metrics"] == read(result, "metrics.json")["metrics"]


def test_a_candidate_learns_the_same_whoever_else_is_trained(
    done: tuple[Path, RunResult, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place, result, _ = done
    monkeypatch.chdir(place)
    alone = workflow(
        models=[{"name": "bayes", "estimator": "sklearn.naive_bayes.GaussianNB"}],
        publish__registry=str(tmp_path / "registry"),
    ).run(THREADS, str(tmp_path / "run"))
    scores = {row["candidate"]: row["validation"] for row in read(result, "leaderboard.json")["rows"]}
    assert read(alone, "leaderboard.json")["rows"][0]["validation"] == scores["bayes"]


def test_a_missed_criterion_publishes_a_candidate_that_is_not_champion(in_tmp: Path) -> None:
    make_data(in_tmp / "data")
    result = workflow(problem__success=[{"metric": "roc_auc", "at_least": 0.999}]).run(THREADS, "run")
    assert not result.passed
    assert result.run["status"] == "missed"
    (row,) = hr.packaging.registry.Registry("registry").describe("toy")
    assert (row["status"], row["alias"]) == ("candidate", "")


def test_regression_and_time_split_run_from_the_same_file(in_tmp: Path) -> None:
    frame = make_data(in_tmp / "data")
    result = workflow(
        problem={"name": "amount", "task": "regression", "target": "amount"},
        data={
            "url": "data",
            "time": "when",
            "drop": ["y"],
            "split": {"kind": "time", "test_from": "2026-01-04"},
        },
        models=[],
        train={"epochs": 5},
    ).run(THREADS, "run")
    test = frame[frame["when"] >= "2026-01-04"]
    document = read(result, "metrics.json")
    assert document["rows"] == len(test)
    said = hr.load("amount").predict(test)
    exact = metrics.mean_squared_error(test["amount"], said)
    assert document["metrics"]["mse"]["value"] == pytest.approx(exact, rel=1e-3)
    assert document["metrics"]["r2"]["value"] > 0.85


def test_clusters_run_without_a_target(in_tmp: Path) -> None:
    make_data(in_tmp / "data")
    result = workflow(
        problem={"name": "groups", "task": "clustering"},
        data={"url": "data", "time": "when", "drop": ["y", "amount"]},
        models=[],
        evaluate={"bootstrap": 0},
    ).run(THREADS, "run")
    assert result.passed
    assert read(result, "metrics.json")["metrics"]["silhouette"]["value"] > 0
    assert len(hr.load("groups").predict(pd.DataFrame({"x": [1.0], "z": [0.0], "color": ["red"]}))) == 1


def test_text_labels_weights_and_feature_functions_go_through(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = make_data(in_tmp / "data")
    frame["label"] = np.where(frame["y"] == 1, "yes", np.where(frame["x"] > 10, "maybe", "no"))
    frame["w"] = 1.0
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), in_tmp / "labelled.parquet")
    (in_tmp / "toy_features.py").write_text(
        "def add(frame):\n    return frame.assign(x_squared=(frame['x'] - 10) * (frame['x'] - 10))\n"
    )
    result = workflow(
        problem={"name": "label", "task": "classification", "target": "label"},
        data={"url": "labelled.parquet", "drop": ["y", "amount", "when"], "weight": "w"},
        features={"function": "toy_features:add"},
        train={"epochs": 2, "class_weight": "balanced"},
    ).run(THREADS, "run")
    model = hr.load("label", features="toy_features:add")
    assert "x_squared" in [column.name for column in model.signature.inputs]
    assert set(model.predict(frame.head(200))) <= {"yes", "no", "maybe"}
    assert read(result, "metrics.json")["metrics"]["accuracy"]["value"] > 0.5


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data__url": "nowhere"}, DataError, "nowhere"),
        ({"problem__target": "yy"}, WorkflowError, r"problem\.target: there is no column 'yy'"),
        ({"data__drop": ["amunt"]}, WorkflowError, r"data\.drop: .*did you mean 'amount'"),
        ({"evaluate__slices": ["colour"]}, WorkflowError, "did you mean 'color'"),
        ({"data__time": "x"}, WorkflowError, "not a date or a timestamp"),
        (
            {"problem__target": "amount", "data__drop": []},
            WorkflowError,
            "column 'amount' is double, not whole numbers, booleans or",
        ),
        ({"data__weight": "z"}, DataError, r"column 'z': [\d,]+ weights are negative or infinite"),
        ({"data__weight": "color"}, WorkflowError, r"data\.weight: column 'color' is \w+, not a number"),
        (
            {"problem": {"name": "toy", "task": "regression", "target": "color"}, "models": []},
            WorkflowError,
            r"problem\.target: column 'color' is \w+, not a number",
        ),
        ({"data__drop": ["x", "z", "color", "amount"]}, WorkflowError, "no column is left"),
        ({"train__class_weight": {"2": 1.0}}, WorkflowError, "there is no class '2'"),
        (
            {"data__split": {"kind": "time", "test_from": "2030-01-01"}},
            RunError,
            "no row is in the test part",
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_the_mend(
    changes: dict[str, Any], error: type[Exception], message: str, in_tmp: Path
) -> None:
    make_data(in_tmp / "data")
    with pytest.raises(error, match=message) as caught:
        workflow(**changes).run(THREADS, "run")
    assert "\n" not in str(caught.value)
    assert not (in_tmp / "registry").exists()


def test_one_class_only_is_told(in_tmp: Path) -> None:
    frame = make_data(in_tmp / "data").assign(y=1)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), in_tmp / "one.parquet")
    with pytest.raises((ChecksFailedError, DataError), match=r"one value|one class|1 class"):
        workflow(data__url="one.parquet").run(THREADS, "run")
    assert json.loads((in_tmp / "run" / "run.json").read_text())["status"] == "failed"


def test_a_target_with_nulls_stops_the_run_unless_it_is_told_to_warn(in_tmp: Path) -> None:
    frame = make_data(in_tmp / "data")
    frame["y"] = frame["y"].astype("Int64").mask(np.arange(len(frame)) % 50 == 0)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), in_tmp / "nulls.parquet")
    with pytest.raises(ChecksFailedError, match="120 rows without a target"):
        workflow(data__url="nulls.parquet").run(THREADS, "stopped")
    result = workflow(data__url="nulls.parquet", checks={"on_fail": "warn"}).run(THREADS, "warned")
    assert result.passed


@pytest.mark.parametrize("large", [np.inf, 2.0**60])
def test_a_target_is_finite_and_may_be_larger_than_doubles_count(large: float, in_tmp: Path) -> None:
    frame = make_data(in_tmp / "data")
    amount = frame["amount"].mask(np.arange(len(frame)) % 50 == 0, large)
    frame["amount"] = amount if np.isinf(large) else amount.astype(np.int64) + 1
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), in_tmp / "large.parquet")
    asked = workflow(
        problem={"name": "toy", "task": "regression", "target": "amount"},
        data={"url": "large.parquet", "drop": ["y", "when"]},
        models=[{"name": "ridge", "estimator": "sklearn.linear_model.Ridge"}],
    )
    if np.isinf(large):
        with pytest.raises(DataError, match="column 'amount': 120 values of the target are infinite"):
            asked.run(THREADS, "run")
    else:
        assert asked.run(THREADS, "run").passed


def test_why_the_only_candidate_failed_is_told(in_tmp: Path) -> None:
    make_data(in_tmp / "data")
    path = "headrace.training.exact_families.principal_components"
    asked = workflow(
        problem={"name": "toy", "task": "regression", "target": "amount"},
        data={"url": "data", "drop": ["y", "when"]},
        models=[{"name": "pcr", "estimator": path, "params": {"n_components": 900}}],
    )
    with pytest.raises(RunError, match=r"every candidate failed: pcr: .*900 components of .* features"):
        asked.run(THREADS, "run")


def test_a_plan_refuses_what_a_run_would(in_tmp: Path) -> None:
    make_data(in_tmp / "data")
    asked = workflow(models=[{"name": "m", "estimator": "sklearn.linear_model.SGDClasifier"}])
    with pytest.raises(WorkflowError, match="did you mean 'SGDClassifier'"):
        asked.plan(THREADS)


def test_a_run_directory_that_is_in_use_is_not_written_over(in_tmp: Path) -> None:
    make_data(in_tmp / "data")
    (in_tmp / "run").mkdir()
    (in_tmp / "run" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already holds files"):
        workflow().run(THREADS, "run")
    assert (in_tmp / "run" / "notes.txt").read_text() == "mine"


def test_a_plan_reads_footers_only_and_equals_what_the_run_does(in_tmp: Path) -> None:
    make_data(in_tmp / "data")
    plan = workflow().plan(THREADS)
    result = workflow().run(THREADS, "run")
    assert [each.name for each in plan.passes] == [each["name"] for each in result.run["passes"]]
    assert plan.rows == ROWS
    assert read(result, "plan.json") == json.loads(json.dumps(plan.to_dict()))


def test_later_epochs_and_runs_take_prepared_blocks_from_disk_and_end_with_the_same_model(
    in_tmp: Path,
) -> None:
    make_data(in_tmp / "data")
    kept = ClusterFile(workers=2, processes=False, memory=1 << 30, local_directory=str(in_tmp / "local"))
    without = workflow(train={"epochs": 3}).run(kept.model_copy(update={"disk": 0}), "without")
    first = workflow(train={"epochs": 3}).run(kept, "first")
    second = workflow(train={"epochs": 3}).run(kept, "second")
    assert first.run["model_sha256"] == second.run["model_sha256"] == without.run["model_sha256"]
    bytes_of = {
        result.directory: [each["bytes"] for each in result.run["passes"] if "epoch" in each["name"]]
        for result in (without, first, second)
    }
    assert all(size > 0 for size in bytes_of["without"])
    assert bytes_of["first"][0] > 0 == bytes_of["first"][1]
    assert set(bytes_of["second"]) == {0}
    assert [each["rows"] for each in second.run["passes"]] == [ROWS] * 6


def test_blocks_of_other_data_preparation_or_split_are_not_taken(in_tmp: Path) -> None:
    make_data(in_tmp / "data")
    cluster = ClusterFile(workers=2, processes=False, memory=1 << 30, local_directory=str(in_tmp / "local"))
    runs = [workflow().run(cluster, "first")]
    runs.append(workflow(prepare={"numeric": {"scale": "minmax"}}).run(cluster, "second"))
    runs.append(workflow(seed=5).run(cluster, "third"))
    make_data(in_tmp / "data", seed=7)
    runs.append(workflow().run(cluster, "fourth"))
    for result in runs:
        first_epoch = next(each for each in result.run["passes"] if each["name"] == "epoch 1")
        assert first_epoch["bytes"] > 0
