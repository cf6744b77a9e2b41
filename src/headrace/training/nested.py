"""What choosing the best candidate reaches on rows that had no say in the choice: the score of nested folds (pure)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headrace.training.board import mean_scores
from headrace.training.leaderboard import estimate
from headrace.training.scoring import goodness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.engine.folds import Fold
    from headrace.training.board import Trained, Training


@dataclass(frozen=True)
class Choice:
    """What was chosen in one outer fold, by the folds within it."""

    fold: str
    candidate: str
    estimator: str
    params: dict[str, Any]
    prepare: dict[str, Any]
    epoch: int
    """Whose weights are judged: the rounded mean of the best ones in the folds within."""
    inner: float
    """Mean score of the folds within: the best there, and therefore too good."""
    score: float
    """On the rows of the outer fold, which had no say."""
    rows: int
    """Held rows of the outer fold."""


@dataclass(frozen=True)
class Nested:
    """The score of the choice itself."""

    metric: str
    value: float
    """Mean over the outer folds."""
    interval: tuple[float, float] | None
    """95 %, as those of the leaderboard."""
    choices: tuple[Choice, ...]
    """One an outer fold."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return asdict(self)


def nested_score(training: Training, folds: Sequence[Fold]) -> Nested | None:
    """Choose in every outer fold by the folds within it, and score what is chosen on the rows of the outer fold.

    Parameters
    ----------
    training : Training
        Of every candidate, with `Trained.inner`.
    folds : sequence of Fold
        From `headrace.engine.nesting.NestedFolds`.

    Returns
    -------
    Nested or None
        None when no outer fold has folds within it, or one cannot be scored.
    """
    outer = [number for number, fold in enumerate(folds) if fold.within is None]
    inside = {
        number: [place for place, fold in enumerate(folds) if fold.within == number] for number in outer
    }
    choices = [
        _choice(training, folds[number].name, number, inside[number]) for number in outer if inside[number]
    ]
    known = tuple(choice for choice in choices if choice is not None)
    if not known or len(known) < len(choices):
        return None
    values = [choice.score for choice in known]
    reach = estimate(values, training.ratio)
    interval = None if reach is None else (reach["low"], reach["high"])
    return Nested(training.metric, math.fsum(values) / len(values), interval, known)


def _choice(training: Training, name: str, number: int, inside: Sequence[int]) -> Choice | None:
    metric = training.metric
    best: tuple[float, Trained, list[Trained]] | None = None
    for each in training.trained:
        within = [one for one in each.inner if one.fold in inside]
        failed = any(one.failure or not one.scores for one in within)
        if each.is_baseline or failed or len(within) < len(inside):
            continue
        reached = goodness(mean_scores(one.scores for one in within), metric)
        # Candidates come best first, which is known of all rows: among equals the name decides, and not their order.
        if best is None or (-reached, each.candidate.name) < (-best[0], best[1].candidate.name):
            best = (reached, each, within)
    if best is None:
        return None
    _, chosen, within = best
    judged = next(fold for fold in chosen.folds if fold.fold == number)
    if not judged.history:
        return None
    epoch = max(1, round(sum(one.best_epoch for one in within) / len(within)))
    epoch = min(epoch, len(judged.history))
    scores, candidate = judged.history[epoch - 1], chosen.candidate
    inner = mean_scores(one.scores for one in within)
    if metric not in scores or metric not in inner:
        return None
    return Choice(
        name, candidate.name, candidate.estimator, candidate.params, candidate.prepare,
        epoch, inner[metric], scores[metric], judged.rows,
    )  # fmt: skip
