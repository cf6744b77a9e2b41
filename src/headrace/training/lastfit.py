"""The last fit: the best candidate of several folds, or those of an ensemble, learn from all rows that are not for the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import RunError
from headrace.training.streaming import Entrant, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.training.board import Trained
    from headrace.training.learning import Scored


def retrain(stream: Stream, best: Sequence[Trained]) -> dict[str, Any]:
    """Fit candidates of several folds to all their rows side by side, each for the rounded mean of its best epochs.

    Parameters
    ----------
    stream : Stream
        Whose maker has no folds: its training rows are all that are not for the test, and nothing judges.
    best : sequence of Trained
        With folds.

    Returns
    -------
    dict of str to estimator
        Fitted, by name.

    Raises
    ------
    RunError
        When one fails on all rows, which it did in no fold.
    """
    epochs = {each.candidate.name: each.best_epoch for each in best}
    most = max(epochs.values())
    options = stream.options.model_copy(update={"epochs": most, "patience": most + 1, "tolerance": 0.0})
    last = _Last(**{
        name: getattr(stream, name) for name in ("reader", "source", "maker", "task", "metric", "name")
    }, options=options, last=epochs)  # fmt: skip
    fitted = last.train([Entrant(each.candidate) for each in best]).trained
    for each in fitted:
        if each.failure:
            raise RunError(f"{each.candidate.name} failed on all rows: {each.failure}", where="models")
    return {each.candidate.name: each.estimator for each in fitted}


@dataclass
class _Last(Stream):
    """Trains to numbers of epochs that are known: the last weights count, and nothing is scored."""

    last: Mapping[str, int] = field(default_factory=dict)

    def _noted(self, trained: Trained, one: Scored, epoch: int) -> bool:
        trained.failure, trained.seconds = one.learner.failure, one.learner.seconds
        trained.estimator, trained.best_epoch = one.learner.estimator, epoch
        trained.history.append({})
        return not trained.failure and epoch < self.last[trained.candidate.name]

    def _tell(self, epoch: int, scores: Mapping[tuple[str, int], dict[str, float]]) -> None:
        """Nothing is scored, so there is nothing to tell."""
