"""The labels of a target by which the rows of a chunk are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.leaves import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CLASSES = 32
"""Labels of a target up to which columns are summarised per class."""
FEW = 8
"""Labels that are found by comparing, where they are consecutive integers: a third of what a hash table takes."""
NULL_CLASS = "null"
"""Key of the rows whose target is null."""


def class_codes(column: pa.ChunkedArray) -> tuple[NDArray[np.uint8], list[str]] | None:
    """Return the class of each row.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        The target, of any type.

    Returns
    -------
    (ndarray of uint8, list of str) or None
        Code of each row, and the keys of the codes in ascending order: ``str`` of each label, ``"null"`` for rows
        without one. None when rows are not told apart: the target is real-valued, nested, or has more than 32 labels.
    """
    logical = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    inexact = pa.types.is_floating(logical) or pa.types.is_decimal(logical)
    if inexact or kind_of(logical) == "other":
        return None
    if not len(column):
        return np.empty(0, dtype=np.uint8), [NULL_CLASS]
    compared = _compared(column)
    if compared is not None:
        return compared
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = pa.concat_arrays(column.unify_dictionaries().chunks)
    width = len(array.dictionary)
    codes = array.indices.cast(pa.int64()).fill_null(width).to_numpy(zero_copy_only=True)
    used = np.flatnonzero(np.bincount(codes, minlength=width + 1))
    if len(used) > MOST_CLASSES + 2:  # at most one code for null, and one for a null in the dictionary
        return None
    values = array.dictionary.take(pa.array(used[used < width])).to_pylist()
    names = [*(NULL_CLASS if value is None else str(value) for value in values), NULL_CLASS]
    keys = sorted(set(names))
    if len(keys) - 1 > MOST_CLASSES:
        return None
    table = np.zeros(width + 1, dtype=np.uint8)
    table[used] = [keys.index(name) for name in names[: len(used)]]
    table[width] = keys.index(NULL_CLASS)
    return table[codes], keys


def _compared(column: pa.ChunkedArray) -> tuple[NDArray[np.uint8], list[str]] | None:
    """Tell a few consecutive integers apart, none of them missing; None when the column has others."""
    if not pa.types.is_integer(column.type) or column.null_count:
        return None
    extremes = pc.min_max(column)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if high - low >= FEW:
        return None
    values = column.to_numpy()
    where = {str(label): values == values.dtype.type(label) for label in range(low, high + 1)}
    keys = sorted([*(key for key, found in where.items() if found.any()), NULL_CLASS])
    codes = np.zeros(len(values), dtype=np.uint8)
    for code, key in enumerate(keys):
        if key != NULL_CLASS:
            codes += where[key] * np.uint8(code)
    return codes, keys
