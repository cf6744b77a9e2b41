from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import chunkings, merge_trees

from headrace.accumulators.absences import Absences

NAMES = ("a", "b", "c", "d")


def gone(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    some = rng.random((n, 4)) < [0.3, 0.5, 0.01, 0.0]
    some[:, 1] |= some[:, 0]
    return some


def absences(some: np.ndarray) -> Absences:
    missing = {name: some[:, i] for i, name in enumerate(NAMES) if some[:, i].any()}
    return Absences.of(NAMES, len(some), missing)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 700), st.integers(0, 9))
def test_counts_are_those_of_the_matrix_product_for_any_split(data, n, seed):
    some = gone(n, seed)
    leaves = [absences(some[part]) for part in data.draw(chunkings(n))]
    found = data.draw(merge_trees())(leaves, Absences.merge)
    assert found.joint.tolist() == (some.T.astype(int) @ some.astype(int)).tolist()
    assert found.complete == int((~some.any(axis=1)).sum())
    assert found.rows == n
    again = Absences.from_state(json.loads(json.dumps(found.state())))
    assert again.state() == found.state()


def test_correlation_is_that_of_the_flags():
    some = gone(2000, 1)
    found = absences(some).correlation()
    np.testing.assert_allclose(found[:3, :3], np.corrcoef(some[:, :3].T.astype(float)), atol=1e-12)
    assert np.isnan(found[3]).all()  # never missing
    assert np.isnan(Absences.of(NAMES, 0, {}).correlation()).all()
