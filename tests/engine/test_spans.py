"""Whichever chunks a task reads together, the tree of all chunks is the one that their order fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.accumulators import merge_tree
from headrace.data.reading import ReadCount
from headrace.engine.source import Reading
from headrace.engine.spans import LONGEST, LONGEST_SECONDS, SPANS_LEFT, next_span, of_states, read_span

if TYPE_CHECKING:
    from collections.abc import Callable

PACES = st.sampled_from([0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, float("inf")])


def pair(left: str, right: str) -> str:
    return f"({left}{right})"


def level_by_level(items: list[str]) -> str:
    """What `merge_tree` says that it gives."""
    while len(items) > 1:
        merged = [pair(left, right) for left, right in zip(items[::2], items[1::2], strict=False)]
        items = merged + items[2 * len(merged) :]
    return items[0]


@given(count=st.integers(1, 200))
def test_items_that_are_merged_as_they_come_make_the_tree_of_pairs(count: int) -> None:
    items = [f"{number} " for number in range(count)]
    assert merge_tree(iter(items), pair) == level_by_level(items)


@given(position=st.integers(0, 10**6), left=st.integers(1, 10**6), threads=st.integers(1, 800), pace=PACES)
@settings(max_examples=500)
def test_a_span_is_a_whole_branch_and_bounded(position: int, left: int, threads: int, pace: float) -> None:
    span = next_span(position, position + left, threads=threads, seconds=pace)
    length = len(span)
    assert span.start == position
    assert length.bit_count() == 1
    assert position % length == 0
    assert length == 1 or (
        length <= LONGEST and length * SPANS_LEFT * threads <= left and length * pace <= LONGEST_SECONDS
    )


def test_many_tiny_chunks_are_read_by_few_tasks_that_end_together() -> None:
    lengths = []
    position, total, threads = 0, 100_000, 50
    while position < total:
        lengths.append(len(next_span(position, total, threads=threads, seconds=1e-4)))
        position += lengths[-1]
    assert sum(lengths) == total
    assert len(lengths) < total / 40
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-SPANS_LEFT * threads :] == [1] * SPANS_LEFT * threads


def test_chunks_that_keep_a_thread_busy_are_read_one_by_one() -> None:
    assert len(next_span(0, 100_000, threads=2, seconds=0.5)) == 1
    assert len(next_span(0, 100_000, threads=2, seconds=0.13)) == 2
    assert len(next_span(0, 100_000, threads=800, seconds=0.5)) == 4


def work(number: int) -> Callable[[], tuple[str, Reading]]:
    count = ReadCount(chunks=1, rows=number, bytes=2 * number, kept=number // 2)
    return lambda: (f"{number} ", Reading(count, 100 + number, "a worker"))


@given(power=st.integers(0, 6))
def test_a_span_gives_the_branch_of_its_chunks_and_counts_all_of_them(power: int) -> None:
    length = 2**power
    state, reading = read_span([work(number) for number in range(length)], pair)
    assert state == level_by_level([f"{number} " for number in range(length)])
    rows = sum(range(length))
    kept = sum(number // 2 for number in range(length))
    assert reading.count == ReadCount(chunks=length, rows=rows, bytes=2 * rows, kept=kept)
    assert (reading.memory_peak, reading.worker) == (99 + length, "a worker")
    assert reading.seconds > 0


def test_states_are_merged_whether_or_not_they_are_still_with_what_was_read() -> None:
    read = read_span([work(1)], pair)
    assert of_states(pair, read, "2 ") == pair("1 ", "2 ")
    assert of_states(pair, "0 ", read) == pair("0 ", "1 ")
    assert of_states(str.strip, read) == "1"
    assert of_states(len, (1, 2)) == 2
