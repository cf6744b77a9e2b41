"""Garbage collection that passes over what libraries have made: to look at all of it stops every thread for 0.1 s or more."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def settled() -> Iterator[None]:
    """Leave what this process holds now out of garbage collection, until the context ends."""
    before = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()


def dask_setup(_worker: object) -> None:
    """Do so for good in a worker, which has loaded all that it needs; Dask calls this in what a worker preloads.

    Once: on a cluster that stands, what earlier runs have left is to be collected.
    """
    if not gc.get_freeze_count():
        gc.freeze()
