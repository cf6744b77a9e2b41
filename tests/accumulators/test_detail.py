"""What is cut to a detail has its sizes and keeps the errors that it states."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.accumulators.columns import ColumnSummary
from headrace.accumulators.detail import FULL, STORED, Detail


@pytest.mark.parametrize("by", [1, 4, 16, 32])
@pytest.mark.parametrize("distinct", [50, 5_000, 200_000])
def test_a_summary_that_is_cut_keeps_its_stated_errors(by: int, distinct: int) -> None:
    x = np.sort(np.random.default_rng(by).integers(0, distinct, 50_000).astype(np.float64))
    detail = FULL.divided(by)
    cut = ColumnSummary.of_sorted("numeric", x).compact(detail)
    assert cut.quantiles is not None
    assert sum(len(buffer.values) for buffer in cut.quantiles.buffers) <= detail.points
    assert len(cut.hitters.counts) <= detail.counters
    assert len(cut.distinct.hashes) <= detail.hashes
    for value in np.quantile(x, [0.1, 0.5, 0.9]):
        assert abs(cut.quantiles.cdf(value) - np.mean(x <= value)) <= cut.quantiles.rank_error
    true = dict(zip(*np.unique(x, return_counts=True), strict=True))
    for value, count in cut.hitters.items():
        assert 0 <= true[value] - count <= cut.hitters.error
    assert cut.hitters.error <= len(x) / (detail.counters + 1)
    off = abs(cut.distinct.estimate() / len(true) - 1)
    assert off <= 5 * cut.distinct.relative_error


def test_cuts_merge_and_the_smaller_sizes_hold() -> None:
    x = np.arange(20_000.0)
    thin, whole = (
        ColumnSummary.of_sorted("numeric", x).compact(FULL.divided(16)),
        ColumnSummary.of_sorted("numeric", x),
    )
    both = thin.merge(whole)
    assert both.quantiles is not None
    assert abs(both.quantiles.cdf(9_999.0) - 0.5) <= both.quantiles.rank_error
    assert both.distinct.size == FULL.divided(16).hashes


def test_sizes_do_not_fall_below_what_is_of_use() -> None:
    assert FULL.divided(1_000_000) == Detail(64, 16, 128)
    assert FULL.within(STORED) == STORED
    assert "256 points" in str(FULL.divided(8))
