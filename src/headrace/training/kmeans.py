"""k-means to convergence: k-means|| draws rows in a few passes, then each step of Lloyd is one pass for all models and folds."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.accumulators.rowsample import RowSample
from headrace.engine.commits import Form
from headrace.engine.events import Note
from headrace.errors import RunError
from headrace.training.centres import Asked, Assign, CentreSums, Draw, dump_learnt, load_learnt
from headrace.training.clusterers import DRAWS, PER_CLUSTER, pass_name
from headrace.training.deadline import never
from headrace.training.sweeps import Sweep, merge_parts, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.engine.folds import Fold
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.centres import Learnt, Together
    from headrace.training.sweeps import RowsOf

    Numbers = NDArray[np.float64]

CLUSTERED = "k-means"
"""Fact of the ledger: a pass of all models is done."""
FORM = Form(dump_learnt, load_learnt)
SHARE = 8
"""The rows that are drawn may take this part of a worker's memory."""


@dataclass(frozen=True)
class Way:
    """One way to prepare rows."""

    keyed: RowsOf
    """With their keys, which reads files."""
    kept: RowsOf
    """From the cache where they are in it."""
    width: int
    """Features."""


@dataclass(frozen=True)
class Clustering:
    """One setting of k-means on the training rows of one fold."""

    candidate: str
    fold: Fold
    way: int
    """Which of the ways to prepare rows."""
    clusters: int
    seed: int
    tol: float = 1e-4
    """Share of the mean variance of the features; centres that move by less in all, squared, have converged."""
    most: int = 300
    """Steps of Lloyd at most."""


@dataclass(frozen=True)
class Centres:
    """Where a clustering is.

    Attributes
    ----------
    points : ndarray, shape (points, features)
        Rows drawn so far, later the centres of the clusters.
    passes : int
        In which it took part.
    inertia : float
        Of the points as centres of the clusters that the last pass saw; no less than what they really have.
    done : bool
    converged : bool
    failure : str
        Why there are no centres.
    """

    points: Numbers
    passes: int = 0
    inertia: float = 0.0
    done: bool = False
    converged: bool = False
    failure: str = ""

    @property
    def steps(self) -> int:
        """Steps of Lloyd."""
        return self.passes - DRAWS - 1


def require_room(memory: int, ways: Sequence[Way], clusterings: Sequence[Clustering]) -> None:
    """Refuse more rows drawn than a worker can hold.

    Parameters
    ----------
    memory : int
        Of a worker, in bytes.
    ways : sequence of Way
    clusterings : sequence of Clustering
        All that are fitted side by side.

    Raises
    ------
    RunError
        Saying what they would take, and what they may.
    """
    drawn = sum(PER_CLUSTER * each.clusters * ways[each.way].width for each in clusterings)
    # All draws, and as much again for those of chunks that are being merged.
    needed, room = 8 * 2 * DRAWS * drawn, memory // SHARE
    if needed > room:
        raise RunError(
            f"the rows that k-means draws take {needed >> 20:,} MiB of a worker, and may take {room >> 20:,} MiB",
            where="models",
            mend="choose fewer clusters, candidates or folds, or sklearn.cluster.MiniBatchKMeans",
        )


def find_centres(
    reader: Reader,
    source: Source,
    ways: Sequence[Way],
    clusterings: Sequence[Clustering],
    *,
    name: str = "",
    late: Callable[[], bool] = never,
) -> tuple[Centres, ...]:
    """Find the centres of all clusterings side by side.

    Parameters
    ----------
    reader : Reader
        Runs the passes; with a ledger each one is committed.
    source : Source
        The chunks.
    ways : sequence of Way
    clusterings : sequence of Clustering
    name : str
        Begins the names of its passes and of its fact in the ledger.
    late : callable
        Tells before each step of Lloyd whether there is no time for it; where the centres are then, they stay.

    Returns
    -------
    tuple of Centres
        In the order of `clusterings`.
    """
    states = [Centres(np.empty((0, ways[each.way].width))) for each in clusterings]
    done = _known(reader, source, states, name)
    while any(not state.done for state in states) and not (done > DRAWS + 1 and late()):
        done += 1
        members: dict[int, list[int]] = {}
        for index, state in enumerate(states):
            if not state.done:
                members.setdefault(clusterings[index].way, []).append(index)
        found: tuple[Together, ...] = reader.reduce(
            source,
            Sweep(
                tuple(
                    (
                        ways[way].keyed if done <= DRAWS else ways[way].kept,
                        Asked(tuple(_ask(clusterings[index], states[index]) for index in here)),
                    )
                    for way, here in members.items()
                )
            ),
            merge_parts,
            name=f"{name}{pass_name(done)}",
            form=FORM,
        )
        for here, part in zip(members.values(), found, strict=True):
            for index, learnt in zip(here, part.each, strict=True):
                states[index] = advance(clusterings[index], states[index], learnt)
        _commit(reader, states, done, name)
    for each, state in zip(clusterings, states, strict=True):
        where = f"{each.candidate} ({each.fold.name})"
        if state.failure:
            reader.emit(Note(f"{where} could not be fitted: {state.failure}"))
        elif not state.converged:
            why = "" if state.done else ", after which the time for the search ends"
            reader.emit(Note(f"{where} did not converge in {state.steps} steps{why}"))
    return tuple(states)


