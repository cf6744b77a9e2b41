"""Weighted, centred cross products of the columns of a matrix, pooled within groups of rows: X'WX without cancellation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_ENTRIES = 1 << 18
"""Numbers centred together: they and their scratch stay in the second-level cache."""
_LEAST = 512
_SPARSE_ROWS = 1 << 14

FIELDS = ("rows", "weight", "mean", "squares", "products")


@dataclass(frozen=True)
class CrossProducts:
    r"""Means of d columns in each of K groups of rows, and their products around these means.

    With weights :math:`w`, for group k: the weight :math:`W_k = \sum w_i`, the means :math:`\mu_k`, the sums of squares
    around them, and pooled over the groups :math:`C = \sum_k \sum_{i \in k} w_i (x_i - \mu_k)(x_i - \mu_k)^T`. One
    group gives the Gram matrix of least squares, one a class the scatter within classes. Blocks merge by Chan, Golub
    and LeVeque (1983), :math:`C = C_a + C_b + \sum_k \delta_k \delta_k^T W_{ak} W_{bk} / W_k` with :math:`\delta` the
    difference of the means: nothing is ever the difference of two large sums. 8 d^2 + 16 K d bytes.

    Attributes
    ----------
    rows : ndarray of int64, shape (K,)
        Rows, whatever their weight.
    weight : ndarray of float64, shape (K,)
    mean, squares : ndarray of float64, shape (K, d)
    products : ndarray of float64, shape (d, d)

    Examples
    --------
    >>> found = CrossProducts.of(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 9.0]]))
    >>> found.mean.tolist(), found.products.tolist()
    ([[2.0, 5.0]], [[2.0, 7.0], [7.0, 26.0]])
    """

    rows: NDArray[np.int64]
    weight: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    products: NDArray[np.float64]

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.products.shape[0])

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.weight)

    @classmethod
    def empty(cls, width: int, groups: int = 1) -> Self:
        """Nothing seen of `width` columns."""
        flat = np.zeros((groups, width))
        return cls(np.zeros(groups, np.int64), np.zeros(groups), flat, flat.copy(), np.zeros((width, width)))

    @classmethod
    def of(
        cls,
        X: Any,
        weight: NDArray[Any] | None = None,
        group: NDArray[np.integer[Any]] | None = None,
        groups: int = 1,
    ) -> Self:
        """Measure rows.

        Parameters
        ----------
        X : ndarray or csr_matrix of finite numbers, shape (n, d)
        weight : ndarray, shape (n,), optional
            Not negative; 1 by default.
        group : ndarray of int, shape (n,), optional
            Group of each row; all are in the first by default.
        groups : int
            Number of groups.
        """
        n, d = X.shape
        dense = isinstance(X, np.ndarray)
        step = max(_LEAST, _ENTRIES // max(1, d)) if dense else _SPARSE_ROWS
        whole = cls.empty(d, groups)
        for start in range(0, n, step):
            rows = slice(start, start + step)
            part = X[rows].astype(np.float64)
            w = np.ones(part.shape[0]) if weight is None else np.asarray(weight[rows], np.float64)
            codes = np.zeros(part.shape[0], np.intp) if group is None else group[rows]
            found = cls._dense(part, w, codes, groups) if dense else cls._sparse(part, w, codes, groups)
            whole = whole.merge(found) if start else found
        return whole

    @classmethod
    def _dense(cls, X: NDArray[np.float64], w: NDArray[np.float64], codes: Any, groups: int) -> Self:
        rows, weight, member = _members(w, codes, groups)
        mean = _centre(X, weight, member, codes)
        weighted = X * w[:, None]
        products = weighted.T @ X
        squares = np.diag(products)[None, :].copy() if groups == 1 else _shares(member, X * X)
        return cls(rows, weight, mean, squares, (products + products.T) / 2)

    @classmethod
    def _sparse(cls, X: Any, w: NDArray[np.float64], codes: Any, groups: int) -> Self:
        """Measure CSR rows: columns that are mostly stored as dense ones, the others around zero.

        Of a column that is zero in at least half of the rows the squared mean is at most the variance, so that taking it off
        costs one bit.
        """
        n, d = X.shape
        rows, weight, member = _members(w, codes, groups)
        mean = (X.T @ member).T / np.maximum(weight, np.finfo(float).tiny)[:, None]
        weighted = X.multiply(w[:, None]).tocsr()
        products = np.asarray((X.T @ weighted).todense())
        products -= (mean * weight[:, None]).T @ mean
        squares = (X.multiply(X).T @ member).T - weight[:, None] * mean**2
        full = np.flatnonzero(np.bincount(X.indices[X.data != 0], minlength=d) > n / 2)
        if len(full):
            D = np.ascontiguousarray(X[:, full].toarray())
            mean[:, full] = _centre(D, weight, member, codes)
            across = X.T @ (D * w[:, None])  # D is centred, so X need not be
            across[full] = D.T @ (D * w[:, None])
            products[:, full] = across
            products[full] = across.T
            squares[:, full] = _shares(member, D * D)
        return cls(rows, weight, mean, np.maximum(squares, 0.0), (products + products.T) / 2)

    def update(self, X: Any, weight: NDArray[Any] | None = None, group: Any = None) -> Self:
        """Return the products with further rows, as in `of`."""
        return self.merge(self.of(X, weight, group, self.groups))

    def merge(self, other: Self) -> Self:
        """Return the products of both; columns and groups must be the same."""
        assert self.mean.shape == other.mean.shape, "products of the same columns merge"
        weight = self.weight + other.weight
        share = np.divide(other.weight, weight, out=np.zeros_like(weight), where=weight > 0)
        # Of a group without weight the means say nothing.
        both = (self.weight > 0) & (other.weight > 0)
        delta = np.where(both[:, None], other.mean - self.mean, 0.0)
        factor = (self.weight * share)[:, None]
        mean = np.where((self.weight > 0)[:, None], self.mean + delta * share[:, None], other.mean)
        return type(self)(
            self.rows + other.rows,
            weight,
            mean,
            self.squares + other.squares + delta * delta * factor,
            self.products + other.products + (delta * factor).T @ delta,
        )

    def total(self) -> Self:
        """Return the products of all groups as one, around the mean of all."""
        weight = self.weight.sum()
        share = self.weight / weight if weight > 0 else self.weight
        mean = share @ self.mean
        away = self.mean - mean
        between = (away * self.weight[:, None]).T @ away
        products = self.products + between
        return replace(
            self,
            rows=self.rows.sum(keepdims=True),
            weight=np.array([weight]),
            mean=mean[None, :],
            squares=np.diag(products)[None, :].copy(),
            products=products,
        )

    def mapped(self, matrix: NDArray[np.float64], offset: NDArray[np.float64] | float = 0.0) -> Self:
        """Return the products of the columns ``x @ matrix + offset``; of one group only.

        Parameters
        ----------
        matrix : ndarray, shape (d, e)
        offset : ndarray of shape (e,), or float
        """
        assert self.groups == 1, "squares of a group do not follow from the pooled products"
        products = matrix.T @ self.products @ matrix
        products = (products + products.T) / 2
        mean = self.mean @ matrix + offset
        return replace(self, mean=mean, squares=np.diag(products)[None, :].copy(), products=products)

    def result(self) -> dict[str, Any]:
        """Return rows, weights, means, variances by group, and the pooled covariance; all over the weight."""
        tiny = np.finfo(float).tiny
        return {
            "rows": self.rows,
            "weight": self.weight,
            "mean": self.mean,
            "variance": self.squares / np.maximum(self.weight, tiny)[:, None],
            "covariance": self.products / max(float(self.weight.sum()), tiny),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything held, as plain arrays."""
        return {name: getattr(self, name) for name in FIELDS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from `arrays`."""
        return cls(*(arrays[name] for name in FIELDS))

    def state(self) -> dict[str, Any]:
        """Everything held, as JSON."""
        return {name: encode_array(array) for name, array in self.arrays().items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls(*(decode_array(state[name]) for name in FIELDS))


def _members(
    w: NDArray[np.float64], codes: Any, groups: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return rows and weight of each group, and the weight of each row in its group, shape (n, K)."""
    member = np.zeros((len(w), groups))
    member[np.arange(len(w)), codes] = w
    return np.bincount(codes, minlength=groups).astype(np.int64), member.sum(axis=0), member


def _shares(member: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(member.T @ values)


def _centre(
    X: NDArray[np.float64], weight: NDArray[np.float64], member: NDArray[np.float64], codes: Any
) -> NDArray[np.float64]:
    """Take the mean of its group off each row, in place and twice: what rounding left of it the first time goes too."""
    over = np.maximum(weight, np.finfo(float).tiny)[:, None]
    mean = np.zeros((len(weight), X.shape[1]))
    for _ in range(2):
        step = _shares(member, X) / over
        X -= step[0] if len(weight) == 1 else step[codes]
        mean += step
    return mean
