from __future__ import annotations

import pytest

from headrace.serving.routing import CHALLENGER, CHAMPION, Routing

KEYS = [f"customer {number}" for number in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_of_keys_is_the_share_that_was_asked_for(share: float):
    got = sum(Routing(share).arm(key) == CHALLENGER for key in KEYS) / len(KEYS)
    assert abs(got - share) < 5 * (share * (1 - share) / len(KEYS)) ** 0.5


def test_a_larger_share_gives_no_key_back():
    before = {key for key in KEYS if Routing(0.1).arm(key) == CHALLENGER}
    after = {key for key in KEYS if Routing(0.3).arm(key) == CHALLENGER}
    assert before < after


def test_a_shadow_answers_nobody():
    assert {Routing(1.0, shadow=True).arm(key) for key in KEYS[:100]} == {CHAMPION}
