"""The board: what is known of each candidate in each fold, how it goes on, and who is best (pure)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from headrace.errors import RunError
from headrace.training.candidates import ENSEMBLE
from headrace.training.scoring import goodness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sklearn.base import BaseEstimator

    from headrace.training.calibration import Answers
    from headrace.training.candidates import Candidate
    from headrace.training.certainty import Certainty
    from headrace.training.checkpoint import Learner
    from headrace.training.ensembles import Blend
    from headrace.training.nested import Nested
    from headrace.training.options import TrainOptions

WRITTEN = (
    "best_epoch", "scores", "history", "seconds", "failure", "since_better", "microseconds", "rows", "stopped",
)  # fmt: skip
"""What the ledger holds of a candidate in a fold beside its weights."""


@dataclass(frozen=True)
class Fitted:
    """What was fitted outright, in one fold."""

    estimator: Any
    seconds: float
    """Its own, and its share of those of passes that others needed as well."""
    certainty: Certainty | None = None
    """Of its coefficients, where it is linear and has no penalty."""


@dataclass
class Trained:
    """A candidate after training, with its best weights: in one fold, or all its folds together."""

    candidate: Candidate
    estimator: BaseEstimator | None = None
    """Fitted at the best epoch; None when the candidate failed, or before a best one of folds is fitted to all rows."""
    best_epoch: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    """On the validation rows, at the best epoch; of several folds the means."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Scores after each epoch."""
    seconds: float = 0.0
    """In ``partial_fit``, in all folds; of what is fitted outright its share of whole passes, reading included."""
    failure: str = ""
    since_better: int = 0
    """Epochs since the score last rose by more than the tolerance."""
    microseconds: float = 0.0
    """To predict one row, of many at once."""
    rows: int = 0
    """Validation rows."""
    stopped: int = 0
    """Rows of data read when it was dropped at a rung; 0 when it never was."""
    fold: int = 0
    view: int = 0
    is_baseline: bool = False
    """Whether it is there to compare with, and never the winner."""
    folds: tuple[Trained, ...] = ()
    """Of each fold, when there are several."""
    inner: tuple[Trained, ...] = ()
    """Of each fold within another, when folds are nested."""
    answers: tuple[Answers, ...] = ()
    """What one of the best candidates says of the validation rows of each fold, where that is asked for."""

    @property
    def key(self) -> tuple[str, int]:
        """As `Learner.key`."""
        return self.candidate.name, self.fold

    def note(self) -> dict[str, Any]:
        """Return what the ledger holds beside the weights."""
        held = asdict(replace(self, estimator=None, folds=(), inner=(), answers=()))
        return {"name": self.candidate.name, "fold": self.fold, **{name: held[name] for name in WRITTEN}}

    def recall(self, note: Mapping[str, Any]) -> None:
        """Take over what `note` returned."""
        for name in WRITTEN:
            setattr(self, name, note[name])


@dataclass(frozen=True)
class Training:
    """All candidates after training."""

    metric: str
    """The validation metric that decided."""
    trained: tuple[Trained, ...]
    """Best first, baselines last."""
    epochs: int
    """Passes over the data."""
    retrained: int = 0
    """Epochs in which the best one was fitted to all rows that are not for the test; 0 when it was not."""
    everything: bool = False
    """Whether the best one has learnt from the rows of the test as well, after these had judged it."""
    ratio: float = 0.0
    """Validation rows over training rows of the folds."""
    nested: Nested | None = None
    """What choosing reaches, when folds are nested."""
    blend: Blend | None = None
    """How the members of an ensemble are put together, where there is one."""
    threshold: float | None = None
    """Probability from which a row is of the second class, where that was chosen."""

    @property
    def best(self) -> Trained:
        """The winner."""
        return self.trained[0]

    @property
    def fitted_to(self) -> str:
        """Which rows the winner has learnt from."""
        if self.everything:
            return "all rows, those of the test after they had judged"
        return "training and validation rows" if self.retrained else "training rows"


def note_epoch(
    trained: Trained,
    learner: Learner,
    scores: dict[str, float],
    epoch: int,
    metric: str,
    options: TrainOptions,
) -> bool:
    """Write down an epoch of a candidate in a fold, and say whether it goes on."""
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


def mean_scores(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Average scores over folds; a metric that is not defined in one of them is left out."""
    held = list(scores)
    common = [name for name in held[0] if all(name in each for each in held)] if held else []
    return {name: math.fsum(each[name] for each in held) / len(held) for name in common}


def together(folds: tuple[Trained, ...]) -> Trained:
    """Put the folds of one candidate together: mean scores, the rounded mean of the best epochs, all seconds."""
    if len(folds) == 1:
        return folds[0]
    first = folds[0]
    failure = next((each.failure for each in folds if each.failure), "")
    longest = max(len(each.history) for each in folds)
    return Trained(
        first.candidate,
        best_epoch=max(1, round(sum(each.best_epoch for each in folds) / len(folds))),
        scores={} if failure else mean_scores(each.scores for each in folds),
        history=[
            mean_scores(each.history[min(epoch, len(each.history) - 1)] for each in folds if each.history)
            for epoch in range(longest)
        ],
        seconds=sum(each.seconds for each in folds),
        failure=failure,
        microseconds=sum(each.microseconds for each in folds) / len(folds),
        rows=sum(each.rows for each in folds),
        stopped=first.stopped,
        view=first.view,
        is_baseline=first.is_baseline,
        folds=folds,
    )


def rank(board: Iterable[Trained], metric: str) -> tuple[Trained, ...]:
    """Order candidates: those that came furthest first, among them the best score; then failed ones, then baselines.

    An ensemble comes after a candidate that is as good.
    """
    return tuple(
        sorted(
            board,
            key=lambda t: (
                t.is_baseline,
                bool(t.failure),
                -t.stopped if t.stopped else -math.inf,
                -goodness(t.scores, metric),
                t.candidate.name == ENSEMBLE,
                t.candidate.name,
            ),
        )
    )


def all_failed(board: Iterable[Trained]) -> RunError:
    """Say why there is no model."""
    reasons = "; ".join(f"{t.candidate.name}: {t.failure.rstrip('.')}" for t in board if not t.is_baseline)
    return RunError(f"every candidate failed: {reasons}", where="models", mend="change their parameters")
