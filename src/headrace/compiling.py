"""Loops over rows in machine code, for tables that are large enough to repay the second that numba takes to load."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WORTHWHILE = 4_000_000
"""Rows from which loading numba and its compiled loops, a second or two of one core, is repaid."""

LEAST_MEMORY = 1 << 30
"""Budget of a worker below which `RESIDENT` would be too large a part of it."""

RESIDENT = 120 << 20
"""Bytes of a process that numba and the loops take: 100 where they were compiled before, 120 where they are first."""


def available() -> bool:
    """Tell whether numba is there."""
    return find_spec("numba") is not None


def worthwhile(rows: int, memory: int) -> bool:
    """Tell whether so many rows are better read by compiled loops on workers of such a budget, and numba is there."""
    return rows >= WORTHWHILE and memory >= LEAST_MEMORY and available()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a loop that numba compiles at its first call and then keeps on disk; it holds no Python lock."""
    import numba

    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no directory that could be written to
        return numba.njit(nogil=True)(function)
