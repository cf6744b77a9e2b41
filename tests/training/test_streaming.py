"""Learning is a pure step; the best weights are kept; a candidate that fails does not take the others with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import sparse

from headrace.cluster.config import ClusterFile
from headrace.engine.passes import Reader
from headrace.errors import RunError
from headrace.packaging.fingerprint import model_digest
from headrace.runs import Workflow
from headrace.training.blocks import Target
from headrace.training.board import Trained, note_epoch
from headrace.training.candidates import PLAIN_LINEAR, Candidate, build
from headrace.training.checkpoint import Learner
from headrace.training.learning import learn
from headrace.training.options import TrainOptions
from headrace.training.prepared import Block, Prepared, concatenate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.linear_model import SGDClassifier

SGD = "sklearn.linear_model.SGDClassifier"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
EMPTY = Block(X[:0], Y[:0], None)


def learner(path: str = SGD, **params: object) -> Learner:
    candidate = Candidate("m", path, dict(params))
    return Learner(candidate, build(candidate, seed=0))


def prepared(block: Block) -> Prepared:
    return Prepared((block,), (EMPTY,))


def steps(first: Learner, blocks: Sequence[Block]) -> Learner:
    state: tuple[Learner, ...] = (first,)
    for block in blocks:
        state = learn(state, prepared(block), classes=(0, 1))
    return state[0]


def test_a_step_gives_a_new_learner_and_leaves_the_old_one_as_it_was() -> None:
    first = steps(learner(), [Block(X, Y, None)])
    before = model_digest(first.estimator)
    second = steps(first, [Block(X, Y, None)])
    assert model_digest(first.estimator) == before
    assert model_digest(second.estimator) != before


def test_blocks_in_order_teach_what_partial_fit_in_a_loop_teaches() -> None:
    streamed = steps(learner(alpha=1e-3), [Block(X[:100], Y[:100], None), Block(X[100:], Y[100:], None)])
    by_hand: SGDClassifier = build(Candidate("m", SGD, {"alpha": 1e-3}), seed=0)
    by_hand.partial_fit(X[:100], Y[:100], classes=[0, 1]).partial_fit(X[100:], Y[100:])
    assert model_digest(streamed.estimator) == model_digest(by_hand)


def test_a_candidate_that_has_failed_does_not_learn() -> None:
    first = replace(learner(), failure="why not")
    (same,) = learn((first,), prepared(Block(X, Y, None)), classes=(0, 1))
    assert same is first


def test_a_baseline_has_learnt_enough_after_some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.training.learning.BASELINE_ROWS", 200)
    yardstick = replace(learner(), candidate=Candidate(PLAIN_LINEAR, SGD))
    taught = steps(yardstick, [Block(X[:150], Y[:150], None), Block(X[150:], Y[150:], None)])
    assert taught.rows == 300
    assert steps(taught, [Block(X, Y, None)]) is taught
    assert steps(learner(), [Block(X, Y, None)] * 2).rows == 600


def test_an_empty_block_teaches_nothing() -> None:
    first = learner()
    assert steps(first, [EMPTY]) is first


def test_a_dense_estimator_learns_from_sparse_blocks_what_it_learns_from_dense_ones() -> None:
    bayes = "sklearn.naive_bayes.GaussianNB"
    dense = steps(learner(bayes), [Block(X, Y, None)])
    thin = steps(learner(bayes), [Block(sparse.csr_matrix(X), Y, None)])
    assert model_digest(dense.estimator) == model_digest(thin.estimator)


def test_what_scikit_learn_refuses_becomes_a_failure_with_its_reason() -> None:
    broken = steps(learner(), [Block(np.full((4, 3), np.nan, np.float32), np.array([0, 1, 0, 1]), None)])
    assert "NaN" in broken.failure
    weighted = learner("sklearn.linear_model.Perceptron")
    assert not steps(weighted, [Block(X, Y, np.ones(300))]).failure


def test_a_row_without_a_weight_has_none_whether_it_is_null_or_nan() -> None:
    weights = Target("y", weight="w").weights(pa.table({"w": pa.array([1.0, None, np.nan, 2.0])}))
    np.testing.assert_array_equal(weights, [1, 0, 0, 2])


def test_concatenating_keeps_rows_targets_and_weights_together() -> None:
    halves = [
        Block(sparse.csr_matrix(X[:100]), Y[:100], np.ones(100)),
        Block(sparse.csr_matrix(X[100:]), Y[100:], np.zeros(200)),
    ]
    whole = concatenate(halves)
    np.testing.assert_array_equal(sparse.csr_matrix(whole.X).toarray(), X)
    assert (whole.rows, whole.weight.sum() if whole.weight is not None else None) == (300, 100)


def follow(scores: Sequence[float], patience: int, tolerance: float = 1e-4) -> tuple[Trained, list[bool]]:
    trained = Trained(Candidate("m", SGD))
    options = TrainOptions(epochs=len(scores), patience=patience, tolerance=tolerance)
    goes_on = [
        note_epoch(
            trained,
            Learner(trained.candidate, f"epoch {epoch}"),
            {"roc_auc": score},
            epoch,
            "roc_auc",
            options,
        )
        for epoch, score in enumerate(scores, 1)
    ]
    return trained, goes_on


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    trained, _ = follow([0.6, 0.8, 0.7], patience=5)
    assert (trained.estimator, trained.best_epoch, trained.scores) == ("epoch 2", 2, {"roc_auc": 0.8})


@pytest.mark.parametrize(
    ("scores", "patience", "goes_on"),
    [
        ([0.6, 0.7, 0.8], 1, [True, True, True]),
        ([0.6, 0.5, 0.5], 2, [True, True, False]),
        ([0.6, 0.60001, 0.7], 1, [True, False, True]),
        ([0.6, 0.60001, 0.60002], 2, [True, True, False]),
    ],
)
def test_patience_counts_epochs_without_a_rise_above_the_tolerance(
    scores: list[float], patience: int, goes_on: list[bool]
) -> None:
    assert follow(scores, patience)[1] == goes_on


def toy(place: Path, models: list[dict[str, object]], **train: object) -> Workflow:
    (place / "data").mkdir(exist_ok=True)
    columns = {f"x{i}": X[:, i].astype(float) for i in range(3)}
    pq.write_table(pa.table({**columns, "y": Y}), place / "data" / "a.parquet", row_group_size=100)
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data", "split": {"kind": "random", "test": 0.3, "validation": 0.3}},
        "models": models,
        "checks": {"on_fail": "warn"},
        "train": train,
        "evaluate": {"bootstrap": 0},
    }
    return Workflow.parse(yaml.safe_dump(document))


GOOD: dict[str, object] = {"name": "good", "estimator": SGD}
DIVERGING: dict[str, object] = {
    "name": "diverging",
    "estimator": "sklearn.linear_model.SGDClassifier",
    "params": {"loss": "squared_error", "eta0": 1e30, "average": False},
}
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


def test_a_candidate_that_diverges_is_told_and_the_others_go_on(in_tmp: Path) -> None:
    result = toy(in_tmp, [DIVERGING, GOOD], epochs=3).run(THREADS, "run")
    rows = {row["candidate"]: row for row in json.loads(Path("run/leaderboard.json").read_text())["rows"]}
    assert result.run["best"]["candidate"] == "good"
    assert "overflow" in rows["diverging"]["failure"]
    assert rows["good"]["failure"] == ""


def test_a_run_in_which_every_candidate_fails_says_why(in_tmp: Path) -> None:
    with pytest.raises(RunError, match=r"every candidate failed: diverging: .*overflow"):
        toy(in_tmp, [DIVERGING]).run(THREADS, "run")


def test_training_stops_when_no_candidate_gets_better(in_tmp: Path) -> None:
    result = toy(in_tmp, [GOOD], epochs=30, patience=2, tolerance=0.5).run(THREADS, "run")
    # The first epoch is always better than nothing; two without a rise of 0.5 end it.
    assert result.run["data_passes"] == {"planned": 32, "done": 5}


def test_baselines_learn_beside_a_candidate_and_not_in_a_chain_of_their_own(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    stream = Reader.stream

    def watched(self: Reader, *args: Any, **more: Any) -> Any:
        widths.append(len(args[4]))
        return stream(self, *args, **more)

    monkeypatch.setattr(Reader, "stream", watched)
    first: dict[str, object] = {"name": "first", "estimator": SGD, "params": {"alpha": 0.1}}
    second = {**first, "name": "second", "params": {"alpha": 0.01}}
    toy(in_tmp, [first], epochs=1).run(THREADS, "alone")
    toy(in_tmp, [first, second], epochs=1).run(THREADS, "together")
    assert widths == [1, 2]
    alone, together = (
        {
            row["candidate"]: row["validation"]
            for row in json.loads(Path(f"{run}/leaderboard.json").read_text())["rows"]
        }
        for run in ("alone", "together")
    )
    assert PLAIN_LINEAR in alone
    assert alone == {name: scores for name, scores in together.items() if name != "second"}
