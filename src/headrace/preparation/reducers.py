"""The steps of recipes that make fewer features of many: principal components, singular vectors, random directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Learnt = Mapping[str, Any]


def _rows(count: int, width: int) -> Any:
    return np.random.default_rng(0).normal(size=(count, width))


def _pca(learnt: Learnt, X: Any) -> Any:
    from sklearn.decomposition import PCA

    components = np.array(learnt["components"])
    k, d = components.shape
    pca = PCA(k, svd_solver="full").fit(_rows(max(d, k) + 1, X.shape[1]))
    pca.components_, pca.mean_ = components, np.array(learnt["mean"])
    pca.explained_variance_ = np.array(learnt["variance"])
    pca.explained_variance_ratio_ = np.array(learnt["ratio"])
    pca.singular_values_ = np.sqrt(pca.explained_variance_ * max(1, learnt["rows"] - 1))
    pca.n_samples_, pca.noise_variance_ = learnt["rows"], learnt["noise"]
    return pca


def _svd(learnt: Learnt, X: Any) -> Any:
    from sklearn.decomposition import TruncatedSVD

    components = np.array(learnt["components"])
    k, d = components.shape
    svd = TruncatedSVD(k, algorithm="arpack" if k < d else "randomized", random_state=0).fit(
        _rows(k + 1, X.shape[1])
    )
    svd.components_ = components
    svd.singular_values_ = np.array(learnt["singular"])
    svd.explained_variance_ = np.array(learnt["variance"])
    svd.explained_variance_ratio_ = np.array(learnt["ratio"])
    return svd


def _project(learnt: Learnt, X: Any) -> Any:
    from sklearn.random_projection import GaussianRandomProjection

    return GaussianRandomProjection(learnt["components"], random_state=learnt["seed"]).fit(
        np.zeros((2, X.shape[1]))
    )


REDUCERS: dict[str, Callable[[Learnt, Any], Any]] = {"pca": _pca, "svd": _svd, "random_projection": _project}
