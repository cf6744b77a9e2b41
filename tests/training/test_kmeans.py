"""k-means over chunks ends where scikit-learn's ends in memory, and its beginning depends on rows alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

import headrace as hr
from headrace.accumulators import merge_tree
from headrace.cluster.config import ClusterFile
from headrace.engine.folds import Fold, RowFolds
from headrace.engine.ledger import Ledger
from headrace.errors import RunError, WorkflowError
from headrace.runs import Workflow
from headrace.training.centres import Assign, CentreSums, Draw, Together, dump_learnt, load_learnt, nearest
from headrace.training.clusterers import DRAWS, KMEANS
from headrace.training.deadline import never
from headrace.training.kmeans import (
    Centres,
    Clustering,
    Way,
    advance,
    find_centres,
    require_room,
    told_centres,
)
from headrace.training.options import ModelOptions
from headrace.training.routes import passes_of, require_direct
from headrace.training.sweeps import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.data.dataset import Chunk

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
RNG = np.random.default_rng(0)
N, D, K = 1200, 3, 6
MIDDLES = RNG.normal(scale=4.0, size=(K, D))
X = MIDDLES[RNG.integers(0, K, N)] + RNG.normal(size=(N, D))
CELLS = RNG.integers(0, 2, N)
KEYS = RNG.integers(0, 1 << 63, N).astype(np.uint64)
W = RNG.uniform(0.2, 2.0, N)
ALL = Fold("all", 0, (0, 1), ())


@dataclass
class MemoryReader:
    """Runs a pass over rows in memory, as the real one does over chunks."""

    rows: Sequence[Rows]
    passes: list[str] = field(default_factory=list)
    ledger: Any = None
    notes: list[str] = field(default_factory=list)
    stop: int = 10_000

    def reduce(self, source: Any, update: Any, merge: Any, *, name: str, form: Any) -> Any:
        if len(self.passes) == self.stop:
            raise InterruptedError
        self.passes.append(name)
        return form.load(form.dump(merge_tree([update.recall(chunk) for chunk in self.rows], merge)))

    def recall(self, name: str, *_: Any) -> None:
        self.passes.append(name)

    def emit(self, event: Any) -> None:
        self.notes.append(event.text)


class Kept:
    def __call__(self, table: pa.Table, chunk: Chunk) -> Rows:
        raise AssertionError

    def recall(self, chunk: Any) -> Any:
        return chunk


def chunks(X: Any = X, parts: int = 4, weight: Any = None) -> list[Rows]:
    return [
        Rows(
            X[some],
            np.zeros(len(some)),
            None if weight is None else weight[some],
            CELLS[some][None],
            KEYS[some],
        )
        for some in np.array_split(np.arange(X.shape[0]), parts)
    ]


def clustering(fold: Fold = ALL, clusters: int = K, **more: Any) -> Clustering:
    return Clustering("k-means", fold, 0, clusters, 7, **more)


def solve(reader: MemoryReader, *wanted: Clustering, late: Callable[[], bool] = never) -> tuple[Centres, ...]:
    way = Way(Kept(), Kept(), D)
    return find_centres(cast("Any", reader), cast("Any", None), [way], wanted or [clustering()], late=late)


def inertia(centres: Any, X: Any = X) -> float:
    return float(nearest(X, np.asarray(centres, np.float64))[1].sum())


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
def test_steps_from_the_same_centres_are_scikit_learns(form, weight):
    begin = X[:K]
    theirs = KMeans(K, init=begin, n_init=1, tol=0.0).fit(form(X), sample_weight=weight)
    asked = clustering(tol=0.0)
    state = Centres(begin, passes=DRAWS + 1)
    while not state.done:
        learnt = merge_tree(
            [Assign(state.points, ALL)(rows) for rows in chunks(form(X), weight=weight)],
            lambda one, other: one.merge(other),
        )
        state = advance(asked, state, learnt)
    assert state.converged
    np.testing.assert_allclose(state.points, theirs.cluster_centers_, rtol=1e-6, atol=1e-9)
    assert state.inertia == pytest.approx(theirs.inertia_, rel=1e-6)
    assert abs(state.steps - theirs.n_iter_) <= 1


def test_a_looser_tolerance_ends_where_scikit_learns_does():
    begin = X[:K]
    theirs = KMeans(K, init=begin + 1e4, n_init=1, tol=1e-2).fit(X + 1e4)
    state = Centres(begin + 1e4, passes=DRAWS + 1)
    while not state.done:
        state = advance(clustering(tol=1e-2), state, Assign(state.points, ALL)(chunks(X + 1e4, 1)[0]))
    assert state.steps == theirs.n_iter_
    np.testing.assert_allclose(state.points, theirs.cluster_centers_, rtol=1e-9)


def test_it_begins_as_well_as_k_means_plus_plus_and_as_dask_ml():
    ours = solve(MemoryReader(chunks()))[0]
    assert ours.converged
    assert ours.inertia == pytest.approx(inertia(ours.points), rel=1e-3)
    peers = [KMeans(K, n_init=10, random_state=0).fit(X).inertia_]
    cluster = pytest.importorskip("dask_ml.cluster")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dask.array as da

        peer = cluster.KMeans(K, random_state=0).fit(da.from_array(X, chunks=(600, D)))
    peers.append(inertia(peer.cluster_centers_))
    for theirs in peers:
        assert ours.inertia < 1.05 * theirs


@pytest.mark.parametrize("parts", [1, 7])
def test_it_does_not_depend_on_how_rows_are_cut_into_chunks(parts):
    one, other = (solve(MemoryReader(chunks(parts=each)))[0] for each in (4, parts))
    np.testing.assert_allclose(one.points, other.points, rtol=1e-9)
    assert one.passes == other.passes


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=5), st.booleans())
def test_what_is_learnt_is_the_same_of_any_cut(cuts, drawn):
    rows = chunks(X[:200], 1)[0]
    ask = Draw(X[:3], ALL, 9, 1, 2) if drawn else Assign(X[:3], ALL)
    borders = [0, *sorted(cuts), 200]
    parts = [
        ask(
            Rows(
                rows.X[a:b],
                rows.y[a:b],
                None,
                rows.cells[:, a:b],
                None if rows.keys is None else rows.keys[a:b],
            )
        )
        for a, b in pairwise(borders)
    ]
    whole: Any = ask(rows)
    merged: Any = merge_tree(parts, lambda one, other: one.merge(cast("Any", other)))
    if isinstance(whole, CentreSums):
        assert merged.inertia == pytest.approx(whole.inertia)
        np.testing.assert_allclose(merged.weight, whole.weight)
        np.testing.assert_allclose(merged.total, whole.total)
    else:
        np.testing.assert_array_equal(merged.values, whole.values)


def test_rows_are_drawn_in_proportion_to_weight_times_squared_distance():
    # Copies of four points, drawn one at a time: the first in half the cases, the one at the centre never.
    points = np.array([[2.0], [1.0], [1.0], [0.0]])
    weight = np.array([1.0, 2.0, 2.0, 9.0])
    copies = np.tile(np.arange(4), 600)
    keys = np.random.default_rng(1).integers(0, 1 << 63, len(copies)).astype(np.uint64)
    found = []
    for group in np.array_split(np.arange(len(copies)), 600):
        some = copies[group]
        rows = Rows(points[some], np.zeros(4), weight[some], np.zeros((1, 4), np.uint8), keys[group])
        found.append(Draw(np.zeros((1, 1)), ALL, 1, 0, 1)(rows).values[0, 0])
    assert np.mean(np.array(found) == 2.0) == pytest.approx(0.5, abs=0.06)
    assert min(found) > 0


def test_folds_side_by_side_are_what_each_is_alone():
    folds = RowFolds(2).folds
    reader = MemoryReader(chunks())
    both = solve(reader, *(clustering(fold) for fold in folds), clustering(folds[0], clusters=3))
    assert len(reader.passes) == max(each.passes for each in both)
    for fold, one in zip(folds, both, strict=False):
        mine = np.isin(CELLS, fold.train)
        alone = solve(
            MemoryReader([Rows(X[mine], X[mine, 0], None, CELLS[mine][None], KEYS[mine])]), clustering(fold)
        )[0]
        np.testing.assert_allclose(one.points, alone.points, rtol=1e-9)


def test_too_few_distinct_rows_are_said():
    reader = MemoryReader(
        [Rows(np.tile(X[:2], (50, 1)), X[:100, 0], None, np.zeros((1, 100), np.uint8), KEYS[:100])]
    )
    assert "of 2 distinct rows" in solve(reader)[0].failure
    assert "could not be fitted" in reader.notes[0]


def test_steps_end_at_the_limit_and_say_so():
    reader = MemoryReader(chunks())
    (state,) = solve(reader, clustering(most=1, tol=0.0))
    assert (state.steps, state.converged) == (1, False)
    assert "did not converge in 1 steps" in reader.notes[0]


def test_rows_drawn_that_do_not_fit_are_refused():
    ways = [Way(Kept(), Kept(), 3000)]
    require_room(1 << 30, ways, [clustering(clusters=100)])
    with pytest.raises(RunError, match=r"take 549 MiB of a worker, and may take 128 MiB"):
        require_room(1 << 30, ways, [clustering(clusters=1000)])


def test_without_time_it_ends_after_the_first_step():
    reader = MemoryReader(chunks())
    (state,) = solve(reader, clustering(tol=0.0), late=lambda: True)
    assert (state.steps, state.converged) == (1, False)
    assert state.inertia == pytest.approx(inertia(state.points), rel=0.05)
    assert "after which the time for the search ends" in reader.notes[0]


def test_a_ledger_takes_it_on_after_any_pass(tmp_path):
    whole = solve(MemoryReader(chunks()))[0]
    for stop in (3, DRAWS + 2):
        url = f"{tmp_path}/{stop}"
        with pytest.raises(InterruptedError):
            solve(MemoryReader(chunks(), ledger=Ledger(url), stop=stop))
        reader = MemoryReader(chunks(), ledger=Ledger(url))
        np.testing.assert_array_equal(solve(reader)[0].points, whole.points)
        assert len(reader.passes) == whole.passes


def test_what_is_learnt_goes_to_bytes_and_back():
    rows = chunks(parts=1)[0]
    parts = (
        Together((Draw(X[:2], ALL, 4, 1, 1)(rows), Assign(X[:2], ALL)(rows))),
        Together((Assign(X[:3], ALL)(rows),)),
    )
    again = load_learnt(dump_learnt(parts))
    assert [len(part.each) for part in again] == [2, 1]
    assert dump_learnt(again) == dump_learnt(parts)


def test_the_product_is_scikit_learns_own_and_stored_by_skops():
    (state,) = solve(MemoryReader(chunks()))
    model = told_centres(KMeans(K, random_state=3), state)
    assert model.get_params() == KMeans(K, random_state=3).get_params()
    rows = X.astype(np.float32)
    again = skops.io.loads(skops.io.dumps(model))
    np.testing.assert_array_equal(again.predict(rows), nearest(X, state.points)[0])
    assert -model.score(rows) == pytest.approx(model.inertia_, rel=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        told_centres(KMeans(2), Centres(np.zeros((2, 3)), passes=9))


def run(place: Any, **more: Any) -> Workflow:
    (place / "data").mkdir()
    for part in range(3):
        rows = X[part::3]
        pq.write_table(pa.table({f"x{j}": rows[:, j] for j in range(D)}), place / "data" / f"{part}.parquet")
    document = {
        "problem": {"name": "groups", "task": "clustering"},
        "data": {"url": "data"},
        "models": [
            {"name": "converged", "estimator": KMEANS, "params": {"n_clusters": K}},
            {"name": "few", "estimator": KMEANS, "params": {"n_clusters": 2}},
            {"name": "batches", "estimator": "sklearn.cluster.MiniBatchKMeans", "params": {"n_clusters": K}},
        ],
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 0},
        "train": {"epochs": 1},
        **more,
    }
    return Workflow.parse(yaml.safe_dump(document))


@pytest.mark.parametrize(
    "validation", [{}, {"validation": {"kind": "kfold", "folds": 2, "shared_preparation": True}}]
)
def test_a_run_fits_it_and_publishes_a_pipeline(in_tmp, validation):
    said = run(in_tmp, **validation)
    named = [each.name for each in said.plan(THREADS).passes]
    assert "k-means draw 1" in named
    assert "k-means weights" in named
    result = said.run(THREADS, "run")
    assert result.passed
    frame = pd.DataFrame(X[:50], columns=[f"x{j}" for j in range(D)])
    assert len(set(hr.load("groups").predict(frame))) > 1


def test_passes_are_named_for_the_plan():
    model = ModelOptions(name="k", estimator=KMEANS, params={"max_iter": 3})
    assert passes_of([model], 5) == [
        *(f"k-means draw {number}" for number in range(1, DRAWS + 1)),
        "k-means weights",
        *(f"k-means step {number}" for number in (1, 2, 3)),
        "epoch 1",
    ]


@pytest.mark.parametrize(
    ("path", "params", "task", "message"),
    [
        ("sklearn.cluster.Birch", {}, "clustering", "grows with the data"),
        (KMEANS, {}, "regression", "is for clustering"),
        (KMEANS, {"init": "random"}, "clustering", "k-means||"),
        (KMEANS, {"n_init": 10}, "clustering", "begins once"),
        (KMEANS, {"n_clusters": 0}, "clustering", "there cannot be 0 clusters"),
    ],
)
def test_what_cannot_be_followed_is_refused(path, params, task, message):
    asked = SimpleNamespace(**{"init": "k-means++", "n_init": "auto", "n_clusters": 8, **params})
    with pytest.raises(WorkflowError) as caught:
        require_direct(path, asked, task=task, where="models[0]")
    assert message in str(caught.value)
