"""Poisson bootstrap from row keys: sums of every replicate in one pass, and percentile intervals.

A replicate gives each row a weight that is Poisson(1) distributed, a function of the row's 64-bit key and the
replicate's number alone. Sums under these weights merge like any sum, so that neither the chunks nor the merge tree
nor the workers change a replicate, and two models judged on the same rows are judged on the same replicates.

References
----------
Chamandy, Muralidharan, Najmi, Naidu (2012), "Estimating uncertainty for massive data streams".
Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators" (splitmix64).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.stats import poisson

from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.metrics import UNIT_METRICS, Estimate

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LIMITS = np.floor(poisson.cdf(np.arange(8), 1.0) * 65536).astype(np.uint16)
# Rows whose replicate weights are held at once: 4,096 x 200 x 8 bytes stay within the processor's cache.
_BLOCK = 4096


def poisson_weights(keys: np.ndarray, replicates: int) -> np.ndarray:
    """Draw the bootstrap weights of rows.

    Each 64-bit word of splitmix64 started at the key gives four 16-bit uniforms; the inverse of the Poisson(1)
    distribution function on 65,536 steps turns them into weights with mean 1.00005 and variance 1.0002.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Row keys, well mixed.
    replicates : int
        Number of replicates.

    Returns
    -------
    ndarray of uint8, shape (n, replicates)
        Weights from 0 to 8.

    Examples
    --------
    >>> poisson_weights(np.array([1, 2], dtype=np.uint64), 6)
    array([[0, 1, 0, 1, 3, 1],
           [0, 0, 0, 1, 0, 0]], dtype=uint8)
    """
    words = -(-replicates // 4)
    mixed = keys.astype(np.uint64)[:, None] + np.arange(1, words + 1, dtype=np.uint64) * _GOLDEN
    shifted = mixed >> np.uint64(30)
    mixed ^= shifted
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(mixed, np.uint64(27), out=shifted)
    mixed ^= shifted
    mixed *= np.uint64(0x94D049BB133111EB)
    np.right_shift(mixed, np.uint64(31), out=shifted)
    mixed ^= shifted
    uniforms = mixed.astype("<u8", copy=False).view("<u2")
    weights = np.zeros(uniforms.shape, dtype=np.uint8)
    for limit in _LIMITS:  # eight vectorised comparisons are faster than a look-up for every weight
        weights += uniforms >= limit
    return weights[:, :replicates]


class Tally:
    """Sums by cell, for the data itself and for each bootstrap replicate.

    Parameters
    ----------
    cells : int
        Number of sums.
    replicates : int
        Number of bootstrap replicates; 0 for none.

    Attributes
    ----------
    sums : ndarray of float64, shape (cells, 1 + replicates)
        Column 0 holds the sums over the data.
    """

    def __init__(self, cells: int, replicates: int) -> None:
        self.sums = np.zeros((cells, 1 + replicates))

    @property
    def replicates(self) -> int:
        """Number of bootstrap replicates."""
        return self.sums.shape[1] - 1

    def update(self, cells: np.ndarray, amounts: np.ndarray, keys: np.ndarray | None) -> None:
        """Add rows, each of which adds to a few cells.

        Parameters
        ----------
        cells : ndarray of int, shape (n, m)
            The cells that a row adds to.
        amounts : ndarray of float, shape (n, m)
            What it adds to them.
        keys : ndarray of uint64, shape (n,), or None
            Row keys; needed when there are replicates.
        """
        rows, per_row = cells.shape
        for start in range(0, rows, _BLOCK):
            stop = min(start + _BLOCK, rows)
            matrix = sparse.csr_matrix(
                (
                    amounts[start:stop].ravel(),
                    cells[start:stop].ravel(),
                    np.arange(0, (stop - start) * per_row + 1, per_row),
                ),
                shape=(stop - start, len(self.sums)),
            )
            self.sums += matrix.T @ self._weights(keys, start, stop)

    def update_all(self, amounts: np.ndarray, keys: np.ndarray | None) -> None:
        """Add rows, each of which adds to every cell.

        Parameters
        ----------
        amounts : ndarray of float, shape (n, cells)
            What a row adds to each cell.
        keys : ndarray of uint64, shape (n,), or None
            Row keys; needed when there are replicates.
        """
        for start in range(0, len(amounts), _BLOCK):
            stop = min(start + _BLOCK, len(amounts))
            self.sums += amounts[start:stop].T @ self._weights(keys, start, stop)

    def _weights(self, keys: np.ndarray | None, start: int, stop: int) -> np.ndarray:
        weights = np.empty((stop - start, self.sums.shape[1]))
        weights[:, 0] = 1.0
        if self.replicates:
            assert keys is not None, "replicates need row keys"
            weights[:, 1:] = poisson_weights(keys[start:stop], self.replicates)
        return weights

    def merge(self, other: Self) -> Self:
        """Return the sums over both sets of rows."""
        merged = type(self)(len(self.sums), self.replicates)
        merged.sums = self.sums + other.sums
        return merged

    def result(self) -> np.ndarray:
        """Return `sums`."""
        return self.sums

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {"sums": encode_array(self.sums)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        sums = decode_array(state["sums"])
        tally = cls(len(sums), sums.shape[1] - 1)
        tally.sums = sums
        return tally


def percentile_interval(values: np.ndarray, centre: float | None = None) -> tuple[float | None, float | None]:
    """95 % percentile interval from bootstrap replicates.

    Parameters
    ----------
    values : ndarray, shape (1 + replicates,)
        Column 0 is the metric of the data, computed as the replicates are; NaN where undefined.
    centre : float, optional
        The exact value, when `values` come from coarser sums: the spread is moved there.

    Returns
    -------
    tuple of float or None
        Low and high; None without replicates, or when half of them are undefined.
    """
    replicates = values[1:]
    defined = replicates[np.isfinite(replicates)]
    if not np.isfinite(values[0]) or not len(defined) or 2 * len(defined) < len(replicates):
        return None, None
    shift = 0.0 if centre is None else centre - values[0]
    low, high = np.quantile(defined, [0.025, 0.975]) + shift
    return float(low), float(high)


def estimate(name: str, values: np.ndarray, exact: float | None = None, error: float = 0.0) -> Estimate:
    """Make the estimate of a metric from its value on the data and on the replicates.

    Parameters
    ----------
    name : str
        The metric.
    values : ndarray, shape (1 + replicates,)
        Column 0 is the data; NaN is undefined.
    exact : float, optional
        The value from finer sums, to which the spread of the replicates is moved.
    error : float
        Bound of the error of the value.

    Returns
    -------
    Estimate
        With None for what is undefined.
    """
    value = float(values[0]) if exact is None else exact
    if not np.isfinite(value):
        return Estimate(None)
    low, high = percentile_interval(values, exact)
    if name in UNIT_METRICS and low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(value, low, high, error)
