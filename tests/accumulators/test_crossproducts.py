"""Cross products against numpy on all rows at once: any split, any tree, drift, offsets, weights, groups, CSR."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from tests.strategies import chunkings, merge_trees

from headrace.accumulators.crossproducts import CrossProducts

quick = settings(max_examples=40, deadline=None)


def expected(X: Any, w: Any, group: Any, groups: int) -> tuple[Any, Any, Any]:
    """Means and pooled products in extended precision."""
    X, w = X.astype(np.longdouble), w.astype(np.longdouble)
    means, squares = np.zeros((groups, X.shape[1])), np.zeros((groups, X.shape[1]))
    products = np.zeros((X.shape[1], X.shape[1]), np.longdouble)
    for k in range(groups):
        rows, weight = X[group == k], w[group == k]
        if weight.sum() > 0:
            mean = (weight @ rows) / weight.sum()
            away = rows - mean
            here = (away * weight[:, None]).T @ away
            products += here
            means[k], squares[k] = mean, np.diag(here)
    return means, squares, products.astype(float)


@quick
@given(
    st.data(),
    st.integers(0, 300),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from(["plain", "far", "drifting", "sparse"]),
)
def test_any_split_and_any_tree_give_the_products_of_all_rows(data, n, d, groups, shape):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    if shape == "far":
        X += 1e6 * rng.normal(size=d)
    if shape == "drifting":
        X += np.linspace(0, 100, n)[:, None]
    if shape == "sparse":
        X[rng.random(X.shape) < 0.7] = 0.0
    w = rng.integers(0, 3, n) * rng.uniform(0.5, 2.0, n)
    group = rng.integers(0, groups, n)
    form = data.draw(st.sampled_from([np.asarray, sparse.csr_matrix]))
    pieces = [CrossProducts.of(form(X[cut]), w[cut], group[cut], groups) for cut in data.draw(chunkings(n))]
    found = data.draw(merge_trees())(pieces, CrossProducts.merge)
    means, squares, products = expected(X, w, group, groups)
    np.testing.assert_allclose(found.mean, means, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(found.products, products, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.squares, squares, rtol=1e-9, atol=1e-9)
    assert found.rows.tolist() == np.bincount(group, minlength=groups).tolist()
    whole = expected(X, w, np.zeros(n, int), 1)
    np.testing.assert_allclose(found.total().products, whole[2], rtol=1e-9, atol=1e-7)
    again = CrossProducts.from_state(json.loads(json.dumps(found.state(), allow_nan=False)))
    assert again.state() == found.state()
    assert CrossProducts.from_arrays(found.arrays()).state() == found.state()


@pytest.mark.parametrize("offset", [0.0, 1e8, -1e12])
def test_an_offset_changes_nothing_but_the_mean(offset):
    X = np.random.default_rng(0).integers(-50, 50, (20_000, 4)).astype(float)
    near, far = (CrossProducts.of(values) for values in (X, X + offset))
    np.testing.assert_allclose(far.products, near.products, rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(far.mean, near.mean + offset, rtol=1e-15)


def test_a_constant_has_no_products_however_it_is_rounded():
    found = CrossProducts.of(np.full((5000, 2), 0.1))
    assert found.products.tolist() == [[0, 0], [0, 0]]


def test_sparse_rows_give_the_products_of_dense_ones_also_when_most_entries_are_stored():
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.normal(size=40_000) + 1e7, rng.random(40_000) < 0.1, rng.random(40_000) < 0.6])
    w = rng.uniform(0, 2, 40_000)
    dense, thin = CrossProducts.of(X, w), CrossProducts.of(sparse.csr_matrix(X), w)
    np.testing.assert_allclose(thin.products, dense.products, rtol=1e-9, atol=1e-6)


def test_mapped_products_are_those_of_the_mapped_rows():
    rng = np.random.default_rng(2)
    X, A, b = rng.normal(size=(500, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    ours, theirs = CrossProducts.of(X).mapped(A, b), CrossProducts.of(X @ A + b)
    np.testing.assert_allclose(ours.products, theirs.products, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-10, atol=1e-10)
