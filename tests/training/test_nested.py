"""Nested folds: the choice of a candidate is scored as a loop by hand scores it, on rows that had no say in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.preprocessing import StandardScaler

from headrace.cluster.config import ClusterFile
from headrace.engine.folds import ColumnFolds, RowFolds, TimeFolds
from headrace.engine.nesting import NestedFolds
from headrace.errors import WorkflowError
from headrace.runs import Workflow
from headrace.training.board import Trained, Training, together
from headrace.training.candidates import Candidate
from headrace.training.nested import nested_score

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
RNG = np.random.default_rng(3)
N, D, K = 240, 30, 4
X = RNG.normal(size=(N, D))
Y = 0.3 * X[:, 0] + RNG.normal(size=N)
FOLD, DAY = RNG.integers(0, K, N), np.arange(N) // 2
LEARNT = DAY < 100
ALPHAS = (0.1, 30.0, 100.0, 300.0, 1000.0)
RIDGE = {"name": "ridge", "estimator": "sklearn.linear_model.Ridge", "params": {"alpha": list(ALPHAS)}}


def document(place: Path, **changes: Any) -> dict[str, Any]:
    (place / "data").mkdir()
    days = np.datetime64("2020-01-01") + DAY
    columns: dict[str, Any] = {f"x{j}": X[:, j] for j in range(D)}
    pq.write_table(pa.table({**columns, "y": Y, "fold": FOLD, "day": days}), place / "data" / "a.parquet")
    return {
        "problem": {"name": "toy", "task": "regression", "target": "y"},
        "data": {"url": "data", "time": "day", "split": {"kind": "time", "test_from": str(days[200])}},
        "prepare": {"numeric": {"clip": None}, "columns": {"day": "drop"}},
        "models": [RIDGE],
        "validation": {"kind": "column", "key": "fold", "values": list(range(K)), "nested": True},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        **changes,
    }


def error(alpha: float, learnt: Any, held: Any) -> float:
    scaler = StandardScaler().fit(X[learnt])
    model = Ridge(alpha=alpha).fit(scaler.transform(X[learnt]), Y[learnt])
    return float(mean_squared_error(Y[held], model.predict(scaler.transform(X[held]))) ** 0.5)


def by_hand() -> list[tuple[float, float, float]]:
    """Return of each outer fold the penalty that was chosen, what it reached within, and what on the fold."""
    found = []
    for outer in range(K):
        rest = LEARNT & (outer != FOLD)
        inner = [
            float(np.mean([error(a, rest & (k != FOLD), rest & (k == FOLD)) for k in range(K) if k != outer]))
            for a in ALPHAS
        ]
        best = int(np.argmin(inner))
        found.append((ALPHAS[best], inner[best], error(ALPHAS[best], rest, LEARNT & (outer == FOLD))))
    return found


def test_a_run_chooses_and_scores_as_the_loop_by_hand(in_tmp):
    Workflow.parse(yaml.safe_dump(document(in_tmp))).run(THREADS, "run")
    board = json.loads(Path("run/leaderboard.json").read_text())
    theirs = by_hand()
    assert len({alpha for alpha, _, _ in theirs}) > 1  # the folds do not agree
    assert [each["params"]["alpha"] for each in board["nested"]["choices"]] == [
        alpha for alpha, _, _ in theirs
    ]
    ours = [(each["inner"], each["score"]) for each in board["nested"]["choices"]]
    np.testing.assert_allclose(ours, [each[1:] for each in theirs], rtol=1e-5)
    assert board["nested"]["value"] == pytest.approx(np.mean([score for _, _, score in theirs]), rel=1e-5)
    low, high = board["nested"]["interval"]
    assert low < board["nested"]["value"] < high
    # The choice by all folds is what it is without nesting, and looks better than choosing is.
    best = board["rows"][0]
    assert board["folds"] == len(best["folds"]) == K
    means = {
        a: np.mean([error(a, LEARNT & (k != FOLD), LEARNT & (k == FOLD)) for k in range(K)]) for a in ALPHAS
    }
    assert best["params"]["alpha"] == min(means, key=means.__getitem__)
    assert best["validation"]["rmse"] < board["nested"]["value"]
    record = json.loads(Path("run/run.json").read_text())
    assert record["best"]["nested"] == board["nested"]
    assert [each["name"] for each in record["passes"]] == [
        "profile",
        "exact",
        "epoch 1",
        "final exact",
        "test",
    ]
    assert "chosen within it" in Path("run/report.html").read_text()


def test_folds_within_a_fold_never_see_the_rows_that_judge_it() -> None:
    for outer in (
        RowFolds(3, repeats=2),
        ColumnFolds("key", ("a", "b", "c")),
        TimeFolds("t", (10, 20, 30), gap=2),
    ):
        folds = NestedFolds(outer).folds
        assert folds[: len(outer.folds)] == outer.folds
        for fold in folds[len(outer.folds) :]:
            assert fold.within is not None
            judged = outer.folds[fold.within]
            assert fold.repeat == judged.repeat
            assert set(fold.train) | set(fold.validation) <= set(judged.train)
            assert not set(fold.train) & set(fold.validation)
    within = [fold.within for fold in NestedFolds(RowFolds(3)).folds]
    assert within == [None] * 3 + [0, 0, 1, 1, 2, 2]
    # Of time, the first stretch has none before it, and no later one is known.
    in_time = NestedFolds(TimeFolds("t", (10, 20, 30))).folds
    assert [fold.within for fold in in_time] == [None, None, None, 1, 2, 2]
    assert [(fold.train, fold.validation) for fold in in_time[3:]] == [
        (fold.train, fold.validation) for fold in [in_time[0], *in_time[:2]]
    ]


FOLDS = NestedFolds(RowFolds(3)).folds


def candidate(name: str, scores: Sequence[float], inner: Sequence[Sequence[float]], **more: Any) -> Trained:
    """Make a candidate of which every fold is known after each epoch; the best epoch is that of the highest score."""

    def fold(number: int, history: Sequence[float]) -> Trained:
        best = int(np.argmax(history))
        said = [{"roc_auc": value} for value in history]
        return Trained(
            Candidate(name, "e"), best_epoch=best + 1, scores=said[best], history=said, fold=number, **more
        )

    whole = together(tuple(fold(number, scores) for number in range(3)))
    whole.inner = tuple(fold(3 + number, history) for number, history in enumerate([*inner] * 3))
    return whole


def test_the_epoch_of_the_folds_within_is_judged_and_not_the_best_on_the_fold() -> None:
    slow = candidate("slow", [0.6, 0.7, 0.8], [[0.5, 0.9, 0.5], [0.5, 0.9]])
    quick = candidate("quick", [0.9, 0.9, 0.9], [[0.8], [0.8]])
    lost = candidate("lost", [0.9], [[1.0], [1.0]], failure="why not")
    yardstick = candidate("baseline", [0.9], [[1.0], [1.0]], is_baseline=True)
    training = Training("roc_auc", (quick, slow, lost, yardstick), 3, ratio=1.0)
    found = nested_score(training, FOLDS)
    assert found is not None
    assert [(each.candidate, each.epoch, each.inner, each.score) for each in found.choices] == [
        ("slow", 2, 0.9, 0.7)
    ] * 3
    assert found.value == pytest.approx(0.7)
    assert nested_score(training, RowFolds(3).folds) is None
    assert nested_score(Training("roc_auc", (lost, yardstick), 1), FOLDS) is None


TWO = {"kind": "kfold", "folds": 2, "nested": True}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"search": {"kind": "bayes"}}, "use random or grid"),
        ({"search": {"kind": "halving"}}, "use random or grid"),
        ({"search": {"kind": "random"}, "ensemble": {}}, "not an ensemble; remove one"),
        ({"search": {"kind": "random"}, "validation": TWO}, "give three or more"),
    ],
)
def test_what_would_let_the_rows_that_judge_have_a_say_is_refused(in_tmp, changes, why):
    spaced = {**RIDGE, "params": {}, "space": {"alpha": [1.0, 2.0]}}
    with pytest.raises(WorkflowError, match=why):
        Workflow.parse(yaml.safe_dump(document(in_tmp, models=[spaced], **changes)))
