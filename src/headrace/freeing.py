"""What Arrow keeps for the next chunk of memory that is free, given back where it is much."""

from __future__ import annotations

import pyarrow as pa

MANY_TEXTS = 1 << 16
"""Distinct texts of a column of one chunk above which the memory that told them apart is worth giving back."""


def release_texts(texts: int) -> None:
    """Give back the memory by which so many distinct texts were told apart, if they were many: of a million it is 150 MiB.

    Parameters
    ----------
    texts : int
        Distinct texts of the column of one chunk that has most.
    """
    if texts > MANY_TEXTS:
        pa.default_memory_pool().release_unused()
