"""Cluster metrics: silhouette of a sample, sizes, inertia."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import metrics as sk

from headrace.accumulators.clusters import ClusterMetrics, silhouettes
from headrace.accumulators.metrics import Estimate


def blobs(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    X = rng.normal(size=(rows, 4)) + 3.0 * labels[:, None]
    return labels, X, rng.integers(0, 2**64, rows, dtype=np.uint64)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 40), st.integers(2, 5))
def test_silhouettes_equal_scikit_learn(seed, rows, clusters):
    rng = np.random.default_rng(seed)
    X, labels = rng.normal(size=(rows, 3)), rng.integers(0, clusters, rows)
    if 2 <= len(np.unique(labels)) < rows:
        assert silhouettes(X, labels) == pytest.approx(sk.silhouette_samples(X, labels), abs=1e-7)


def test_sampled_silhouette_is_near_that_of_all_rows_and_within_its_interval():
    labels, X, keys = blobs(6000)
    metrics = ClusterMetrics(4, sample=1500)
    metrics.update(labels, X, None, keys)
    one = metrics.result()["silhouette"]
    assert one.value == pytest.approx(sk.silhouette_score(X, labels), abs=0.02)
    assert one.error is None
    assert one.value is not None
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high


def test_dense_and_sparse_rows_in_any_split_give_the_same():
    labels, X, keys = blobs(900)
    distances = np.abs(X[:, 0])
    whole = ClusterMetrics(4, sample=200, replicates=20)
    whole.update(labels, X, None, keys, distances=distances)
    parts = []
    for place in range(3):
        part = ClusterMetrics(4, sample=200, replicates=20)
        part.update(
            labels[place::3],
            sparse.csr_matrix(X[place::3]),
            None,
            keys[place::3],
            distances=distances[place::3],
        )
        parts.append(part)
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert merged.curves() == whole.curves()
    assert merged.result()["silhouette"] == whole.result()["silhouette"]
    inertia = merged.result()["inertia"]
    assert inertia.value == pytest.approx(np.mean(distances**2))
    assert inertia.low is not None
    assert inertia.low < np.mean(distances**2)
    assert whole.curves()["sizes"] == {
        str(label): float(size) for label, size in enumerate(np.bincount(labels))
    }


def test_state_survives_json():
    labels, X, keys = blobs(100)
    metrics = ClusterMetrics(4, replicates=10)
    metrics.update(labels, X, None, keys, distances=np.ones(100))
    back = ClusterMetrics.from_state(json.loads(json.dumps(metrics.state(), allow_nan=False)))
    assert back.state() == metrics.state()
    assert back.result() == metrics.result()
    assert back.result()["silhouette"].error == 0.0


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_one_cluster_is_undefined_without_warning(rows):
    metrics = ClusterMetrics(2)
    metrics.update(np.zeros(rows, dtype=int), np.ones((rows, 2)), None, np.arange(rows, dtype=np.uint64))
    assert metrics.result() == {"silhouette": Estimate(None)}


def test_wide_rows_make_a_smaller_sample():
    assert ClusterMetrics(100_000).sample.size == 39
