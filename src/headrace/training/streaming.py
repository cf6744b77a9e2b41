"""Each block to every live candidate before it is dropped; epochs, early stopping, best weights kept."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.engine.events import EpochScored
from headrace.engine.order import chunk_order
from headrace.errors import RunError
from headrace.training.blocks import Block
from headrace.training.candidates import build, capabilities
from headrace.training.scoring import SELECTED_BY, dense_parts, goodness, kind_of, score_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Future
    from sklearn.base import BaseEstimator

    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.blocks import BlockMaker, Prepared
    from headrace.training.candidates import Candidate
    from headrace.training.options import TrainOptions


@dataclass(frozen=True)
class Learner:
    """One candidate on its way through the stream."""

    candidate: Candidate
    estimator: BaseEstimator
    seconds: float = 0.0
    """Time spent in ``partial_fit``."""
    failure: str = ""
    """Why it was given up, if it was."""


@dataclass
class Trained:
    """A candidate after training, with its best weights."""

    candidate: Candidate
    estimator: BaseEstimator | None = None
    """Fitted at the best epoch; None when the candidate failed."""
    best_epoch: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    """On the validation rows, at the best epoch."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Scores after each epoch."""
    seconds: float = 0.0
    failure: str = ""
    since_better: int = 0
    """Epochs since the score last rose by more than the tolerance."""

    def document(self, metric: str) -> dict[str, Any]:
        """Row of the leaderboard."""
        return {
            "candidate": self.candidate.name,
            "estimator": self.candidate.estimator,
            "params": self.candidate.params,
            "validation": self.scores,
            "epochs": len(self.history),
            "best_epoch": self.best_epoch,
            "history": [
                {"epoch": epoch, "score": scores.get(metric)} for epoch, scores in enumerate(self.history, 1)
            ],
            "seconds": self.seconds,
            "failure": self.failure,
            "is_baseline": False,
            "best": False,
        }


@dataclass(frozen=True)
class Training:
    """All candidates after training."""

    metric: str
    """The validation metric that decided."""
    trained: tuple[Trained, ...]
    """Best first."""
    epochs: int
    """Passes over the data."""

    @property
    def best(self) -> Trained:
        """The winner."""
        return self.trained[0]


def train(
    reader: Reader,
    source: Source,
    maker: BlockMaker,
    candidates: Sequence[Candidate],
    options: TrainOptions,
    *,
    task: str,
    metric: str | None = None,
) -> Training:
    """Train every candidate on one ordered stream of blocks, one pass an epoch.

    Parameters
    ----------
    reader : Reader
        Runs the passes and counts them.
    source : Source
        The chunks.
    maker : BlockMaker
        Prepares the blocks.
    candidates : sequence of Candidate
        Trained together; none influences another.
    options : TrainOptions
        Epochs, patience, tolerance.
    task : str
        classification, regression or clustering.
    metric : str, optional
        Validation metric that decides; by default that of the task.

    Returns
    -------
    Training
        Every candidate at its best epoch.

    Raises
    ------
    RunError
        When every candidate failed, or there are no validation rows to choose by.
    """
    classes = maker.target.classes
    kind = kind_of(task, len(classes))
    metric = metric or SELECTED_BY[kind]
    board = {candidate.name: Trained(candidate) for candidate in candidates}
    chains = _chains(reader, candidates, seed=maker.splitter.seed)
    active = frozenset(board)
    held: list[Future[Any]] = []
    epoch = 0
    while active and epoch < options.epochs:
        epoch += 1
        chains, kept = reader.stream(
            source,
            chunk_order(len(source.chunks), seed=maker.splitter.seed, epoch=epoch),
            partial(maker, epoch=epoch),
            partial(learn, classes=classes, active=active),
            chains,
            name=f"epoch {epoch}",
            keep=_validation_of if epoch == 1 else None,
        )
        held = held or kept
        scoring = partial(_score, kind=kind, classes=classes, active=active)
        reports = [reader.client.submit(scoring, chain, *held, pure=False) for chain in chains]
        results: dict[str, tuple[Learner, dict[str, float]]] = {}
        for report in reader.client.gather(reports):
            results.update(report)
        active = frozenset(
            name
            for name, (learner, scores) in results.items()
            if note_epoch(board[name], learner, scores, epoch, metric, options)
        )
        reader.emit(
            EpochScored(epoch, {name: goodness(scores, metric) for name, (_, scores) in results.items()})
        )
    ranked = sorted(
        board.values(), key=lambda t: (t.estimator is None, -goodness(t.scores, metric), t.candidate.name)
    )
    if ranked[0].estimator is None:
        reasons = "; ".join(f"{t.candidate.name}: {t.failure}" for t in ranked)
        raise RunError(f"every candidate failed: {reasons}", where="models", mend="change their parameters")
    return Training(metric, tuple(ranked), epoch)


