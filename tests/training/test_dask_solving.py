"""Linear models of dask-ml as candidates: read chunk by chunk, kept as scikit-learn's, beside those that headrace fits itself."""

from __future__ import annotations

import sys
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from headrace.cluster.config import ClusterFile
from headrace.engine.events import ChunkDone
from headrace.engine.folds import Fold
from headrace.errors import MissingExtraError, RunError, WorkflowError
from headrace.outright import fit_in_folds
from headrace.packaging.model import load
from headrace.runs import Workflow
from headrace.training.blocks import Target
from headrace.training.candidates import Candidate, build
from headrace.training.dask_solving import DenseRows, require_room
from headrace.training.deadline import NO_TIME
from headrace.training.direct import Direct
from headrace.training.options import ModelOptions
from headrace.training.routes import passes_of, require_direct
from headrace.training.sweeps import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.engine.events import Event

pytest.importorskip("dask_ml")

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
DASK, SKLEARN = "dask_ml.linear_model", "sklearn.linear_model"

RNG = np.random.default_rng(0)
N, D = 1500, 4
X = RNG.normal(size=(N, D))
RAW = X @ np.array([0.5, -0.4, 0.3, 0.1]) + 0.2
TARGETS: dict[str, NDArray[Any]] = {
    "label": np.where(RNG.random(N) < 1 / (1 + np.exp(-RAW)), "yes", "no"),
    "value": RAW + RNG.normal(size=N),
    "count": RNG.poisson(np.exp(RAW)).astype(np.float64),
}


