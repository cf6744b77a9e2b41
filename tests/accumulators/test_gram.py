"""Covariance and correlation against pandas' pairwise complete ones."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import chunkings, merge_trees

from headrace.accumulators.gram import Gram

quick = settings(max_examples=40, deadline=None)


@quick
@given(st.data(), st.integers(0, 300), st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.97]))
def test_any_split_and_tree_gives_the_covariance_of_pandas(data, n, d, share):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + data.draw(st.sampled_from([0.0, 1e6]))
    X[rng.random(X.shape) < share] = np.nan
    names = [f"c{j}" for j in range(d)]
    pieces = [Gram.of(names, X[cut]) for cut in data.draw(chunkings(n))]
    found = data.draw(merge_trees())(pieces, Gram.merge)
    frame = pd.DataFrame(X, columns=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pandas divides by nothing
        covariance, correlation = frame.cov(), frame.corr()
    np.testing.assert_allclose(found.covariance(), covariance, rtol=1e-9, atol=1e-9)
    ours = found.correlation()
    varied = found.n >= 3
    np.testing.assert_allclose(ours[varied], correlation.to_numpy()[varied], rtol=1e-7, atol=1e-7)
    again = Gram.from_state(json.loads(json.dumps(found.state(), allow_nan=False)))
    assert again.state() == found.state()


def test_complete_columns_far_from_zero_keep_nine_digits():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50_000, 3)) @ rng.normal(size=(3, 3))
    found = Gram.of(("a", "b", "c"), X + 1e6)
    np.testing.assert_allclose(found.covariance(), np.cov(X.T), rtol=1e-8)
    np.testing.assert_allclose(found.correlation(), np.corrcoef(X.T), rtol=1e-8)


def test_infinities_count_as_missing_and_a_constant_has_no_correlation():
    found = Gram.of(("a", "b"), np.array([[1.0, 5.0], [2.0, 5.0], [np.inf, 5.0], [4.0, 5.0]]))
    assert found.n.tolist() == [[3, 3], [3, 4]]
    assert found.covariance()[0, 0] == pytest.approx(np.var([1, 2, 4], ddof=1))
    assert np.isnan(found.correlation()[0, 1])
