"""A verdict is seldom false however often one looks, and comes when there is a difference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from headrace.monitoring.ab import compare_arms, mixing, sequence_chance, sequence_reach
from headrace.monitoring.performance import Outcomes, Sums


def outcomes(losses: np.ndarray, pairs: np.ndarray | None = None) -> Outcomes:
    held = {} if pairs is None else {"error": Sums.of(pairs)}
    return Outcomes({"error": Sums.of(losses)}, pairs=held)


def looks(rate: tuple[float, float], seed: int, n: int = 6000, *, paired: bool = False) -> list[str]:
    rng = np.random.default_rng(seed)
    one, other = (rng.random(n) < share for share in rate)
    sums = [np.cumsum(side.astype(float)) for side in (one, other)]
    gap = other.astype(float) - one
    first, second = np.cumsum(gap), np.cumsum(gap**2)
    verdicts: list[str] = []
    for k in range(100, n + 1, 100):
        a, b = (Outcomes({"error": Sums(k, side[k - 1], side[k - 1])}) for side in sums)
        if paired:
            b = Outcomes(b.losses, pairs={"error": Sums(k, first[k - 1], second[k - 1])})
        found = compare_arms(a, b, "error", planned=2000)
        assert found is not None
        verdicts.append(found.verdict)
    return verdicts


@pytest.mark.parametrize("paired", [False, True])
def test_peeking_sixty_times_is_seldom_wrong(paired: bool) -> None:
    runs = 60
    wrong = sum(set(looks((0.2, 0.2), seed, paired=paired)) != {"open"} for seed in range(runs))
    assert (
        wrong <= 8  # one in a hundred such tests would fail by chance at 5 %
    )  # 1 in 100 such tests fails by chance at 5 %; a plain test is wrong in a third of the runs


def test_a_difference_is_found_and_stays_found() -> None:
    verdicts = looks((0.25, 0.2), 1)
    assert verdicts[-1] == "challenger"
    assert looks((0.2, 0.25), 2)[-1] == "champion"


def test_pairs_tell_sooner_than_two_streams() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(2000)
    one, other = hard + rng.normal(0, 0.05, 2000), hard + 0.01 + rng.normal(0, 0.05, 2000)
    alone = compare_arms(outcomes(one), outcomes(other), "error")
    together = compare_arms(outcomes(one), outcomes(other, other - one), "error")
    assert alone is not None
    assert together is not None
    assert (alone.verdict, together.verdict) == ("open", "champion")
    assert alone.needed is not None
    assert alone.needed > 2000


def test_a_margin_ends_a_test_of_equals() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.random(40_000) < 0.2 for _ in range(2))
    found = compare_arms(outcomes(one.astype(float)), outcomes(other.astype(float)), "error", margin=0.02)
    assert found is not None
    assert found.verdict == "equal"


def test_of_few_labels_there_is_no_verdict() -> None:
    found = compare_arms(outcomes(np.ones(50)), outcomes(np.zeros(50)), "error")
    assert found is not None
    assert found.verdict == "open"
    json = found.to_dict()
    assert json["low_always"] is None
    assert compare_arms(outcomes(np.ones(0)), outcomes(np.zeros(50)), "error") is None


@given(st.floats(1e-9, 1e3), st.floats(1e-6, 1e6), st.floats(1e-4, 0.5))
def test_the_p_value_is_where_the_sequence_ends(variance: float, planned: float, alpha: float) -> None:
    tuned = mixing(planned, 0.05)
    edge = sequence_reach(variance, tuned, alpha)
    assert sequence_chance(edge, variance, tuned) == pytest.approx(alpha, rel=1e-6)
    assert edge > 1.96 * math.sqrt(variance) or alpha > 0.05


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 3000)
    said = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0.001, 0.999)
    labels = [("no", "yes")[place] for place in truth]
    half = [Outcomes.of(np.column_stack([1 - said, said])[cut], labels[cut], ("no", "yes")) for cut in (slice(0, 1000), slice(1000, None))]  # fmt: skip
    found = half[0].merge(Outcomes.from_state(half[1].state())).metrics()
    assert found["log_loss"].value == pytest.approx(log_loss(truth, said))
    assert found["brier"].value == pytest.approx(brier_score_loss(truth, said))
    assert found["accuracy"].value == pytest.approx(((said >= 0.5) == truth).mean())
    area = found["roc_auc"]
    assert area.value is not None
    assert area.error is not None
    assert abs(area.value - roc_auc_score(truth, said)) <= area.error
    regression = Outcomes.of(said, truth.astype(float).tolist(), ()).metrics()
    assert regression["rmse"].value == pytest.approx(np.sqrt(np.mean((said - truth) ** 2)))
    assert regression["mae"].value == pytest.approx(np.abs(said - truth).mean())


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = {"accuracy": 0, "roc_auc": 0, "brier": 0}
    truth_of = {}
    big = rng.integers(0, 2, 200_000)
    said = np.clip(rng.normal(0.4 + 0.2 * big, 0.2), 0, 1)
    whole = Outcomes.of(np.column_stack([1 - said, said]), big.tolist(), (0, 1)).metrics()
    truth_of = {name: whole[name].value for name in held}
    for _ in range(200):
        pick = rng.integers(0, len(big), 300)
        found = Outcomes.of(
            np.column_stack([1 - said[pick], said[pick]]), big[pick].tolist(), (0, 1)
        ).metrics()
        for name in held:
            low, high, value = found[name].low, found[name].high, truth_of[name]
            assert low is not None
            assert high is not None
            assert value is not None
            held[name] += low <= value <= high
    assert all(count >= 180 for count in held.values())
