"""Loops over rows as plain Python, slow as they stand: numba compiles them where it is installed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOME_MISSING, SOME_INFINITE = 1, 2
"""What `write_numbers` has met."""


def write_numbers(
    rows: NDArray[Any],
    values: NDArray[Any],
    mask: NDArray[Any],
    center: float,
    spread: float,
    low: float,
    high: float,
    filled: float,
    out: NDArray[Any],
    column: int,
    missing: NDArray[Any],
) -> int:
    """Write a column of numbers into a column of a matrix: clip, ``(x - center) / spread``; `filled` where it is missing.

    Parameters
    ----------
    rows : ndarray of int, shape (n,)
        Which rows of the column.
    values, mask : ndarray
        The column, and which values are missing; empty: none but NaN.
    center, spread, low, high, filled : float
        What is done to a value, and what is written of a missing one.
    out : ndarray, shape (n, columns)
    column : int
    missing : ndarray of bool, at least n long
        Is told which rows are missing.

    Returns
    -------
    int
        `SOME_MISSING` and `SOME_INFINITE` together.
    """
    met = 0
    masked = mask.shape[0] > 0
    for i in range(rows.shape[0]):
        row = rows[i]
        x = float(values[row])
        missing[i] = (masked and mask[row]) or math.isnan(x)
        if missing[i]:
            met |= SOME_MISSING
            out[i, column] = filled
        else:
            if math.isinf(x):
                met |= SOME_INFINITE
            out[i, column] = (min(max(x, low), high) - center) / spread
    return met


def trade_places(
    missing: NDArray[Any],
    indicators: NDArray[Any],
    feature: int,
    position: int,
    data: NDArray[Any],
    indices: NDArray[Any],
) -> None:
    """Put indicators in place of missing numbers, and the entries of such CSR rows into the order of their features.

    Parameters
    ----------
    missing : ndarray of bool, shape (numbers, at least n)
    indicators : ndarray of int, shape (numbers,)
        Feature that indicates that this number is missing; or -1. Those with one come last.
    feature, position : int
        Of the first number.
    data, indices : ndarray, shape (n, entries)
    """
    numbers = len(indicators)
    first = 0
    while indicators[first] < 0:
        first += 1
    for i in range(data.shape[0]):
        place = position + first
        moved = False
        for j in range(first, numbers):
            if missing[j, i]:
                moved = True
                continue
            if moved:
                data[i, place] = data[i, position + j]
                indices[i, place] = feature + j
            place += 1
        if moved:
            for j in range(first, numbers):
                if missing[j, i]:
                    data[i, place] = 1
                    indices[i, place] = indicators[j]
                    place += 1


def write_one_hot(
    rows: NDArray[Any],
    codes: NDArray[Any],
    mask: NDArray[Any],
    features: NDArray[Any],
    present: NDArray[Any],
    position: int,
    data: NDArray[Any],
    indices: NDArray[Any],
) -> None:
    """Write a one at the feature of each row's code, or a zero where the code has none.

    Parameters
    ----------
    rows : ndarray of int, shape (n,)
    codes, mask : ndarray
        The column, and which codes are missing; empty: none.
    features, present : ndarray, shape (codes + 1,)
        Feature of each code, and whether it has one; last of a missing one.
    position : int
        Among the entries of a row.
    data, indices : ndarray, shape (n, entries)
    """
    masked = mask.shape[0] > 0
    last = len(features) - 1
    for i in range(rows.shape[0]):
        row = rows[i]
        code = last if masked and mask[row] else codes[row]
        indices[i, position] = features[code]
        data[i, position] = present[code]


def place_rows(source: NDArray[Any], places: NDArray[Any], out: NDArray[Any]) -> None:
    """Write rows at their places in a longer matrix."""
    for i in range(source.shape[0]):
        place = places[i]
        for j in range(source.shape[1]):
            out[place, j] = source[i, j]
