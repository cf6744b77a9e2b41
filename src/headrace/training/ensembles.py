"""Several of the best candidates as one, learnt from what they say of rows that they did not learn from (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.training.board import Trained, rank, together
from headrace.training.calibration import Answers
from headrace.training.calibration import together as joined
from headrace.training.candidates import ENSEMBLE, Candidate, in_double
from headrace.training.prepared import Block
from headrace.training.scoring import kind_of, score_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.training.board import Training
    from headrace.training.options import EnsembleOptions

    Numbers = NDArray[np.float64]

PARTS = 5
"""Parts of the validation rows of a holdout, each judged by what was learnt from the others."""
DIGITS = 6
"""Of a weight: fewer than the minimisation finds, so that its last bits do not make another model."""


@dataclass(frozen=True)
class Said:
    """What several candidates say of the same rows, which they did not learn from.

    Attributes
    ----------
    outputs : ndarray, shape (rows, candidates, outputs)
        Predictions, probabilities of the second of two classes, or of each of more.
    y : ndarray, shape (rows,)
        Labels or values.
    weight : ndarray, shape (rows,), optional
        Weights of the rows.
    """

    outputs: Numbers
    y: NDArray[Any]
    weight: Numbers | None

    @classmethod
    def of(cls, answers: Sequence[Answers]) -> Said:
        """Lay the answers of several candidates side by side."""
        given = [each.said if each.probabilities is None else each.probabilities for each in answers]
        first = answers[0]
        outputs = np.stack([np.asarray(each, np.float64).reshape(len(first.y), -1) for each in given], axis=1)
        return cls(outputs, first.y, first.weight)

    @classmethod
    def joined(cls, parts: Sequence[Said]) -> Said:
        """Put rows one below the other."""
        weights = [each.weight for each in parts if each.weight is not None]
        return cls(
            np.concatenate([each.outputs for each in parts]),
            np.concatenate([each.y for each in parts]),
            np.concatenate(weights) if weights else None,
        )

    def take(self, rows: NDArray[Any]) -> Said:
        """Return some rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Said(self.outputs[rows], self.y[rows], weight)

    @property
    def flat(self) -> Numbers:
        """Outputs as scikit-learn gives them to a final estimator, shape (rows, candidates * outputs)."""
        return self.outputs.reshape(len(self.outputs), -1)


