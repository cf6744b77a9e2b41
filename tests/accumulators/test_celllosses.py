"""What each cell adds to the loss of all rows: exact sums, and intervals that cover as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.accumulators.celllosses import CellLosses


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(1, 6))
def test_harm_is_the_weight_of_a_cell_times_its_loss_above_the_mean(seed, count, cells):
    rng = np.random.default_rng(seed)
    codes, loss, weight = rng.integers(0, cells, count), rng.exponential(size=count), rng.random(count) + 0.1
    found = CellLosses.of(codes, cells, loss, weight).result()
    mean = np.average(loss, weights=weight)
    for cell in range(cells):
        here = codes == cell
        assert found["rows"][cell] == here.sum()
        assert found["weight"][cell] == pytest.approx(weight[here].sum())
        if here.any():
            assert found["loss"][cell] == pytest.approx(np.average(loss[here], weights=weight[here]))
        assert found["harm"][cell] == pytest.approx((weight[here] * (loss[here] - mean)).sum(), abs=1e-9)
    assert found["harm"].sum() == pytest.approx(0.0, abs=1e-9)
    assert (found["low"] <= found["harm"]).all()
    assert (found["harm"] <= found["high"]).all()


def test_the_standard_error_is_that_of_the_linearised_harm():
    rng = np.random.default_rng(1)
    codes, loss, weight = rng.integers(0, 3, 500), rng.exponential(size=500), rng.random(500)
    found = CellLosses.of(codes, 3, loss, weight).result()
    mean = np.average(loss, weights=weight)
    for cell in range(3):
        part = weight * (loss - mean) * ((codes == cell) - weight[codes == cell].sum() / weight.sum())
        reach = 1.959964 * np.sqrt((part**2).sum())
        assert found["high"][cell] - found["harm"][cell] == pytest.approx(reach, rel=1e-6)


def test_intervals_cover_the_harm_of_the_population_in_95_of_100_samples():
    rng, covered, trials = np.random.default_rng(2), 0, 2_000
    shares, means = np.array([0.7, 0.3]), np.array([1.0, 1.5])
    true = 0.3 * (1.5 - shares @ means)
    for _ in range(trials):
        codes = rng.choice(2, 400, p=shares)
        found = CellLosses.of(codes, 2, rng.exponential(means[codes])).result()
        covered += found["low"][1] <= 400 * true <= found["high"][1]
    assert 0.93 < covered / trials < 0.97


def test_of_no_rows_there_is_no_harm():
    found = CellLosses.empty(2).result()
    assert found["harm"].tolist() == [0, 0]
    assert np.isnan(found["loss"]).all()
