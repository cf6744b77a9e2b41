"""The last fit: the best candidate of several folds learns from all rows that are not for the test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.training.streaming import Entrant, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.training.board import Trained, Training
    from headrace.training.learning import Scored


def retrain(stream: Stream, training: Training) -> Training:
    """Fit the best candidate of several folds to all their rows, for the rounded mean of its best epochs.

    Parameters
    ----------
    stream : Stream
        Whose maker has no folds: its training rows are all that are not for the test, and nothing judges.
    training : Training
        With folds.

    Returns
    -------
    Training
        The same with a fitted winner.

    Raises
    ------
    RunError
        When it fails on all rows, which it did in no fold.
    """
    best = training.best
    options = stream.options.model_copy(
        update={"epochs": best.best_epoch, "patience": best.best_epoch + 1, "tolerance": 0.0}
    )
    last = _Last(**{
        name: getattr(stream, name) for name in ("reader", "source", "maker", "task", "metric", "name")
    }, options=options)  # fmt: skip
    fitted = last.train([Entrant(best.candidate)]).best
    winner = replace(best, estimator=fitted.estimator)
    return replace(training, trained=(winner, *training.trained[1:]), retrained=best.best_epoch)


class _Last(Stream):
    """Trains to a number of epochs that is known: the last weights count, and nothing is scored."""

    def _noted(self, trained: Trained, one: Scored, epoch: int) -> bool:
        trained.failure, trained.seconds = one.learner.failure, one.learner.seconds
        trained.estimator, trained.best_epoch = one.learner.estimator, epoch
        trained.history.append({})
        return not trained.failure

    def _tell(self, epoch: int, scores: Mapping[tuple[str, int], dict[str, float]]) -> None:
        """Nothing is scored, so there is nothing to tell."""
