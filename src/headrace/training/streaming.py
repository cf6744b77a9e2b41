"""Each block to every live candidate before it is dropped; epochs, early stopping, best weights kept."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.engine.commits import Form
from headrace.engine.events import EpochScored, Note
from headrace.engine.order import chunk_order
from headrace.errors import RunError
from headrace.training.candidates import build, capabilities
from headrace.training.checkpoint import Learner, dump_block, dump_learners, load_block, load_learners
from headrace.training.prepared import Block
from headrace.training.scoring import SELECTED_BY, dense_parts, goodness, kind_of, score_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distributed import Future
    from sklearn.base import BaseEstimator

    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.blocks import BlockMaker
    from headrace.training.candidates import Candidate
    from headrace.training.options import TrainOptions
    from headrace.training.prepared import Prepared


EPOCH = "epoch"
"""Fact of the ledger: an epoch is done and scored."""

WRITTEN = ("best_epoch", "scores", "history", "seconds", "failure", "since_better")
"""What the ledger holds of a candidate beside its weights."""


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
    form = _form(candidates)
    board, learners, epoch, best = _begin(reader, candidates, form, seed=maker.splitter.seed)
    held: list[Future[Any]] = []
    for done in range(1, epoch + 1):
        recalled = reader.recall(f"epoch {done}", source, form)
        held = held or recalled
    while learners and epoch < options.epochs:
        epoch += 1
        active = frozenset(learner.candidate.name for learner in learners)
        chains, kept = reader.stream(
            source,
            chunk_order(len(source.chunks), seed=maker.splitter.seed, epoch=epoch),
            maker.for_epoch(epoch),
            partial(learn, classes=classes, active=active),
            _chains(reader, learners),
            name=f"epoch {epoch}",
            keep=_validation_of if epoch == 1 else None,
            form=form,
        )
        held = held or kept
        scoring = partial(_score, kind=kind, classes=classes, active=active)
        reports = [reader.client.submit(scoring, chain, *held, pure=False) for chain in chains]
        results: dict[str, tuple[Learner, dict[str, float]]] = {}
        for report in reader.client.gather(reports):
            results.update(report)
        learners = [
            learner
            for name, (learner, scores) in sorted(results.items())
            if note_epoch(board[name], learner, scores, epoch, metric, options)
        ]
        reader.emit(
            EpochScored(epoch, {name: goodness(scores, metric) for name, (_, scores) in results.items()})
        )
        best = _commit_epoch(reader, board, learners, epoch, best)
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


def _chains(reader: Reader, learners: Sequence[Learner]) -> list[Future[Any]]:
    """Deal the learners to as many chains as there are threads; no result depends on how they are dealt."""
    chains = min(len(learners), reader.threads)
    return [reader.client.submit(tuple, learners[first::chains], pure=False) for first in range(chains)]


def _form(candidates: Sequence[Candidate]) -> Form:
    load = partial(load_learners, candidates={candidate.name: candidate for candidate in candidates})
    return Form(dump_learners, load, _dump_held, load_block)


def _dump_held(*blocks: Block) -> bytes:
    return dump_block(concatenate(blocks))


def _begin(
    reader: Reader, candidates: Sequence[Candidate], form: Form, *, seed: int
) -> tuple[dict[str, Trained], list[Learner], int, dict[str, bytes]]:
    """Begin with unfitted learners, or after the last epoch that the ledger knows.

    Returns
    -------
    board : dict of str to Trained
    learners : list of Learner
        Those that go on.
    epoch : int
        The last one that is done.
    best : dict of str to bytes
        The best weights of each candidate, as written.
    """
    board = {candidate.name: Trained(candidate) for candidate in candidates}
    known = None if reader.ledger is None else reader.ledger.state.facts.get(EPOCH)
    if known is None or reader.ledger is None:
        fresh = [Learner(candidate, build(candidate, seed=seed)) for candidate in candidates]
        return board, sorted(fresh, key=lambda learner: learner.candidate.name), 0, {}
    pieces = {label: reader.ledger.read(payload) for label, payload in known.payloads.items()}
    learners = form.load([pieces[label] for label in sorted(pieces) if label.startswith("learner")])
    best = {label: piece for label, piece in pieces.items() if label.startswith("best")}
    for (learner,) in (form.load([piece]) for piece in best.values()):
        board[learner.candidate.name].estimator = learner.estimator
    for name, entry in known.body["board"].items():
        for attribute, value in entry.items():
            setattr(board[name], attribute, value)
    return board, list(learners), int(known.body["epoch"]), best


def _commit_epoch(
    reader: Reader,
    board: Mapping[str, Trained],
    learners: Sequence[Learner],
    epoch: int,
    best: Mapping[str, bytes],
) -> dict[str, bytes]:
    """Write down who goes on and the best weights of each candidate, and return the latter as written."""
    if reader.ledger is None:
        return {}
    now = dict(best)
    try:
        going = {f"learner-{i:04}": piece for i, piece in enumerate(dump_learners(learners))}
        for number, (name, trained) in enumerate(sorted(board.items())):
            if trained.best_epoch == epoch and trained.estimator is not None:
                (now[f"best-{number:04}"],) = dump_learners(
                    [Learner(board[name].candidate, trained.estimator)]
                )
    except RunError as error:
        reader.emit(Note(f"epoch {epoch} would be done again after a crash: {error}"))
        return now
    entries = {
        name: {
            key: value for key, value in asdict(replace(trained, estimator=None)).items() if key in WRITTEN
        }
        for name, trained in board.items()
    }
    reader.ledger.append(
        EPOCH, {"epoch": epoch, "board": entries}, {**going, **now}, frees=[f"epoch {epoch}"]
    )
    return now


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
