"""The time of a search is that of all passes of the run, and the next one is taken to be as long as the last."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.training.deadline import Deadline, never


@pytest.mark.parametrize(
    ("spent", "seconds", "reached"),
    [([], 0.0, False), ([1.0, 2.0], 5.0, False), ([1.0, 2.0], 4.9, True), ([9.0], float("inf"), False)],
)
def test_no_pass_is_begun_that_would_end_later(spent, seconds, reached):
    reader: Any = SimpleNamespace(records=[SimpleNamespace(seconds=each) for each in spent])
    assert Deadline(reader, seconds).reached() == reached


def test_without_a_deadline_there_is_time():
    assert not never()
