"""What is loaded is left out of garbage collection, and what comes later is not."""

from __future__ import annotations

import gc
import weakref

from headrace.cluster.settling import settled


class Ring:
    def __init__(self) -> None:
        self.self = self


def test_what_is_there_is_left_out_until_the_context_ends():
    before = gc.get_freeze_count()  # a cluster of other tests may be there
    loaded = [[number] for number in range(20_000)]
    with settled():
        assert gc.get_freeze_count() > before + len(loaded)
        with settled():
            pass
        assert gc.get_freeze_count() > before + len(loaded)
    if not before:
        assert gc.get_freeze_count() == 0


def test_cycles_that_come_later_are_collected():
    with settled():
        gone = weakref.ref(Ring())
        gc.collect()
        assert gone() is None