def learn(
    learners: tuple[Learner, ...], prepared: Prepared, *, classes: tuple[Any, ...], active: frozenset[str]
) -> tuple[Learner, ...]:
    """Give one block to the learners that are still active, and return them as new objects."""
    return tuple(
        _learn_one(learner, prepared.train, classes)
        if learner.candidate.name in active and not learner.failure
        else learner
        for learner in learners
    )


def _learn_one(learner: Learner, block: Block, classes: tuple[Any, ...]) -> Learner:
    if block.rows == 0:
        return learner
    estimator = copy.deepcopy(learner.estimator)
    able = capabilities(estimator)
    fixed: dict[str, Any] = {"classes": np.asarray(classes)} if able.classes else {}
    if block.weight is not None and not able.weight:
        return replace(learner, failure=f"{type(estimator).__name__} takes no weights")
    started = time.perf_counter()
    try:
        if able.sparse or isinstance(block.X, np.ndarray):
            _fit_rows(estimator, block.X, block, slice(None), fixed)
        else:
            for rows, part in dense_parts(block.X):
                _fit_rows(estimator, part, block, rows, fixed)
    except ValueError as error:
        # scikit-learn raises ValueError for divergence and for data that an estimator cannot take.
        return replace(learner, failure=" ".join(str(error).split())[:300])
    seconds = learner.seconds + time.perf_counter() - started
    return replace(learner, estimator=estimator, seconds=seconds)


def _fit_rows(estimator: BaseEstimator, X: Any, block: Block, rows: slice, fixed: dict[str, Any]) -> None:
    weight = {} if block.weight is None else {"sample_weight": block.weight[rows]}
    if block.y is None:
        estimator.partial_fit(X, **weight)
    else:
        estimator.partial_fit(X, block.y[rows], **fixed, **weight)


def _chains(reader: Reader, candidates: Sequence[Candidate], *, seed: int) -> list[Future[Any]]:
    """Deal the candidates to as many chains as there are threads; no result depends on how they are dealt."""
    learners = [Learner(candidate, build(candidate, seed=seed)) for candidate in candidates]
    chains = min(len(learners), reader.threads)
    return [reader.client.submit(tuple, learners[first::chains], pure=False) for first in range(chains)]


def _validation_of(prepared: Prepared) -> Block:
    return prepared.validation


def _score(
    learners: tuple[Learner, ...],
    *held: Block,
    kind: str,
    classes: tuple[Any, ...],
    active: frozenset[str],
) -> dict[str, tuple[Learner, dict[str, float]]]:
    block = concatenate(held)
    return {
        learner.candidate.name: (
            learner,
            score_block(
                learner.estimator,
                block,
                kind=kind,
                sparse=capabilities(learner.estimator).sparse,
                classes=classes,
            )
            if not learner.failure and block.rows
            else {},
        )
        for learner in learners
        if learner.candidate.name in active
    }


def concatenate(blocks: Sequence[Block]) -> Block:
    """Put blocks one below the other."""
    from scipy import sparse

    matrices = [block.X for block in blocks]
    dense = isinstance(matrices[0], np.ndarray)
    X = np.concatenate(matrices) if dense else sparse.vstack(matrices, format="csr")
    targets = [block.y for block in blocks if block.y is not None]
    weights = [block.weight for block in blocks if block.weight is not None]
    return Block(
        X,
        np.concatenate(targets) if targets else None,
        np.concatenate(weights) if weights else None,
    )


def note_epoch(
    trained: Trained,
    learner: Learner,
    scores: dict[str, float],
    epoch: int,
    metric: str,
    options: TrainOptions,
) -> bool:
    """Write down an epoch of a candidate, and say whether it goes on."""
    trained.seconds = learner.seconds
    if learner.failure:
        trained.failure = learner.failure
        return False
    before = goodness(trained.scores, metric)
    now = goodness(scores, metric)
    trained.history.append(scores)
    if trained.estimator is None or now > before:
        better = trained.estimator is None or now > before + options.tolerance * max(1.0, abs(before))
        trained.estimator, trained.scores = learner.estimator, scores
        trained.best_epoch = epoch
        trained.since_better = 0 if better else trained.since_better + 1
    else:
        trained.since_better += 1
    return math.isinf(now) or trained.since_better < options.patience
