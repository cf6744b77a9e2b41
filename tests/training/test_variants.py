"""Choices of preparation in a search are those of a workflow that says them itself, learnt from the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cluster.config import ClusterFile
from headrace.errors import WorkflowError
from headrace.preparation.options import PrepareOptions
from headrace.runs import Workflow
from headrace.training.options import ModelOptions
from headrace.training.variants import MOST_WAYS, ways_to_prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

SGD = "sklearn.linear_model.SGDClassifier"
ROWS = 3_000
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


def model(**space: Any) -> ModelOptions:
    named = {key.replace("__", "."): values for key, values in space.items()}
    return ModelOptions.model_validate({"name": "m", "estimator": SGD, "space": named})


def test_every_combination_is_a_way_once_and_the_workflow_s_own_is_the_first() -> None:
    space = {
        "alpha": [1.0, 2.0],
        "prepare__categorical__encode": ["one_hot", "target"],
        "prepare__categorical__folds": {"low": 3, "high": 5},
    }
    ways = ways_to_prepare(PrepareOptions(), [model(**space), model(**space), model()])
    assert ways[0] == PrepareOptions()
    said = [(each.categorical.encode, each.categorical.folds) for each in ways[1:]]
    assert sorted(said) == [("one_hot", 3), ("one_hot", 5), ("target", 3), ("target", 5)]


def test_of_very_many_combinations_each_choice_stands_alone() -> None:
    many = [0.001 * (i + 1) for i in range(MOST_WAYS)]
    ways = ways_to_prepare(
        PrepareOptions(),
        [model(prepare__drop_missing_above=many, prepare__categorical__encode=["one_hot", "target"])],
    )
    assert len(ways) <= 1 + MOST_WAYS + 2
    assert "target" in {each.categorical.encode for each in ways}


@pytest.fixture(scope="module", autouse=True)
def _data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make ids and colours that tell nothing."""
    place = tmp_path_factory.mktemp("variants")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, ROWS)
    columns = {
        "id": pa.array([f"i{i}" for i in rng.integers(0, ROWS // 3, ROWS)]),
        "color": rng.choice(["red", "green"], ROWS),
        "y": y,
    }
    (place / "data").mkdir()
    pq.write_table(pa.table(columns), place / "data" / "a.parquet", row_group_size=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield


def board(name: str, **changes: Any) -> dict[str, Any]:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "validation": {"kind": "kfold", "folds": 2},
        "models": [{"name": "m", "estimator": SGD}],
        "train": {"epochs": 1},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        **changes,
    }
    Workflow.parse(yaml.safe_dump(document)).run(THREADS, name)
    rows = json.loads(Path(name, "leaderboard.json").read_text())["rows"]
    return {row["candidate"]: row for row in rows}


def test_an_encoding_by_the_target_is_sought_without_leaking_it() -> None:
    space = {"prepare.categorical.encode": ["frequency", "target"], "prepare.categorical.folds": [3, 5]}
    found = board(
        "sought",
        models=[{"name": "m", "estimator": SGD, "space": space}],
        search={"kind": "grid"},
    )
    by = {json.dumps(row["prepare"]): row for row in found.values() if not row["is_baseline"]}
    assert len(by) == 4
    said = {"categorical.encode": "target", "categorical.folds": 3}
    alone = board("said", prepare={"categorical": {"encode": "target", "folds": 3}})
    for mine, theirs in zip(by[json.dumps(said)]["folds"], alone["m"]["folds"], strict=True):
        assert mine["validation"] == theirs["validation"]
    # Had the rows that judge had a say, their ids would tell.
    assert abs(by[json.dumps(said)]["validation"]["roc_auc"] - 0.5) < 0.06


def test_what_cannot_be_taken_for_all_at_once_is_refused_before_data_are_read() -> None:
    space = {"prepare.derive": [{"d": "y + 1"}, {"d": "y + 2"}]}
    with pytest.raises(WorkflowError, match="of which one can be taken; say it in prepare:"):
        board(
            "refused",
            models=[{"name": "m", "estimator": SGD, "space": space}],
            search={"kind": "grid"},
        )
    assert not Path("refused").exists()
