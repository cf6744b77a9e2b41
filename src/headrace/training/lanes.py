"""Lanes: one candidate learns on several chains of blocks, whose weights are averaged at fixed borders."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import WorkflowError
from headrace.training.candidates import class_path, steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.training.candidates import Candidate
    from headrace.training.checkpoint import Learner

AVERAGED = frozenset({
    "SGDClassifier", "SGDRegressor", "Perceptron", "PassiveAggressiveClassifier", "PassiveAggressiveRegressor",
})  # fmt: skip
"""Linear models of scikit-learn with a convex loss: the mean of several solutions is no worse than their mean loss."""


def require_averaging(candidates: Sequence[Candidate]) -> None:
    """Refuse candidates whose weights cannot be averaged.

    Raises
    ------
    WorkflowError
        When one of them is no linear model that learns by gradient steps.
    """
    for candidate in candidates:
        path = class_path(candidate)
        if not path.startswith("sklearn.linear_model.") or path.rsplit(".", 1)[-1] not in AVERAGED:
            raise WorkflowError(
                f"the weights of {candidate.name!r} ({candidate.estimator}) cannot be averaged over lanes",
                where="train.lanes",
                mend=f"leave lanes out, or use linear models only: {', '.join(sorted(AVERAGED))}",
            )


def mix(*lanes: tuple[Learner, ...]) -> tuple[Learner, ...]:
    """Average the learners of several lanes, one by one: iterative parameter mixing.

    Every lane learns from its own blocks, beginning with the same weights; then each float array and each float of the
    fitted state, running averages and step counts included, becomes the mean over the lanes that have learnt at all
    (Zinkevich, Weimer, Smola & Li 2010; mixed more than once: McDonald, Hall & Mann 2010).

    Parameters
    ----------
    *lanes : tuple of Learner
        The same candidates and folds in the same order.

    Returns
    -------
    tuple of Learner
        New objects; the seconds are those of the slowest lane, the rows those of the longest.
    """
    return tuple(_mean(learners) for learners in zip(*lanes, strict=True))


def _mean(learners: tuple[Learner, ...]) -> Learner:
    first = learners[0]
    failure = next((each.failure for each in learners if each.failure), "")
    taught = [each.estimator for each in learners if hasattr(steps_of(each.estimator)[-1], "coef_")]
    states = [vars(steps_of(estimator)[-1]) for estimator in taught]
    seconds, rows = max(each.seconds for each in learners), max(each.rows for each in learners)
    if failure or not states:
        return replace(first, failure=failure, seconds=seconds, rows=rows)
    mixed = copy.deepcopy(taught[0])
    last = steps_of(mixed)[-1]
    params = last.get_params(deep=False)
    for name in states[0]:
        if name not in params and all(_is_float(state[name]) for state in states):
            setattr(last, name, _average([state[name] for state in states]))
    return replace(first, estimator=mixed, seconds=seconds, rows=rows)


def _is_float(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def _average(values: list[Any]) -> Any:
    if isinstance(values[0], float):
        return float(np.mean(values))
    return np.mean(np.stack(values), axis=0, dtype=np.float64).astype(values[0].dtype)
