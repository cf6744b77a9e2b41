"""The labels of a target by which the rows of a chunk are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from headrace.accumulators.leaves import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CLASSES = 32
"""Labels of a target up to which columns are summarised per class."""
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
