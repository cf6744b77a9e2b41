"""The splits by numbers that a row meets on its way through trees, of XGBoost or of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError
from headrace.packaging.exports.boosted import BOOSTED, read_trees
from headrace.packaging.exports.estimators import bare, members_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.packaging.exports.boosted import Trees

Split = tuple[int, float]
"""A feature and a border: rows of which the float32 of the feature is above the border part from the others."""
Tree = Callable[["NDArray[np.float32]"], Iterable[Split]]
"""Gives the splits by numbers that a row of features meets, shape (features,)."""


def trees_of(estimator: Any) -> Iterator[Tree]:
    """Give the trees that take the features: an estimator's own, or those in its calibration or among its members.

    `HistGradientBoosting` of scikit-learn has none here: where its trees part rows is in no public attribute.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Fitted.
    """
    yield from _trees(estimator, getattr(estimator, "n_features_in_", None))


def _trees(estimator: Any, features: int | None) -> Iterator[Tree]:
    estimator = bare(estimator)
    if getattr(estimator, "n_features_in_", features) != features:
        return  # a member that takes some features, or also what others say
    if type(estimator).__name__ in BOOSTED:
        with suppress(PackageError):  # what cannot be read is not exported either
            trees = read_trees(estimator)
            yield from (partial(_boosted, trees, root) for root in trees.roots)
    if hasattr(estimator, "tree_"):
        yield partial(_grown, estimator.tree_)
    for part in getattr(estimator, "calibrated_classifiers_", ()):
        yield from _trees(part.estimator, features)
    for member in members_of(estimator):
        yield from _trees(member, features)


def _boosted(trees: Trees, root: dict[str, Any], row: NDArray[np.float32]) -> Iterator[Split]:
    """Go through a tree of XGBoost: to `yes` where the float32 of a feature is less than the condition."""
    node = root
    while "leaf" not in node:
        feature, condition = trees.place(node), node["split_condition"]
        value = row[feature]
        if isinstance(condition, list):
            yes = value in condition
        else:
            yield feature, float(np.nextafter(np.float32(condition), np.float32(-np.inf)))
            yes = value < np.float32(condition)
        goes = node["missing"] if np.isnan(value) else node["yes" if yes else "no"]
        node = next(child for child in node["children"] if child["nodeid"] == goes)


def _grown(tree: Any, row: NDArray[np.float32]) -> Iterator[Split]:
    """Go through a tree of scikit-learn: to the left where the float32 of a feature is at most the threshold, a float64."""
    for node in tree.decision_path(row[np.newaxis]).indices:
        feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
        if feature >= 0 and np.isfinite(threshold):  # no leaf, nor what parts missing values from all others
            yield feature, threshold
