"""Calls made ahead of the use of what they return: some at once, in order, few bytes of them waiting."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Future

T = TypeVar("T")

AT_ONCE = 8
"""Calls under way at once: a store answers a small request no sooner than a large one."""

AHEAD = 64 << 20
"""Bytes that wait for their use."""

NAME = "prefetch"
"""Begins the names of the threads."""


@contextmanager
def prefetched(calls: Sequence[tuple[Callable[[], T], int]]) -> Iterator[Iterator[T]]:
    """Make calls in threads, each before what it returns is asked for.

    Once the context ends, in whatever way, no further call begins, and those under way have ended.

    Parameters
    ----------
    calls : sequence of (callable, int)
        Each with the bytes that it returns at most. Beside what is in use, `AHEAD` bytes are held, or what one call
        returns where that is more.

    Yields
    ------
    iterator
        What the calls return, in their order. Raises what a call raised, in its place.
    """
    with ThreadPoolExecutor(max(1, min(AT_ONCE, len(calls))), thread_name_prefix=NAME) as pool:
        results = _results(pool, deque(calls))
        try:
            yield results
        finally:
            results.close()  # with the last result, which nobody needs any more
            pool.shutdown(cancel_futures=True)


def _results(
    pool: ThreadPoolExecutor, waiting: deque[tuple[Callable[[], T], int]]
) -> Generator[T, None, None]:
    begun: deque[tuple[Future[T], int]] = deque()
    held = 0
    ready: Future[T] | None = None
    while True:
        while waiting and (not begun or held + waiting[0][1] <= AHEAD):
            call, size = waiting.popleft()
            begun.append((pool.submit(call), size))
            held += size
        if ready is not None:
            yield ready.result()
        if not begun:
            return
        ready, size = begun.popleft()
        ready.result()  # large ones come one after another: two at once would both come late
        held -= size