@dataclass(frozen=True)
class Blend:
    """How what candidates say becomes one answer.

    Attributes
    ----------
    names : tuple of str
        Of the candidates.
    weights : tuple of float
        Of a weighted average, one a candidate; empty for a stack.
    final : estimator, optional
        Of a stack: takes `Said.flat`, and gives codes of classes where there are any.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...] = ()
    final: Any = None

    @property
    def members(self) -> tuple[str, ...]:
        """Candidates that have a say."""
        return tuple(name for i, name in enumerate(self.names) if not self.weights or self.weights[i] > 0)

    def answers(self, said: Said, classes: int) -> Answers:
        """Answer in their place, as `Answers.of` has it of the estimator that `combined` makes."""
        if self.weights:
            mean = np.average(said.outputs, axis=1, weights=self.weights)
            mean = mean[:, 0] if mean.shape[1] == 1 else mean
            return Answers(mean, mean if classes else None, said.y, said.weight)
        if not classes:
            return Answers(self.final.predict(said.flat), None, said.y, said.weight)
        probabilities = self.final.predict_proba(said.flat)
        probabilities = probabilities[:, 1] if classes == 2 else probabilities
        return Answers(self.final.decision_function(said.flat), probabilities, said.y, said.weight)


def heard(trained: Sequence[Trained], size: int) -> list[Trained]:
    """Choose whose answers are kept: of every way to prepare rows the best that reached the end, in their order."""
    found: list[Trained] = []
    for each in trained:
        same = [one for one in found if one.candidate.prepare == each.candidate.prepare]
        if len(same) < size and not (each.is_baseline or each.failure or each.stopped):
            found.append(each)
    return found


def add_ensemble(
    training: Training, options: EnsembleOptions, classes: tuple[Any, ...]
) -> tuple[Training, str]:
    """Put an ensemble of the best candidates on the board.

    What it reaches in a fold is judged by what was learnt from the candidates' answers of the other folds; of a holdout, in
    parts of its rows. What is kept is learnt from all answers.

    Parameters
    ----------
    training : Training
        With the answers of the best candidates.
    options : EnsembleOptions
        Its kind and size.
    classes : tuple
        Labels in order; empty for regression.

    Returns
    -------
    training : Training
        With `Training.blend` when there is an ensemble, which is the best only when it is better than every candidate.
    what : str
        What came of it.
    """
    best = training.best.candidate
    able = [
        each
        for each in heard(training.trained, options.size)
        if each.candidate.prepare == best.prepare
        and each.answers
        and (not classes or all(one.probabilities is not None for one in each.answers))
    ]
    if len(able) < 2:
        what = " and give probabilities" if classes else ""
        return training, f"no ensemble: fewer than two candidates see rows as {best.name} does{what}"
    names = tuple(each.candidate.name for each in able)
    folds = [Said.of(answers) for answers in zip(*(each.answers for each in able), strict=True)]
    learnt = blend(options.kind, names, Said.joined(folds), classes)
    if len(learnt.members) < 2:
        return training, f"no ensemble: no average of {', '.join(names)} is better than one of them alone"
    parts = _parts(folds)
    if classes and any(_classes_of(_others(parts, i)) < len(classes) for i in range(len(parts))):
        return training, "no ensemble: a class is too rare to be in all parts of the rows that judge"
    blends = [blend(options.kind, names, Said.joined(_others(parts, i)), classes) for i in range(len(parts))]
    answers = [by.answers(part, len(classes)) for by, part in zip(blends, parts, strict=True)]
    if len(folds) == 1:
        answers, blends = [joined(answers, (), ())], [learnt]
    entry = _candidate(learnt, best.prepare, classes)
    made = together(
        tuple(
            _in_fold(entry, [each.folds[fold] if each.folds else each for each in able], told, by, classes)
            for fold, (told, by) in enumerate(zip(answers, blends, strict=True))
        )
    )
    made.answers = tuple(answers)
    trained = rank((*training.trained, made), training.metric)
    place = next(place for place, each in enumerate(trained, 1) if each is made)
    what = f"the {options.kind} of {', '.join(learnt.members)} has place {place} of the leaderboard"
    return replace(training, trained=trained, blend=learnt), what


def blend(kind: str, names: tuple[str, ...], said: Said, classes: tuple[Any, ...]) -> Blend:
    """Learn how answers become one.

    Parameters
    ----------
    kind : {"average", "stack"}
        Weights that are not negative and together 1, with the least log loss or squared error; or the final estimator that
        scikit-learn's `StackingClassifier` and `StackingRegressor` have.
    names : tuple of str
        Candidates.
    said : Said
        By them.
    classes : tuple
        Labels in order; empty for regression.
    """
    if kind == "average":
        return Blend(names, tuple(average_weights(said, classes).tolist()))
    from sklearn.linear_model import LogisticRegression, RidgeCV

    final = LogisticRegression() if classes else RidgeCV()
    y = np.searchsorted(np.asarray(classes), said.y) if classes else said.y
    return Blend(names, final=final.fit(said.flat, y, sample_weight=said.weight))


def average_weights(said: Said, classes: tuple[Any, ...]) -> Numbers:
    """Find the weights of the average with the least log loss, or of numbers the least squared error.

    Both are convex in the weights, so that there is one minimum (stacked regressions, Breiman 1996; linear opinion pools).
    Squared errors are a form in the weights, whose matrix is one sum over the rows.

    Returns
    -------
    ndarray, shape (candidates,)
        Not negative, together 1 up to the sixth digit, to which they are rounded.
    """
    from scipy.optimize import minimize

    count = said.outputs.shape[1]
    weight = np.ones(len(said.y)) if said.weight is None else said.weight
    weight = weight / weight.sum()
    if classes:
        codes = np.searchsorted(np.asarray(classes), said.y)
        given = _of_the_class(said.outputs, codes).clip(np.finfo(float).tiny)

        def loss(w: Numbers) -> tuple[float, Numbers]:
            mixed = (given @ w).clip(np.finfo(float).tiny)
            return -float(weight @ np.log(mixed)), -(given.T @ (weight / mixed))
    else:
        errors = said.outputs[:, :, 0] - said.y[:, None]
        products = errors.T @ (weight[:, None] * errors)
        products = products / max(products.trace() / count, np.finfo(float).tiny)

        def loss(w: Numbers) -> tuple[float, Numbers]:
            return float(w @ products @ w), 2 * products @ w

    found = minimize(
        loss,
        np.full(count, 1 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    return np.asarray(np.round(found.x.clip(0), DIGITS))


def combined(learnt: Blend, estimators: Mapping[str, Any], classes: tuple[Any, ...]) -> Any:
    """Put fitted candidates together as an ensemble of scikit-learn, of which nothing is fitted again.

    Parameters
    ----------
    learnt : Blend
        How their answers become one.
    estimators : mapping of str to estimator
        Fitted, by name; of `Blend.members` at least.
    classes : tuple
        Labels in order; empty for regression.

    Returns
    -------
    VotingClassifier, VotingRegressor, StackingClassifier or StackingRegressor
        Of frozen estimators.
    """
    from sklearn import ensemble
    from sklearn.frozen import FrozenEstimator

    # Frozen, they are out of reach of what is done to estimators when they are packaged; a name may be that of a parameter.
    held = [
        (f"{place}: {name}".replace("__", "_"), FrozenEstimator(in_double(estimators[name])))
        for place, name in enumerate(learnt.members, 1)
    ]
    made: Any = getattr(ensemble, _class(learnt, classes))
    if learnt.weights:
        voting = {"voting": "soft"} if classes else {}
        ready = made(held, weights=[weight for weight in learnt.weights if weight > 0], **voting)
    else:
        ready = made(held, final_estimator=FrozenEstimator(learnt.final), cv="prefit")
    # All that it is given is frozen, so that its fit looks at nothing but the labels and the number of features.
    labels = np.asarray(classes) if classes else np.zeros(1)
    return ready.fit(np.zeros((len(labels), held[0][1].n_features_in_)), labels)


def _of_the_class(outputs: Numbers, codes: NDArray[np.intp]) -> Numbers:
    """Return the probability that each candidate gives to the class of each row, shape (rows, candidates)."""
    if outputs.shape[2] == 1:
        return np.where(codes[:, None] == 1, outputs[:, :, 0], 1 - outputs[:, :, 0])
    return np.take_along_axis(outputs, codes[:, None, None], axis=2)[:, :, 0]


def _parts(folds: Sequence[Said]) -> Sequence[Said]:
    """Return the rows of the folds, or of a holdout its rows dealt in turn."""
    if len(folds) > 1:
        return folds
    part = np.arange(len(folds[0].y)) % PARTS
    return [folds[0].take(part == number) for number in range(PARTS)]


def _classes_of(parts: Sequence[Said]) -> int:
    return len(np.unique(np.concatenate([each.y for each in parts])))


def _others(parts: Sequence[Said], number: int) -> list[Said]:
    return [*parts[:number], *parts[number + 1 :]]


def _in_fold(
    entry: Candidate, members: Sequence[Trained], answers: Answers, learnt: Blend, classes: tuple[Any, ...]
) -> Trained:
    """Score the ensemble in a fold, made of what its members are there."""
    said = answers.said if answers.probabilities is None else answers.probabilities
    block = Block(np.empty((len(answers.y), 0), np.float32), answers.y, answers.weight)
    kind = kind_of("classification" if classes else "regression", len(classes))
    scores = score_outputs(said, block, kind=kind, classes=classes)
    return Trained(
        entry,
        estimator=combined(learnt, {each.candidate.name: each.estimator for each in members}, classes),
        best_epoch=max(each.best_epoch for each in members),
        scores=scores,
        history=[scores],
        seconds=sum(each.seconds for each in members),
        microseconds=sum(each.microseconds for each in members),
        rows=len(answers.y),
        fold=members[0].fold,
        view=members[0].view,
    )


def _candidate(learnt: Blend, prepare: dict[str, Any], classes: tuple[Any, ...]) -> Candidate:
    if learnt.weights:
        params: dict[str, Any] = {"weights": dict(zip(learnt.names, learnt.weights, strict=True))}
    else:
        params = {"estimators": list(learnt.names), "final_estimator": type(learnt.final).__name__}
    return Candidate(ENSEMBLE, f"sklearn.ensemble.{_class(learnt, classes)}", params, prepare)


def _class(learnt: Blend, classes: tuple[Any, ...]) -> str:
    return ("Voting" if learnt.weights else "Stacking") + ("Classifier" if classes else "Regressor")
