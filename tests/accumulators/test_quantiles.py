"""The quantile sketch against exact ranks, within the bound that it claims."""

from __future__ import annotations

import json
import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import SHAPES, chunkings, columns, merge_trees

from headrace.accumulators import merge_tree
from headrace.accumulators.quantiles import QuantileSketch

if TYPE_CHECKING:
    from numpy.typing import NDArray

quick = settings(max_examples=40, deadline=None)
SHARES = np.array([0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0])


def leaf(x: NDArray[Any], points: int = 2048) -> QuantileSketch:
    return QuantileSketch.of_sorted(np.sort(x), points=points)


def worst_rank_error(sketch: QuantileSketch, x: NDArray[Any]) -> float:
    """Largest distance in rows of a wanted rank from the ranks that the returned value has."""
    ascending = np.sort(x)
    found = sketch.quantile(SHARES)
    low, high = (np.searchsorted(ascending, found, side=side) for side in ("left", "right"))
    wanted = SHARES * len(x)
    return float(np.maximum(np.maximum(low - wanted, wanted - high), 0).max())


@quick
@given(st.data(), st.sampled_from([16, 64, 2048]))
def test_true_ranks_stay_within_the_claimed_error_for_any_split_and_tree(data, points):
    x = data.draw(columns())
    leaves = [leaf(x[cut], points) for cut in data.draw(chunkings(len(x), 20))]
    sketch = data.draw(merge_trees())(leaves, QuantileSketch.merge)
    assert sketch.n == len(x)
    if not len(x):
        assert math.isnan(sketch.quantile(0.5))
        assert math.isnan(sketch.cdf(0.0))
        return
    for stored in (sketch, sketch.compact(), sketch.compact(16)):
        assert stored.n == len(x)
        # An interpolated exact quantile may lie between two neighbouring rows.
        assert worst_rank_error(stored, x) <= stored.error + 1 + 1e-6
        below = np.searchsorted(np.sort(x), x[:50], side="right") / len(x)
        assert np.abs(stored.cdf(x[:50]) - below).max() <= stored.rank_error + 1e-9
        assert (stored.quantile(0.0), stored.quantile(1.0)) == (x.min(), x.max())


@quick
@given(st.data())
def test_quantiles_of_few_rows_are_those_of_numpy(data):
    x = data.draw(columns(2000, [shape for shape in SHAPES if shape != "huge and tiny"]))
    sketch = data.draw(merge_trees())(
        [leaf(x[cut]) for cut in data.draw(chunkings(len(x)))], QuantileSketch.merge
    )
    assert sketch.exact
    assert sketch.rank_error == 0
    if len(x):
        np.testing.assert_array_equal(sketch.quantile(SHARES), np.quantile(x, SHARES))


@pytest.mark.parametrize("shape", ["drift", "sorted", "shuffled"])
@pytest.mark.parametrize("fold", ["left", "right", "tree"])
def test_thousands_of_drifting_chunks_stay_below_half_a_percent(shape, fold):
    chunks, rows = 400, 5000
    rng = np.random.default_rng(1)
    x = rng.normal(size=chunks * rows)
    if shape == "sorted":
        x.sort()
    elif shape == "drift":
        x += np.repeat(np.linspace(0, 30, chunks), rows)
    leaves = [leaf(part) for part in x.reshape(chunks, rows)]
    merge = QuantileSketch.merge
    folds = {
        "left": lambda: reduce(merge, leaves),
        "right": lambda: reduce(lambda a, b: b.merge(a), leaves[::-1]),
        "tree": lambda: merge_tree(leaves, merge),
    }
    sketch = folds[fold]()
    stored = sketch.compact()
    assert stored.rank_error < 0.005
    assert worst_rank_error(stored, x) <= stored.error
    assert worst_rank_error(sketch, x) <= sketch.error
    assert sum(len(buffer.values) for buffer in sketch.buffers) <= 12 * 2048
    assert len(stored.buffers) == 1


@pytest.mark.parametrize("rows", [250_000, 3000, 2048])
def test_a_billion_rows_stay_below_half_a_percent_with_compaction(rows):
    # Doubling a sketch by merging it with itself takes the same path as a billion rows in chunks of `rows`.
    sketch = leaf(np.arange(rows))
    while sketch.n < 10**9:
        sketch = sketch.merge(sketch)
    assert sketch.compact().rank_error <= 0.005


def test_one_row_at_a_time_stays_small_and_exact_at_first():
    sketch = QuantileSketch()
    for value in range(3000):
        sketch = sketch.update(np.array([value]))
    assert sketch.n == 3000
    assert sketch.rank_error < 0.005
    assert sum(len(buffer.values) for buffer in sketch.buffers) < 3 * 2048


def test_state_does_not_hold_on_to_the_chunk():
    chunk = np.arange(1000.0)
    sketch = QuantileSketch.of_sorted(chunk)
    chunk[:] = 0
    assert sketch.quantile(1.0) == 999
    assert sketch.quantile(0.5) == 499.5


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_dtype_survives_json(dtype):
    sketch = leaf(np.random.default_rng(0).normal(50, 10, 5000).astype(dtype))
    again = QuantileSketch.from_state(json.loads(json.dumps(sketch.state(), allow_nan=False)))
    assert again.buffers[0].values.dtype == dtype
    np.testing.assert_array_equal(again.buffers[0].values, sketch.buffers[0].values)
    assert again.state() == sketch.state()
