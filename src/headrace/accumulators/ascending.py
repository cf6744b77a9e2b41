"""What one look over sorted numbers tells, by a compiled loop or by numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.accumulators.native import wanted_loops

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Look(NamedTuple):
    """Counts of numbers in ascending order, NaN last."""

    low: int
    """Where the finite values begin."""
    high: int
    """Where they end."""
    numbers: int
    """Where NaN begins."""
    distinct: int
    """Finite values that differ; 0.0 and -0.0 do not."""
    zeros: int
    negatives: int
    """Finite values below zero."""


def look(values: NDArray[Any]) -> Look:
    """Count what is odd, distinct, zero and negative.

    Parameters
    ----------
    values : ndarray of numbers, shape (n,)
        Ascending, NaN last.

    Examples
    --------
    >>> look(np.array([-np.inf, -1.0, 0.0, 2.0, 2.0, np.nan]))
    Look(low=1, high=5, numbers=5, distinct=3, zeros=1, negatives=1)
    """
    loops = wanted_loops()
    if loops is not None:
        told = np.empty(len(Look._fields), dtype=np.int64)
        loops.look_over(values, told)
        return Look(*told.tolist())
    low, numbers, high = 0, len(values), len(values)
    if values.dtype.kind == "f" and len(values):
        # Bounds have the dtype of the column: a Python float would make searchsorted copy a float32 column.
        scalar = values.dtype.type
        numbers = int(np.searchsorted(values, scalar(math.nan)))
        low = int(np.searchsorted(values, scalar(-math.inf), side="right"))
        high = int(np.searchsorted(values[:numbers], scalar(math.inf)))
    finite = values[low:high]
    if not len(finite):
        return Look(low, high, numbers, 0, 0, 0)
    distinct = 1 + int(np.count_nonzero(finite[1:] != finite[:-1]))
    zero = finite.dtype.type(0)
    negatives = int(np.searchsorted(finite, zero))
    zeros = int(np.searchsorted(finite, zero, side="right")) - negatives
    return Look(low, high, numbers, distinct, zeros, negatives)


def runs(values: NDArray[Any], distinct: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each distinct value begins, and how often it occurs.

    Parameters
    ----------
    values : ndarray of numbers, shape (n,)
        Ascending and finite; at least one.
    distinct : int
        How many differ.

    Returns
    -------
    places, counts : ndarray of int64, shape (distinct,)
    """
    loops = wanted_loops()
    if loops is not None:
        places, counts = np.empty(distinct, dtype=np.int64), np.empty(distinct, dtype=np.int64)
        loops.first_places(values, places, counts)
        return places, counts
    places = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    return places, np.diff(places, append=len(values))
