"""Loops over rows in machine code, for tables that are large enough to repay the second that numba takes to load."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.preparation import loops

if TYPE_CHECKING:
    from collections.abc import Callable

WORTHWHILE = 4_000_000
"""Rows from which loading numba and its compiled loops, a second or two of one core, is repaid."""

LEAST_MEMORY = 1 << 30
"""Budget of a worker below which `RESIDENT` would be too large a part of it."""

RESIDENT = 120 << 20
"""Bytes of a process that numba and the loops take: 100 where they were compiled before, 120 where they are first."""


class Loops(NamedTuple):
    """The functions of `headrace.preparation.loops`, compiled; they hold no Python lock."""

    write_numbers: Callable[..., int]
    trade_places: Callable[..., None]
    write_one_hot: Callable[..., None]
    place_rows: Callable[..., None]


def worthwhile(rows: int, memory: int) -> bool:
    """Tell whether so many rows are better prepared by compiled loops on workers of such a budget, and numba is there."""
    return rows >= WORTHWHILE and memory >= LEAST_MEMORY and find_spec("numba") is not None


@lru_cache(maxsize=1)
def compiled_loops() -> Loops | None:
    """Return the loops, compiled at their first call and then kept on disk; None without numba."""
    if find_spec("numba") is None:
        return None
    return Loops(*(_compiled(getattr(loops, name)) for name in Loops._fields))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba

    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no directory that could be written to
        return numba.njit(nogil=True)(function)
