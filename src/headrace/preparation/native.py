"""The loops that prepare rows, compiled where numba is installed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from headrace.compiling import available, compiled
from headrace.preparation import loops

if TYPE_CHECKING:
    from collections.abc import Callable


class Loops(NamedTuple):
    """The functions of `headrace.preparation.loops`, compiled."""

    write_numbers: Callable[..., int]
    trade_places: Callable[..., None]
    write_one_hot: Callable[..., None]
    place_rows: Callable[..., None]


@lru_cache(maxsize=1)
def compiled_loops() -> Loops | None:
    """Return the loops; None without numba."""
    return Loops(*(compiled(getattr(loops, name)) for name in Loops._fields)) if available() else None
