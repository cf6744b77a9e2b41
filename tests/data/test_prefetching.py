from __future__ import annotations

import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.data.prefetching import AHEAD, AT_ONCE, NAME, prefetched

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = st.lists(st.integers(0, AHEAD + AHEAD // 2), max_size=20)


class Log:
    """Calls that tell what is held: begun, and not yet let go of."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.begun: list[int] = []
        self.under_way, self.most_at_once = 0, 0
        self.lock = threading.Lock()

    def call(self, number: int) -> int:
        with self.lock:
            self.begun.append(number)
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        time.sleep(0.0001 * (number % 3))
        with self.lock:
            self.under_way -= 1
        return number

    @property
    def calls(self) -> list[tuple[Callable[[], int], int]]:
        return [(partial(self.call, number), size) for number, size in enumerate(self.sizes)]


@given(SIZES)
def test_results_come_in_order_and_few_bytes_wait(sizes: list[int]) -> None:
    log = Log(sizes)
    with prefetched(log.calls) as results:
        for expected, result in enumerate(results):
            assert result == expected
            ahead = [number for number in log.begun if number > result]
            assert sum(sizes[number] for number in ahead) <= AHEAD or len(ahead) == 1
    assert sorted(log.begun) == list(range(len(sizes)))
    assert log.most_at_once <= AT_ONCE


def test_the_next_comes_while_one_is_in_use() -> None:
    came = threading.Event()
    with prefetched([(lambda: None, AHEAD), (came.set, 2 * AHEAD)]) as results:
        next(results)
        assert came.wait(60)


def test_an_error_is_raised_in_its_place_and_nothing_begins_after_it() -> None:
    log = Log([AHEAD] * 6)

    def fail() -> int:
        raise ConnectionError("reset")

    calls = [log.calls[0], (fail, AHEAD), *log.calls[2:]]
    with prefetched(calls) as results:
        assert next(results) == 0
        with pytest.raises(ConnectionError, match="reset"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
    assert set(log.begun) <= {0, 2}


def test_who_stops_leaves_no_call_under_way_and_begins_no_more() -> None:
    log = Log([1] * 40)
    began, release = threading.Event(), threading.Event()

    def wait() -> int:
        began.set()
        release.wait(60)
        return log.call(0)

    calls = [log.calls[0], *[(wait, 1)] * AT_ONCE, *log.calls[1:]]
    with prefetched(calls) as results:
        assert next(results) == 0
        assert began.wait(60)
        threading.Timer(0.05, release.set).start()
    assert log.under_way == 0
    assert 1 < len(log.begun) < len(calls)
    assert not any(thread.name.startswith(NAME) for thread in threading.enumerate())


class Result:
    """Something that can be watched."""


def test_what_was_used_is_let_go_of() -> None:
    with prefetched([(Result, 2 * AHEAD)] * 3) as results:
        first = weakref.ref(next(results))
        next(results)
        assert first() is None
        last = weakref.ref(next(results))
    assert last() is None
