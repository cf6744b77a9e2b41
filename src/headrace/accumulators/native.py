"""Whether this process measures values by compiled loops or by numpy: the same bits, but no Python lock is held."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.accumulators import loops
from headrace.accumulators.loops import LANES, STRIPE
from headrace.compiling import available, compiled

if TYPE_CHECKING:
    from collections.abc import Callable


class Loops(NamedTuple):
    """Functions of `headrace.accumulators.loops`, compiled."""

    block_moments: Callable[..., None]
    mix_words: Callable[..., None]
    tally_codes: Callable[..., None]
    low_hashes: Callable[..., int]
    look_over: Callable[..., None]
    first_places: Callable[..., None]
    unite_smallest: Callable[..., int]
    sum_counts: Callable[..., int]
    choose_ranks: Callable[..., None]


_wanted = False


def want_loops() -> None:
    """Measure by compiled loops in this process from here on, where numba is installed."""
    global _wanted  # noqa: PLW0603 - what is measured is the same; handing it down to every sum would tell otherwise
    if not _wanted and available():
        # The first call takes a second: numba loads itself and what it has kept of the loop.
        loops_now, few = _compiled_loops(), np.zeros(STRIPE)
        loops_now.block_moments(few, np.empty((3, 1, LANES)), np.empty((1, 5)), np.empty(5))
        loops_now.look_over(few, np.empty(6, dtype=np.int64))
        _wanted = True


def wanted_loops() -> Loops | None:
    """Return the compiled loops, if this process wants them."""
    return _compiled_loops() if _wanted else None


@lru_cache(maxsize=1)
def _compiled_loops() -> Loops:
    return Loops(*(compiled(getattr(loops, name)) for name in Loops._fields))
