"""Calibrated probabilities and a chosen threshold, from what a candidate says of rows that it did not learn from (pure)."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace.training.scoring import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.training.options import ThresholdOptions
    from headrace.training.prepared import Block, Matrix

Calibration = Literal["sigmoid", "isotonic"]


@dataclass(frozen=True)
class Answers:
    """What a candidate says of rows that it did not learn from.

    Attributes
    ----------
    said : ndarray, shape (rows,) or (rows, classes)
        Decision function, or probabilities where there is none; of numbers the prediction.
    probabilities : ndarray, shape (rows,) or (rows, classes), optional
        Of the second of two classes, or of all; None where the candidate gives none.
    y : ndarray, shape (rows,)
        Labels.
    weight : ndarray, shape (rows,), optional
        Weights of the rows, those of their classes included.
    """

    said: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    y: NDArray[Any]
    weight: NDArray[np.float64] | None

    @classmethod
    def of(cls, estimator: Any, block: Block, *, sparse: bool) -> Answers:
        """Ask a fitted estimator about the rows of a block that has labels or values."""
        assert block.y is not None, "rows that judge have labels"
        ways = [way for way in ("decision_function", "predict_proba") if hasattr(estimator, way)] or [
            "predict"
        ]
        said = [_asked(getattr(estimator, way), block.X, sparse=sparse) for way in ways]
        return cls(said[0], said[-1] if ways[-1] == "predict_proba" else None, block.y, block.weight)


def _asked(method: Callable[[Any], Any], X: Matrix, *, sparse: bool) -> NDArray[np.float64]:
    """Ask part by part; of two classes, about the second."""
    said = np.concatenate([np.asarray(method(part), np.float64) for _, part in parts_of(X, sparse=sparse)])
    return said[:, 1] if said.ndim == 2 and said.shape[1] == 2 else said


def together(answers: Sequence[Answers], class_weight: Sequence[float], classes: Sequence[Any]) -> Answers:
    """Put the answers of folds one below the other, each row with its own weight alone.

    Weights of classes are taken back: they change how often a class seems to occur, and probabilities are to say how often it does.
    """
    y = np.concatenate([each.y for each in answers])
    weights = [each.weight for each in answers if each.weight is not None]
    weight = np.concatenate(weights) if weights else None
    if weight is not None and class_weight:
        weight = weight / np.asarray(class_weight)[np.searchsorted(np.asarray(classes), y)]
    given = [each.probabilities for each in answers if each.probabilities is not None]
    probabilities = np.concatenate(given) if given else None
    return Answers(np.concatenate([each.said for each in answers]), probabilities, y, weight)


def calibration(answers: Answers, method: Calibration) -> Any:
    """Learn how answers become probabilities, as `CalibratedClassifierCV` with ``ensemble=False`` does from the same ones.

    Parameters
    ----------
    answers : Answers
        Of a classifier, or of its like in several folds, about rows that were not learnt from.
    method : {"sigmoid", "isotonic"}
        A logistic curve (Platt 1999), or steps that rise (Zadrozny & Elkan 2002).

    Returns
    -------
    CalibratedClassifierCV
        Of answers, shape (rows, 1) or (rows, classes): its estimator passes them on.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    said = answers.said.reshape(len(answers.y), -1)
    every = np.arange(len(said))
    # All rows are asked about, in one fold: the estimator is frozen and learns from none of them.
    frozen = FrozenEstimator(_passing_on(answers, said.shape[1]))
    learnt = CalibratedClassifierCV(frozen, method=method, cv=[(every, every)])
    with warnings.catch_warnings():
        # A frozen estimator takes no weights; the calibration does, and nothing else is fitted.
        warnings.filterwarnings("ignore", message=".*does not appear to accept sample_weight")
        return learnt.fit(said, answers.y, sample_weight=answers.weight).set_params(cv=None)


def calibrated(estimator: Any, learnt: Any) -> Any:
    """Put a fitted classifier in the place of what passes on answers, in what `calibration` has learnt."""
    from sklearn.frozen import FrozenEstimator

    made = copy.deepcopy(learnt)
    frozen = FrozenEstimator(estimator)
    made.calibrated_classifiers_[0].estimator = frozen
    made.n_features_in_ = estimator.n_features_in_
    return made.set_params(estimator=frozen)


def _passing_on(answers: Answers, width: int) -> Any:
    """Make a fitted classifier whose decision function is the row that it is given."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression()
    model.classes_, model.n_features_in_ = np.unique(answers.y), width
    model.coef_, model.intercept_ = np.eye(width), np.zeros(width)
    return model


def with_threshold(estimator: Any, threshold: float) -> Any:
    """Put a `FixedThresholdClassifier` around a fitted classifier of two classes."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    first, second = estimator.classes_
    made = FixedThresholdClassifier(
        FrozenEstimator(estimator), threshold=threshold, pos_label=second, response_method="predict_proba"
    )
    # Its fit looks at nothing but the classes of the labels: all that it is given is frozen.
    return made.fit(np.zeros((2, estimator.n_features_in_)), np.array([first, second]))


def best_threshold(
    probabilities: NDArray[np.float64],
    positive: NDArray[np.bool_],
    weight: NDArray[np.float64] | None,
    options: ThresholdOptions,
) -> tuple[float, float]:
    """Find the threshold at which a metric is best, of all that tell the rows apart.

    Parameters
    ----------
    probabilities : ndarray, shape (rows,)
        Of the second class.
    positive : ndarray of bool, shape (rows,)
        Whether a row is of that class.
    weight : ndarray, shape (rows,), optional
        Weights of the rows.
    options : ThresholdOptions
        The metric, or what each kind of error costs.

    Returns
    -------
    threshold : float
        Between 0 and 1, in the middle between two probabilities; a row is of the second class from there on.
    value : float
        The metric there; of costs the mean over the rows.
    """
    order = np.argsort(-probabilities, kind="stable")
    p = probabilities[order]
    w = np.ones(len(p)) if weight is None else weight[order]
    ends = np.flatnonzero(np.append(p[1:] != p[:-1], True))
    true = np.append(0.0, np.cumsum(w * positive[order])[ends])
    false = np.append(0.0, np.cumsum(w * ~positive[order])[ends])
    levels = np.concatenate([[1.0], p[ends], [0.0]])
    cuts = (levels[:-1] + levels[1:]) / 2
    value = _values(true, false, options)
    wanted = -value if options.cost is not None else value
    possible = (cuts > 0) & (cuts < 1)
    at = int(np.argmax(np.where(possible, wanted, -np.inf)))
    return float(cuts[at]), float(value[at])


def _values(
    true: NDArray[np.float64], false: NDArray[np.float64], options: ThresholdOptions
) -> NDArray[np.float64]:
    """Compute the metric from the weights of true and false positives at each cut, all rows being positive at the last."""
    positives, negatives = true[-1], false[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        if options.cost is not None:
            cost = options.cost
            total = (
                cost.false_positive * false
                + cost.false_negative * (positives - true)
                + cost.true_positive * true
                + cost.true_negative * (negatives - false)
            )
            return np.asarray(total / (positives + negatives))
        if options.metric == "f1":
            return np.asarray(np.nan_to_num(2 * true / (true + false + positives)))
        return np.asarray(np.nan_to_num((true / positives + (negatives - false) / negatives) / 2))
