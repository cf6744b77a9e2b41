"""Weighted points against the rows that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.preparation.distribution import Distribution

ROWS = st.lists(st.integers(-5, 5), min_size=1, max_size=40)


def of_rows(rows: list[int]) -> Distribution:
    values, counts = np.unique(np.array(rows, dtype=np.float64), return_counts=True)
    return Distribution(values, counts.astype(np.float64), exact=True)


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, fill=st.floats(-6, 6), more=st.integers(0, 9))
def test_filled_clipped_and_mapped_equal_the_rows(rows, fill, more):
    whole = np.clip(np.array([*rows, *[fill] * more]), -3, 4) ** 2
    found = of_rows(rows).filled(fill, more).clipped(-3, 4).mapped(np.square)
    assert found.mean == pytest.approx(whole.mean())
    assert found.std() == pytest.approx(whole.std(), abs=1e-12)
    q = [0.0, 0.1, 0.25, 0.5, 0.99, 1.0]
    np.testing.assert_allclose(found.quantile(q), np.quantile(whole, q), rtol=1e-12, atol=1e-12)


def test_of_equally_frequent_values_the_smallest_is_taken():
    assert of_rows([3, 1, 1, 3, 2]).most_frequent() == 1


def test_spread_of_the_largest_floats_is_finite():
    found = Distribution(np.array([-1.5e308, 1.5e308]), np.ones(2), exact=True)
    assert found.std() == pytest.approx(1.5e308)