def workflow(place: Path, target: str, models: list[dict[str, Any]], **more: Any) -> Workflow:
    columns = {**{f"x{j}": X[:, j] for j in range(D)}, target: TARGETS[target]}
    (place / "data").mkdir()
    for part in range(3):
        rows = slice(part * N // 3, (part + 1) * N // 3)
        table = pa.table({name: values[rows] for name, values in columns.items()})
        pq.write_table(table, place / "data" / f"{part}.parquet")
    document = {
        "problem": {
            "name": "toy",
            "task": "classification" if target == "label" else "regression",
            "target": target,
        },
        "data": {"url": "data"},
        "prepare": {"numeric": {"clip": None}},
        "models": models,
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        **more,
    }
    return Workflow.parse(yaml.safe_dump(document))


def models_of(target: str) -> list[dict[str, Any]]:
    """The model of dask-ml and that of headrace, both without a penalty."""
    theirs, ours, free = {
        "label": ("LogisticRegression", "LogisticRegression", {"C": 1e10}),
        "value": ("LinearRegression", "LinearRegression", {}),
        "count": ("PoissonRegression", "PoissonRegressor", {"alpha": 0.0}),
    }[target]
    return [
        {"name": "peer", "estimator": f"{DASK}.{theirs}", "params": {"C": 1e10, "tol": 1e-6}},
        {"name": "own", "estimator": f"{SKLEARN}.{ours}", "params": free},
    ]


def coefficients(estimator: Any) -> NDArray[Any]:
    return np.append(np.ravel(estimator.coef_), estimator.intercept_)


def stop(*_args: Any, **_more: Any) -> None:
    """Stand in for what comes after the fits that are looked at."""
    raise InterruptedError


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """What is fitted in the folds of a run, by candidate."""
    held: dict[str, tuple[Any, ...]] = {}

    def fit(*args: Any) -> Any:
        fitted, failures = fit_in_folds(*args)
        held.update({name: tuple(each.estimator for each in folds) for name, folds in fitted.items()})
        return fitted, failures

    monkeypatch.setattr("headrace.selecting.fit_in_folds", fit)
    return held


@pytest.mark.parametrize("target", ["value", "count"])
def test_models_of_dask_ml_end_where_those_of_headrace_end(in_tmp, found, monkeypatch, target):
    monkeypatch.setattr("headrace.data.chunks.LARGEST", 30_000)  # several chunks
    said = workflow(in_tmp, target, models_of(target))
    assert any(note.startswith("peer: dask-ml") for note in said.plan(THREADS).notes)
    monkeypatch.setattr("headrace.selecting.Stream", stop)
    events: list[Event] = []
    with pytest.raises(InterruptedError):
        said.run(THREADS, "run", [events.append])
    (peer,), (own,) = found["peer"], found["own"]
    assert type(peer) is type(own)
    np.testing.assert_allclose(coefficients(peer), coefficients(own), atol=2e-4)
    done = [each for each in events if isinstance(each, ChunkDone) and each.name.startswith("peer 0 read")]
    names = Counter(each.name for each in done)
    assert len(names) >= 3
    assert set(names.values()) == {3}
    assert sum(each.rows for each in done) == N * len(names)
    assert set(names) <= set(passes_of([ModelOptions(**each) for each in models_of(target)], 1))


def test_folds_are_kept_by_the_ledger_and_fitted_once(in_tmp, found, monkeypatch):
    folds = {"kind": "kfold", "folds": 2, "shared_preparation": True}
    said = workflow(in_tmp, "label", models_of("label"), validation=folds)
    with monkeypatch.context() as patch:
        patch.setattr("headrace.selecting.Stream", stop)
        with pytest.raises(InterruptedError):
            said.run(THREADS, "run")
    before = {name: [coefficients(each) for each in fitted] for name, fitted in found.items()}
    np.testing.assert_allclose(before["peer"], before["own"], atol=2e-4)
    found.clear()
    with monkeypatch.context() as patch:
        patch.setattr("headrace.finishing.fit_at_the_end", stop)
        patch.setattr("headrace.training.dask_solving._arrays", stop)
        with pytest.raises(InterruptedError):
            Workflow.resume("run", THREADS)
    np.testing.assert_array_equal([coefficients(each) for each in found["peer"]], before["peer"])
    Workflow.resume("run", THREADS)
    model: Any = load("run/model").pipeline
    assert type(model[-1]) is LogisticRegression
    assert list(model[-1].classes_) == ["no", "yes"]


def test_a_penalty_of_dask_ml_counts_the_intercept_as_well() -> None:
    """What docs/howto/candidates.md says of the difference to scikit-learn: the same penalty, on one more number."""
    import dask.array as da

    y = (TARGETS["label"] == "yes").astype(np.float64)
    ones = np.column_stack([X, np.ones(N)])
    peer: Any = build(Candidate("peer", f"{DASK}.LogisticRegression", {"C": 0.05, "tol": 1e-8}), seed=0)
    with pytest.warns((DeprecationWarning, FutureWarning)):
        peer.set_params(fit_intercept=False).fit(
            da.from_array(ones, chunks=(1000, -1)), da.from_array(y, 1000)
        )
    theirs = LogisticRegression(C=0.05, fit_intercept=False, tol=1e-10).fit(ones, y)
    np.testing.assert_allclose(peer.coef_, np.ravel(theirs.coef_), atol=1e-3)


def test_rows_become_dense_with_ones_and_those_of_the_fold_alone() -> None:
    rows = Rows(
        sparse.csr_matrix([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]),
        np.array([1, 0, 1]),
        None,
        np.array([[0, 1, 0]]),
    )

    class Kept:
        def __call__(self, table: Any, chunk: Any) -> Rows:
            return rows

        def recall(self, chunk: Any) -> Rows | None:
            return rows if chunk else None

    dense = DenseRows(Kept(), Fold("fold", 0, (0,), (1,)), intercept=True)
    none: Any = None
    made, y = dense(none, none)
    np.testing.assert_array_equal(made, [[0, 1, 1], [0, 0, 1]])
    assert made.dtype == np.float64
    np.testing.assert_array_equal(y, [1, 1])
    assert dense.recall(none) is None
    kept: Any = 1
    assert dense.recall(kept) is not None


def test_what_dask_ml_cannot_do_is_refused(in_tmp, monkeypatch):
    def one(**params: Any) -> Candidate:
        return Candidate("peer", f"{DASK}.LogisticRegression", params)

    where = "models[0]"
    path = f"{DASK}.LogisticRegression"
    with pytest.raises(WorkflowError, match="no row between its steps; use lbfgs, newton, admm"):
        require_direct(path, build(one(solver="proximal_grad"), seed=0), task="classification", where=where)
    with pytest.raises(WorkflowError, match="is for classification"):
        require_direct(path, build(one(), seed=0), task="regression", where=where)
    weighed = workflow(in_tmp, "label", models_of("label")[:1], train={"class_weight": "balanced"})
    with pytest.raises(RunError, match="does not know weights of rows"):
        weighed.run(THREADS, "run")
    monkeypatch.setitem(sys.modules, "dask_ml.linear_model", None)
    with pytest.raises(MissingExtraError, match=r"headrace\[dask-ml\]"):
        build(one(), seed=0)


def test_dense_chunks_beyond_the_budget_of_a_worker_are_refused() -> None:
    workers = {"tcp://a": {"memory_limit": 1 << 20, "nthreads": 2}}
    client: Any = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": workers})
    source: Any = SimpleNamespace(chunks=[SimpleNamespace(rows=1000)])
    require_room(client, source, 16)
    with pytest.raises(RunError, match="take 1 MiB of a worker, and its budget is 1 MiB"):
        require_room(client, source, 17)


def test_without_time_the_first_candidate_alone_is_fitted(monkeypatch):
    monkeypatch.setattr("headrace.training.direct.solve_by_dask", lambda *_, **_more: ("fitted",))
    maker: Any = SimpleNamespace(
        target=Target("y"), folds=(), shared=False, splitter=SimpleNamespace(seed=0),
        recipes=[SimpleNamespace(compiled=SimpleNamespace(width=D))],
    )  # fmt: skip
    notes: list[Any] = []
    reader, rows = cast("Any", SimpleNamespace(emit=notes.append)), cast("Any", None)
    direct = Direct(reader, rows, maker, late=lambda: True)
    candidates = [(Candidate(name, f"{DASK}.LinearRegression"), 0) for name in "ab"]
    assert cast("Any", direct.fit(candidates)) == {"a": ("fitted",)}
    assert direct.failures == {"b": NO_TIME}
    assert len(notes) == 1


def test_why_a_model_could_not_be_fitted_is_told(monkeypatch):
    def fail(*_args: Any, **_more: Any) -> Any:
        raise ValueError("of no\n  use.")

    monkeypatch.setattr("headrace.training.direct.solve_by_dask", fail)
    maker: Any = SimpleNamespace(
        target=Target("y"), folds=(), shared=False, splitter=SimpleNamespace(seed=0),
        recipes=[SimpleNamespace(compiled=SimpleNamespace(width=D))],
    )  # fmt: skip
    reader, rows = cast("Any", SimpleNamespace(emit=lambda _: None)), cast("Any", None)
    direct = Direct(reader, rows, maker)
    assert direct.fit([(Candidate("a", f"{DASK}.LinearRegression"), 0)]) == {}
    assert direct.failures == {"a": "of no use."}
