"""Numbers as finite JSON that people can read, and back without loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode_number(value: float) -> float | str:
    """Write a number as JSON: itself when finite, else ``"inf"``, ``"-inf"`` or ``"nan"``."""
    return value if math.isfinite(value) else str(float(value))


def decode_number(value: float | str) -> float:
    """Read what `encode_number` wrote; integers stay integers."""
    return float(value) if isinstance(value, str) else value


def encode_numbers(values: NDArray[Any]) -> dict[str, Any]:
    """Write a one-dimensional array of numbers as ``{"dtype": ..., "values": [...]}``.

    float32 values are written with the fewest digits that read back as the same float32.

    Examples
    --------
    >>> encode_numbers(np.array([0.1, np.inf], dtype=np.float32))
    {'dtype': 'float32', 'values': [0.1, 'inf']}
    """
    numbers = values.tolist()
    if values.dtype == np.float32:
        short = [float(text) for text in values.astype(str)]
        # Both roundings (decimal to double to float32) must give the value back; else write all digits.
        if np.array_equal(np.array(short, dtype=np.float64).astype(np.float32), values, equal_nan=True):
            numbers = short
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        numbers = [encode_number(value) for value in numbers]
    return {"dtype": values.dtype.name, "values": numbers}


def decode_numbers(document: dict[str, Any]) -> NDArray[Any]:
    """Read what `encode_numbers` wrote."""
    dtype = np.dtype(document["dtype"])
    numbers = document["values"]
    if dtype.kind == "f":
        numbers = [float(value) for value in numbers]
    return np.array(numbers, dtype=dtype)
