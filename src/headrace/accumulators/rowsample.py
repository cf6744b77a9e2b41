"""A bounded uniform sample of rows: those with the smallest keys, whatever the chunks and the merge tree."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array


class RowSample:
    """The `size` rows with the smallest keys (bottom-k sampling without replacement).

    Parameters
    ----------
    width : int
        Numbers held for a row.
    size : int
        Most rows held.

    Attributes
    ----------
    keys : ndarray of uint64, shape (held,)
        In increasing order.
    values : ndarray of float64, shape (held, width)
        The rows.
    """

    def __init__(self, width: int, size: int = 2000) -> None:
        self.size = size
        self.keys = np.empty(0, dtype=np.uint64)
        self.values = np.empty((0, width))

    def picks(self, keys: np.ndarray) -> np.ndarray:
        """Say which of new rows may enter the sample, so that only these need be made.

        Parameters
        ----------
        keys : ndarray of uint64, shape (n,)
            Row keys.

        Returns
        -------
        ndarray of int
            Their places.
        """
        if not self.size:
            return np.arange(0)
        held = np.concatenate([self.keys, keys])
        if len(held) <= self.size:
            return np.arange(len(keys))
        return np.flatnonzero(keys <= np.partition(held, self.size - 1)[self.size - 1])

    def update(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Add rows.

        Parameters
        ----------
        keys : ndarray of uint64, shape (n,)
            Row keys.
        values : ndarray of float, shape (n, width)
            What is held of them.
        """
        picked = self.picks(keys)
        keys = np.concatenate([self.keys, keys[picked].astype(np.uint64)])
        values = np.concatenate([self.values, values[picked].astype(np.float64)])
        # Rows that share a key are ordered by what they hold, so that the order of arrival never shows.
        shared = len(np.unique(keys)) < len(keys)
        order = np.lexsort([*values.T[::-1], keys]) if shared else np.argsort(keys)
        self.keys = keys[order[: self.size]]
        self.values = values[order[: self.size]]

    def merge(self, other: Self) -> Self:
        """Return the sample of both sets of rows."""
        merged = type(self)(self.values.shape[1], self.size)
        merged.keys, merged.values = self.keys, self.values
        merged.update(other.keys, other.values)
        return merged

    def result(self) -> np.ndarray:
        """Return `values`."""
        return self.values

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {"size": self.size, "keys": encode_array(self.keys), "values": encode_array(self.values)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        values = decode_array(state["values"])
        sample = cls(values.shape[1], state["size"])
        sample.keys, sample.values = decode_array(state["keys"]), values
        return sample