def _ask(clustering: Clustering, state: Centres) -> Draw | Assign:
    if state.passes >= DRAWS:
        return Assign(state.points, clustering.fold)
    size = PER_CLUSTER * clustering.clusters
    return Draw(state.points, clustering.fold, size, clustering.seed, state.passes + 1)


def advance(clustering: Clustering, state: Centres, learnt: Learnt) -> Centres:
    """Return where a clustering is after a pass: with more rows drawn, with its first centres, or a step further."""
    now = replace(state, passes=state.passes + 1)
    if isinstance(learnt, RowSample):
        return replace(now, points=np.concatenate([state.points, learnt.values]))
    if now.passes > DRAWS + 1:
        return _step(clustering, now, learnt)
    # Rows that were drawn twice have their weight once.
    held = learnt.weight > 0
    if held.sum() < clustering.clusters:
        said = f"of {held.sum()} distinct rows there are no {clustering.clusters} clusters"
        return replace(now, done=True, failure=said)
    return replace(now, points=first_centres(state.points[held], learnt.weight[held], clustering))


def first_centres(points: Numbers, weight: Numbers, clustering: Clustering) -> Numbers:
    """Cluster the rows that were drawn, each with the weight of the rows that it is nearest to, in memory."""
    from sklearn.cluster import KMeans

    # They are few, so that the best of several beginnings costs no pass.
    model = KMeans(clustering.clusters, n_init=10, random_state=clustering.seed)
    return np.asarray(model.fit(points, sample_weight=weight).cluster_centers_, np.float64)


def _step(clustering: Clustering, state: Centres, sums: CentreSums) -> Centres:
    """Move each centre to the mean of its rows; one without rows stays where it is."""
    weight, whole = sums.weight[:, None], sums.weight.sum()
    points = np.where(weight > 0, sums.total / np.maximum(weight, np.finfo(float).tiny), state.points)
    squares = ((points - state.points) ** 2).sum(axis=1)
    # The variance about the mean of all rows, from the sums about the centres.
    offset = state.points - sums.total.sum(axis=0) / whole
    spread = sums.inertia + (2 * offset * (sums.total - weight * state.points) + weight * offset**2).sum()
    converged = bool(squares.sum() <= clustering.tol * spread / whole / points.shape[1])
    inertia = max(0.0, sums.inertia - float(sums.weight @ squares))
    done = converged or state.steps >= clustering.most
    return replace(state, points=points, inertia=inertia, done=done, converged=converged)


def told_centres(estimator: Any, centres: Centres) -> Any:
    """Fit an estimator to its own centres for the sake of its types, then tell it what was found.

    Parameters
    ----------
    estimator : sklearn.cluster.KMeans
        Unfitted.
    centres : Centres
        Without failure.

    Returns
    -------
    sklearn.cluster.KMeans
        In float32, as the rows of the stream; ``labels_`` are those of its centres, for no other rows are held.
    """
    asked, points = estimator.get_params(), centres.points.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of centres that coincide
        estimator.set_params(init=points, n_init=1, max_iter=1).fit(points)
    estimator.set_params(**asked)
    estimator.cluster_centers_, estimator.labels_ = points, np.arange(len(points), dtype=np.int32)
    estimator.inertia_, estimator.n_iter_ = centres.inertia, centres.steps
    return estimator


def _known(reader: Reader, source: Source, states: list[Centres], name: str) -> int:
    """Go on after the last pass that the ledger knows, and count those before."""
    known = None if reader.ledger is None else reader.ledger.state.facts.get(f"{name}{CLUSTERED}")
    if known is None or reader.ledger is None:
        return 0
    held = unpacked(reader.ledger.read(known.payloads["centres"]))
    plain = json.loads(held["plain"].tobytes())
    states[:] = [Centres(held[f"points.{index}"], **said) for index, said in enumerate(plain)]
    done = int(known.body["pass"])
    for number in range(1, done + 1):
        reader.recall(f"{name}{pass_name(number)}", source, FORM)
    return done


def _commit(reader: Reader, states: Sequence[Centres], done: int, name: str) -> None:
    if reader.ledger is None:
        return
    arrays: dict[str, Any] = {f"points.{index}": state.points for index, state in enumerate(states)}
    plain = [{key: value for key, value in asdict(state).items() if key != "points"} for state in states]
    arrays["plain"] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    reader.ledger.append(
        f"{name}{CLUSTERED}",
        {"pass": done},
        {"centres": packed(arrays)},
        frees=[f"{name}{pass_name(done)}"],
    )
