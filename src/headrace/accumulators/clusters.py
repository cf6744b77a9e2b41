"""Metrics of clusters in one pass: silhouette of a sample, sizes, and inertia where distances are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.bootstrap import Tally, estimate, percentile_interval, poisson_weights
from headrace.accumulators.metrics import Estimate
from headrace.accumulators.rankings import ratio
from headrace.accumulators.rowsample import RowSample

if TYPE_CHECKING:
    from scipy import sparse

# Most numbers that the sample holds: wide rows make a smaller sample.
_SAMPLED_NUMBERS = 4_000_000


def silhouettes(X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Silhouette of each row, (b - a) / max(a, b), with Euclidean distances.

    ``a`` is the mean distance to the other rows of its cluster, ``b`` the least mean distance to another cluster;
    a row alone in its cluster has 0.

    Parameters
    ----------
    X : ndarray, shape (n, width)
        Rows.
    labels : ndarray of int, shape (n,)
        Their clusters, at least two distinct.

    Returns
    -------
    ndarray, shape (n,)
        Between -1 and 1.

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis".
    """
    _, codes = np.unique(labels, return_inverse=True)
    members = np.eye(codes.max() + 1)[codes]
    X = X - X.mean(axis=0)
    squares = np.einsum("ij,ij->i", X, X)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0.0))
    np.fill_diagonal(distances, 0.0)
    sums = distances @ members
    sizes = members.sum(axis=0)
    own = sizes[codes]
    rows = np.arange(len(X))
    inner = sums[rows, codes] / np.maximum(own - 1, 1)
    means = sums / sizes
    means[rows, codes] = np.inf
    outer = means.min(axis=1)
    values = ratio(outer - inner, np.maximum(inner, outer))
    return np.where(own > 1, np.nan_to_num(values), 0.0)


class ClusterMetrics:
    """Metrics of cluster labels.

    Parameters
    ----------
    width : int
        Features of a row.
    replicates : int
        Bootstrap replicates for 95 % intervals; 0 for none.
    sample : int
        Rows whose silhouette is taken; fewer when they are wide, so that the sample holds at most 4 million numbers.
    """

    def __init__(self, width: int, *, replicates: int = 200, sample: int = 2000) -> None:
        self.rows = 0
        self.sizes: dict[int, float] = {}
        self.tally = Tally(2, replicates)
        self.sample = RowSample(width + 1, max(2, min(sample, _SAMPLED_NUMBERS // (width + 1))))

    def update(
        self,
        labels: np.ndarray,
        X: np.ndarray | sparse.csr_matrix,
        weight: np.ndarray | None = None,
        keys: np.ndarray | None = None,
        *,
        distances: np.ndarray | None = None,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        labels : ndarray of int, shape (n,)
            Clusters.
        X : ndarray or CSR matrix, shape (n, width)
            Features.
        weight : ndarray of float, shape (n,), optional
            Row weights, for sizes and inertia.
        keys : ndarray of uint64, shape (n,), optional
            Row keys; needed for the silhouette and when there are replicates.
        distances : ndarray of float, shape (n,), optional
            Distance of each row from the centre of its cluster.
        """
        w = np.ones(len(labels)) if weight is None else weight.astype(np.float64, copy=False)
        found, codes = np.unique(labels, return_inverse=True)
        for label, size in zip(found.tolist(), np.bincount(codes, weights=w).tolist(), strict=False):
            self.sizes[int(label)] = self.sizes.get(int(label), 0.0) + size
        self.rows += len(labels)
        if distances is not None:
            self.tally.update_all(np.column_stack([w, w * distances.astype(np.float64) ** 2]), keys)
        if keys is not None and len(labels):
            picked = self.sample.picks(keys)
            taken: Any = X[picked]
            dense = taken if isinstance(taken, np.ndarray) else taken.toarray()
            self.sample.update(keys[picked], np.column_stack([dense, labels[picked]]))

    def merge(self, other: Self) -> Self:
        """Return the metrics of both sets of rows."""
        merged = type(self)(
            self.sample.values.shape[1] - 1, replicates=self.tally.replicates, sample=self.sample.size
        )
        merged.rows = self.rows + other.rows
        merged.sizes = {
            label: self.sizes.get(label, 0.0) + other.sizes.get(label, 0.0)
            for label in sorted(self.sizes.keys() | other.sizes.keys())
        }
        merged.tally = self.tally.merge(other.tally)
        merged.sample = self.sample.merge(other.sample)
        return merged

    def result(self) -> dict[str, Estimate]:
        """Name to estimate: ``silhouette``, and ``inertia`` (mean squared distance) when distances were given."""
        estimates = {"silhouette": self._silhouette()}
        weight, squares = self.tally.sums
        if weight[0]:
            estimates["inertia"] = estimate("inertia", ratio(squares, weight))
        return estimates

    def _silhouette(self) -> Estimate:
        X, labels = self.sample.values[:, :-1], self.sample.values[:, -1]
        if len(np.unique(labels)) < 2:
            return Estimate(None)
        values = silhouettes(X, labels)
        error = 0.0 if self.rows == len(values) else None
        weights = poisson_weights(self.sample.keys, self.tally.replicates)
        means = np.concatenate([[values.mean()], ratio(values @ weights, weights.sum(axis=0))])
        low, high = percentile_interval(means)
        return Estimate(float(means[0]), low, high, error)

    def curves(self) -> dict[str, Any]:
        """Give ``sizes``: cluster to its weight."""
        return {"sizes": {str(label): self.sizes[label] for label in sorted(self.sizes)}}

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {
            "rows": self.rows,
            "sizes": [[label, self.sizes[label]] for label in sorted(self.sizes)],
            "tally": self.tally.state(),
            "sample": self.sample.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        sample = RowSample.from_state(state["sample"])
        metrics = cls(sample.values.shape[1] - 1)
        metrics.rows = state["rows"]
        metrics.sizes = {int(label): float(size) for label, size in state["sizes"]}
        metrics.tally = Tally.from_state(state["tally"])
        metrics.sample = sample
        return metrics
