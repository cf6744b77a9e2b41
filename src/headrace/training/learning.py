"""One step: a block of prepared rows to the learners of a chain, which come back as new objects; and their scores."""

from __future__ import annotations

import copy
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.engine import rooms
from headrace.training.calibration import Answers
from headrace.training.candidates import BASELINES, capabilities, steps_of
from headrace.training.prepared import concatenate
from headrace.training.scoring import outputs, parts_of, score_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from headrace.training.checkpoint import Learner
    from headrace.training.prepared import Block, Prepared

BASELINE_ROWS = 1_000_000
"""A baseline learns from the blocks until it has seen so many rows: a yardstick needs no more."""


@dataclass(frozen=True)
class Scored:
    """A learner with what it reaches on the validation rows of its fold."""

    learner: Learner
    scores: dict[str, float]
    microseconds: float
    """To predict one row, of many at once."""
    rows: int
    """Validation rows."""


def learn(
    learners: tuple[Learner, ...], prepared: Prepared, *, classes: tuple[Any, ...]
) -> tuple[Learner, ...]:
    """Give one block to the learners of a chain, and return them as new objects.

    The rows of a view are taken once for all learners that see it, when these stand next to one another.
    """
    taught, view, block = [], -1, None
    for learner in learners:
        if not learner.failure and not _knows_enough(learner):
            if learner.view != view or block is None:
                view, block = learner.view, prepared.train(learner.view)
            learner = _learn_one(learner, block, classes)  # noqa: PLW2901 - the learner goes on as a new object
        taught.append(learner)
    return tuple(taught)


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
        labels = block.y if block.y is None or not classes else narrow_labels(block.y, classes)
        if able.wide or not (able.sparse or isinstance(block.X, np.ndarray)):
            for rows, part in parts_of(block.X, sparse=able.sparse):
                _fit_rows(estimator, part, labels, block.weight, rows, fixed)
        else:
            _fit_rows(estimator, block.X, labels, block.weight, slice(None), fixed)
    except ValueError as error:
        # scikit-learn raises ValueError for divergence and for data that an estimator cannot take.
        return replace(learner, failure=" ".join(str(error).split())[:300])
    seconds = learner.seconds + time.perf_counter() - started
    return replace(learner, estimator=estimator, seconds=seconds, rows=learner.rows + block.rows)


def _knows_enough(learner: Learner) -> bool:
    return learner.candidate.name in BASELINES and learner.rows >= BASELINE_ROWS


def narrow_labels(labels: NDArray[Any], classes: tuple[Any, ...]) -> NDArray[Any]:
    """Return whole numbers as bytes where the classes allow: scikit-learn looks for the distinct ones of each block.

    Parameters
    ----------
    labels : ndarray, shape (rows,)
        Each one of the classes.
    classes : tuple
        In ascending order.

    Returns
    -------
    ndarray, shape (rows,)
        Equal to `labels`, and to the classes that an estimator was given.
    """
    bounds = np.iinfo(np.int8)
    fits = labels.dtype.kind in "iu" and bounds.min <= classes[0] and classes[-1] <= bounds.max
    return labels.astype(np.int8) if fits else labels


def _fit_rows(
    estimator: BaseEstimator,
    X: Any,
    labels: NDArray[Any] | None,
    weights: NDArray[Any] | None,
    rows: slice,
    fixed: dict[str, Any],
) -> None:
    weight = {} if weights is None else {"sample_weight": weights[rows]}
    *before, last = steps_of(estimator)
    for step in before:
        # What comes before the last step of a pipeline is fitted to the first rows that it sees.
        X = step.transform(X) if _is_fitted(step) else step.fit_transform(X)
    if labels is None:
        last.partial_fit(X, **weight)
    else:
        last.partial_fit(X, labels[rows], **fixed, **weight)


def _is_fitted(step: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(step)
    except NotFittedError:
        return False
    return True


def score(
    learners: tuple[Learner, ...],
    *held: Sequence[Block | None],
    kind: str,
    classes: tuple[Any, ...],
) -> list[Scored]:
    """Score learners on the validation rows of their folds, as far as these have been read.

    Parameters
    ----------
    learners : tuple of Learner
    *held : sequence of Block or None
        Validation rows by view, of one chunk or of several together.
    kind : str
        As from `headrace.training.scoring.kind_of`.
    classes : tuple
        Labels in order.
    """
    from sklearn.exceptions import NotFittedError

    rooms.tidy(idle=0)  # no block is on its way, and validation rows are there twice for a moment
    found, view, block = [], -1, None
    for learner in learners:
        if learner.view != view or block is None:
            view = learner.view
            block = concatenate([one for blocks in held if (one := blocks[view]) is not None])
        scores: dict[str, float] = {}
        started = time.perf_counter()
        spent = 0.0
        if not learner.failure and block.rows:
            sparse = capabilities(learner.estimator).sparse
            # At a rung early in the first epoch a learner may not have seen a row.
            with suppress(NotFittedError):
                said = outputs(learner.estimator, block.X, kind=kind, sparse=sparse)
                spent = time.perf_counter() - started
                scores = score_outputs(said, block, kind=kind, classes=classes)
        found.append(Scored(learner, scores, 1e6 * spent / max(1, block.rows), block.rows))
    return found


def answer(estimator: Any, view: int, *held: Sequence[Block | None]) -> Answers:
    """Ask a fitted classifier about the validation rows of its view."""
    block = concatenate([one for blocks in held if (one := blocks[view]) is not None])
    return Answers.of(estimator, block, sparse=capabilities(estimator).sparse)


def without(learners: tuple[Learner, ...], gone: frozenset[str]) -> tuple[Learner, ...]:
    """Return the learners of a chain whose candidates go on."""
    return tuple(learner for learner in learners if learner.candidate.name not in gone)


def validation_of(prepared: Prepared) -> tuple[Block | None, ...]:
    """Return what is held of a prepared chunk."""
    return prepared.validation
