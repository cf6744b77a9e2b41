"""Lanes are a setting of the run: the same model on any number of workers and after a crash, and nearly that of one lane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.data.samples import write_sample
from headrace.engine import ledger
from headrace.engine.events import ChunkDone, Event
from headrace.engine.lanes import Lanes
from headrace.errors import WorkflowError
from headrace.runs import RunResult, Workflow
from headrace.training.candidates import Candidate, build
from headrace.training.checkpoint import Learner
from headrace.training.lanes import mix

SGD = "sklearn.linear_model.SGDClassifier"
ROWS = 24_000
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


class Stopped(BaseException):
    """Ends a run as a signal would: nothing of headrace catches it."""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Clicks in many chunks, each of which is committed."""
    where = tmp_path_factory.mktemp("lanes")
    write_sample("clicks", str(where / "made"), rows=ROWS)
    (where / "data").mkdir()
    few = pq.read_table(where / "made", columns=["age", "bid", "ad_quality", "device", "click"])
    pq.write_table(few, where / "data" / "a.parquet", row_group_size=ROWS // 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr(chunks, "LARGEST", 100_000)
        patch.setattr(ledger, "COMMIT_SECONDS", 0.0)
        yield where


def run(name: str, workers: int = 2, stop: int = 0, **changes: Any) -> RunResult:
    document = {
        "problem": {"name": name, "task": "classification", "target": "click"},
        "data": {"url": "data"},
        "models": [{"name": "a", "estimator": SGD}],
        "train": {"epochs": 2, "lanes": 2},
        "evaluate": {"bootstrap": 0},
        "checks": {"on_fail": "warn"},
        **changes,
    }
    cluster = ClusterFile(workers=workers, processes=False, memory=1 << 30)
    if not stop:
        return Workflow.parse(yaml.safe_dump(document)).run(cluster, name)
    seen = 0

    def watch(event: Event) -> None:
        nonlocal seen
        if isinstance(event, ChunkDone):
            seen += 1
            if seen == stop:
                raise Stopped

    with pytest.raises(Stopped):
        Workflow.parse(yaml.safe_dump(document)).run(cluster, name, [watch])
    return Workflow.resume(name, cluster)


def auc(result: RunResult) -> float:
    return float(result.run["best"]["metrics"]["roc_auc"]["value"])


def test_two_lanes_reach_what_one_does_on_any_number_of_workers() -> None:
    two = run("two")
    assert run("alone", workers=1).run["model_sha256"] == two.run["model_sha256"]
    one = run("one", train={"epochs": 2})
    assert one.run["model_sha256"] != two.run["model_sha256"]
    assert auc(two) == pytest.approx(auc(one), abs=0.01)
    count = two.run["chunks"]
    assert count > 6
    for name, stop in (("early", count + 3),):
        assert run(name, stop=stop).run["model_sha256"] == two.run["model_sha256"]


def learner(rows: slice, *, fitted: bool = True) -> Learner:
    model = build(Candidate("m", SGD), seed=0)
    if fitted:
        model.partial_fit(X[rows], Y[rows], classes=[0, 1])
    return Learner(Candidate("m", SGD), model, seconds=1.0)


def test_mixing_takes_the_mean_of_all_weights_and_leaves_what_it_is_given_as_it_was() -> None:
    left, right = learner(slice(0, 200)), learner(slice(200, 400))
    before = left.estimator.coef_.copy()
    (mixed,) = mix((left,), (right,))
    np.testing.assert_array_equal(left.estimator.coef_, before)
    np.testing.assert_allclose(mixed.estimator.coef_, (before + right.estimator.coef_) / 2)
    assert mixed.estimator.t_ == left.estimator.t_
    # It learns on from there, which needs the state behind the averaged weights as well.
    mixed.estimator.partial_fit(X, Y)
    assert np.abs(mixed.estimator.coef_ - before).max() < 1


def test_a_lane_that_has_not_learnt_yet_does_not_count() -> None:
    left, fresh = learner(slice(0, 200)), learner(slice(0, 0), fitted=False)
    (mixed,) = mix((fresh,), (left,))
    np.testing.assert_array_equal(mixed.estimator.coef_, left.estimator.coef_)
    (none,) = mix((fresh,), (fresh,))
    assert not hasattr(none.estimator, "coef_")


def test_lanes_meet_at_borders_and_at_the_end() -> None:
    lanes = Lanes(2, 3)
    assert [place for place in range(1, 15) if lanes.meet_at(place, 14)] == [6, 12, 14]
    assert not Lanes().meet_at(14, 14)


def test_models_that_cannot_be_averaged_are_refused_before_data_are_read() -> None:
    models = [{"name": "net", "estimator": "sklearn.neural_network.MLPClassifier"}]
    with pytest.raises(WorkflowError, match="cannot be averaged over lanes; leave lanes out"):
        run("net", models=models)
