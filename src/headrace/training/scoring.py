"""Scores of the candidates on the validation rows, which are few enough to be held in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from headrace.training.prepared import Block, Matrix

SELECTED_BY = {
    "binary": "roc_auc",
    "multiclass": "log_loss",
    "regression": "rmse",
    "clustering": "silhouette",
}
"""The validation metric that decides between candidates, by kind of problem."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mse", "rmse", "mae", "inertia"})
SILHOUETTE_ROWS = 5_000
PART_ROWS = 8_192


def kind_of(task: str, classes: int) -> str:
    """Name the kind of problem: binary, multiclass, regression or clustering."""
    if task != "classification":
        return task
    return "binary" if classes == 2 else "multiclass"


def parts_of(X: Matrix, *, sparse: bool) -> Iterator[tuple[slice, Matrix]]:
    """Cut a matrix into runs of rows, dense ones where sparse ones are not taken, so that a block never becomes dense as a whole."""
    for start in range(0, X.shape[0], PART_ROWS):
        rows = slice(start, min(start + PART_ROWS, X.shape[0]))
        part = X[rows]
        yield rows, part if sparse or isinstance(part, np.ndarray) else part.toarray()


def outputs(estimator: BaseEstimator, X: Matrix, *, kind: str, sparse: bool) -> NDArray[Any]:
    """Compute what a fitted estimator says of the rows.

    Parameters
    ----------
    estimator : fitted estimator
        A candidate's.
    X : matrix, shape (rows, features)
        Prepared rows.
    kind : str
        As from `kind_of`.
    sparse : bool
        Whether the estimator takes sparse matrices.

    Returns
    -------
    ndarray
        The probability of the second class (rows,), of each class (rows, classes), the prediction (rows,), or the
        label of the cluster (rows,). An estimator without probabilities gives its decision function squashed by
        the logistic function, which keeps the order.
    """
    if X.shape[0] == 0:
        return np.empty(0)
    if X.shape[0] > PART_ROWS or not (sparse or isinstance(X, np.ndarray)):
        parts = parts_of(X, sparse=sparse)
        return np.concatenate([outputs(estimator, part, kind=kind, sparse=True) for _, part in parts])
    if kind in {"regression", "clustering"}:
        return np.asarray(estimator.predict(X))
    if hasattr(estimator, "predict_proba"):
        probabilities = np.asarray(estimator.predict_proba(X))
        return probabilities[:, 1] if kind == "binary" else probabilities
    decision = np.asarray(estimator.decision_function(X), dtype=np.float64)
    if kind == "binary":
        return 1.0 / (1.0 + np.exp(-np.clip(decision, -500, 500)))
    powers = np.exp(decision - decision.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def score_block(
    estimator: BaseEstimator, block: Block, *, kind: str, sparse: bool, classes: tuple[Any, ...]
) -> dict[str, float]:
    """Score a fitted estimator on the validation rows.

    Returns
    -------
    dict of str to float
        By metric; without those that are not defined on these rows, such as ROC-AUC of a single class.
    """
    return score_outputs(
        outputs(estimator, block.X, kind=kind, sparse=sparse), block, kind=kind, classes=classes
    )


def score_outputs(
    said: NDArray[Any], block: Block, *, kind: str, classes: tuple[Any, ...], only: str | None = None
) -> dict[str, float]:
    """Score what an estimator says, from `outputs`, as `score_block` does; by one metric alone where that is asked for."""
    measures = (
        _of_classes(said, block, classes, binary=kind == "binary")
        if kind in {"binary", "multiclass"}
        else _of_values(said, block)
        if kind == "regression"
        else _of_clusters(said, block)
    )
    scores = {name: float(measure()) for name, measure in measures.items() if only in {None, name}}
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _of_classes(
    said: NDArray[Any], block: Block, classes: tuple[Any, ...], *, binary: bool
) -> dict[str, Callable[[], float]]:
    from sklearn import metrics

    y, weight = block.y, block.weight
    labels = np.asarray(classes)
    if not binary:
        chosen = labels[said.argmax(axis=1)]
        return {
            "log_loss": lambda: metrics.log_loss(y, said, sample_weight=weight, labels=labels),
            "accuracy": lambda: metrics.accuracy_score(y, chosen, sample_weight=weight),
        }
    truth = (y == labels[1]).astype(np.int8)
    both = 0 < truth.sum() < len(truth)
    ranked, scores = truth, said
    if weight is None:
        # Both metrics sort by a stable sort, which takes three times as long as this one and no time after it. Counts of
        # rows are the same in any order; sums of weights would not be, to the last bit.
        order = np.argsort(said)[::-1]
        ranked, scores = truth[order], said[order]
    ranking = {
        "roc_auc": lambda: metrics.roc_auc_score(ranked, scores, sample_weight=weight),
        "average_precision": lambda: metrics.average_precision_score(ranked, scores, sample_weight=weight),
    }
    return {
        **(ranking if both else {}),
        "log_loss": lambda: metrics.log_loss(truth, said, sample_weight=weight, labels=[0, 1]),
        "brier": lambda: metrics.brier_score_loss(truth, said, sample_weight=weight),
        "accuracy": lambda: metrics.accuracy_score(truth, said > 0.5, sample_weight=weight),
    }


def _of_values(said: NDArray[Any], block: Block) -> dict[str, Callable[[], float]]:
    from sklearn import metrics

    y, weight = block.y, block.weight
    return {
        "rmse": lambda: metrics.root_mean_squared_error(y, said, sample_weight=weight),
        "mae": lambda: metrics.mean_absolute_error(y, said, sample_weight=weight),
        "r2": lambda: metrics.r2_score(y, said, sample_weight=weight),
    }


def _of_clusters(said: NDArray[Any], block: Block) -> dict[str, Callable[[], float]]:
    from sklearn import metrics

    X, labels = block.X[:SILHOUETTE_ROWS], said[:SILHOUETTE_ROWS]
    return {"silhouette": lambda: metrics.silhouette_score(X, labels)} if len(np.unique(labels)) > 1 else {}


def goodness(scores: dict[str, float], metric: str) -> float:
    """Turn a score into a number that is the higher the better; minus infinity when it is missing."""
    value = scores.get(metric)
    if value is None:
        return -math.inf
    return -value if metric in LOWER_IS_BETTER else value
