"""Arrays as JSON text, without loss."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """Write an array as a JSON document: type, shape and base64 of its little-endian bytes.

    Parameters
    ----------
    array : ndarray
        Numbers or booleans of any shape.

    Returns
    -------
    dict
        ``{"dtype", "shape", "data"}``.

    Examples
    --------
    >>> decode_array(encode_array(np.array([1.5, np.inf])))
    array([1.5, inf])
    """
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return {
        "dtype": little.dtype.str,
        "shape": list(array.shape),
        "data": base64.b64encode(little.tobytes()).decode("ascii"),
    }


def decode_array(document: dict[str, Any]) -> np.ndarray:
    """Read what `encode_array` wrote.

    Parameters
    ----------
    document : dict
        ``{"dtype", "shape", "data"}``.

    Returns
    -------
    ndarray
        The same values, writable, in the machine's byte order.
    """
    flat = np.frombuffer(base64.b64decode(document["data"]), dtype=np.dtype(document["dtype"]))
    return flat.reshape(document["shape"]).astype(flat.dtype.newbyteorder("="))
