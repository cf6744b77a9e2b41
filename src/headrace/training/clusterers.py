"""Clusterers: the one that is fitted outright, how many passes it takes, and what is refused."""

from __future__ import annotations

from typing import Any

from headrace.errors import WorkflowError

KMEANS = "sklearn.cluster.KMeans"
BIRCH = "sklearn.cluster.Birch"

DRAWS = 6
"""Passes that draw rows to begin with: the first one evenly, then the five rounds after which Bahmani et al. (2012) gain little."""
PER_CLUSTER = 2
"""Rows that each of them draws for a cluster, the oversampling of Bahmani et al. (2012)."""


def pass_name(number: int) -> str:
    """Name a pass of k-means, counted from 1."""
    if number <= DRAWS:
        return f"k-means draw {number}"
    return "k-means weights" if number == DRAWS + 1 else f"k-means step {number - DRAWS - 1}"


def require_clusterer(path: str, estimator: Any, *, where: str) -> None:
    """Refuse beginnings that are not followed, and trees that cannot be stored.

    Raises
    ------
    WorkflowError
        Naming the key of the workflow file.
    """
    if path == BIRCH:
        # Of a tree with a node for each subcluster nothing bounds the memory, and skops does not write it.
        raise WorkflowError(
            "the tree of BIRCH grows with the data, and skops, in which models are kept, cannot write it",
            where=f"{where}.estimator",
            mend=f"use {KMEANS} or sklearn.cluster.MiniBatchKMeans",
        )
    if path != KMEANS:
        return
    if (
        type(estimator.n_clusters) is not int or estimator.n_clusters < 1
    ):  # True is an int, but no number of clusters
        raise WorkflowError(
            f"there cannot be {estimator.n_clusters!r} clusters",
            where=f"{where}.params.n_clusters",
            mend="give a whole number from 1",
        )
    if estimator.init != "k-means++":
        raise WorkflowError(
            f"k-means begins with k-means||, not with {estimator.init!r}",
            where=f"{where}.params.init",
            mend="leave it out",
        )
    if estimator.n_init not in {"auto", 1}:
        raise WorkflowError(
            f"k-means begins once, not {estimator.n_init} times",
            where=f"{where}.params.n_init",
            mend="leave it out, or name several candidates, each with a random_state of its own: they share the passes",
        )
