"""What is kept of the test rows: the same rows whatever the chunks, the merge tree and the way to the ledger."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.accumulators import merge_tree
from headrace.accumulators.hashing import splitmix64
from headrace.evaluation import testrows
from headrace.evaluation.testrows import HeldOutRows, RawRows

SCORED, RAW = 20, 7


def rows_of(count: int, seed: int):
    rng = np.random.default_rng(seed)
    keys = splitmix64(np.arange(count, dtype=np.uint64) + np.uint64(1000 * seed))
    table = pa.table({
        "x": pa.array(rng.normal(size=count), mask=rng.random(count) < 0.2),
        "city": pa.array(rng.choice(["a", "b", "ü"], count)),
    })  # fmt: skip
    return keys, table, rng.integers(0, 2, count), rng.random(count), rng.random(count)


def held(keys, table, truth, said, weight, task: str = "classification") -> HeldOutRows:
    state = HeldOutRows(task, SCORED, RAW)
    state.update(keys, table, truth, said, weight)
    return state


def same(left: HeldOutRows, right: HeldOutRows) -> bool:
    found, wanted = left.result(), right.result()
    return (
        found.keys() == wanted.keys()
        and all(np.array_equal(found[name], wanted[name]) for name in found)
        and np.array_equal(left.raw.keys, right.raw.keys)
        and (left.raw.table is None) == (right.raw.table is None)
        and (left.raw.table is None or left.raw.table.equals(right.raw.table))
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.lists(st.integers(0, 60), max_size=5))
def test_any_split_keeps_the_same_rows(seed, count, cuts):
    keys, table, *numbers = rows_of(count, seed)
    places = sorted({0, count, *(min(cut, count) for cut in cuts)})
    parts = [
        # chunks have dictionaries of their own
        held(
            keys[a:b],
            table.slice(a, b - a).set_column(
                1, "city", table.column("city").slice(a, b - a).dictionary_encode()
            ),
            *(each[a:b] for each in numbers),
        )
        for a, b in pairwise(places)
    ]
    whole = held(keys, table, *numbers)
    merged = merge_tree([HeldOutRows("classification", SCORED, RAW), *parts], HeldOutRows.merge)
    assert same(merged, whole)
    read = HeldOutRows.from_state(json.loads(json.dumps(merged.state(), allow_nan=False)))
    assert same(read, whole)
    assert same(read.merge(HeldOutRows("classification", SCORED, RAW)), whole)


def test_the_rows_with_the_smallest_keys_are_kept_with_what_was_said_of_them():
    keys, table, truth, said, weight = rows_of(100, 1)
    found = held(keys, table, truth, said, weight)
    order = np.argsort(keys)
    result = found.result()
    np.testing.assert_array_equal(result["key"], keys[order[:SCORED]])
    np.testing.assert_array_equal(result["label"], truth[order[:SCORED]])
    np.testing.assert_array_equal(result["score"], said[order[:SCORED]])
    np.testing.assert_array_equal(result["weight"], weight[order[:SCORED]])
    np.testing.assert_array_equal(result["predicted"], said[order[:SCORED]] >= 0.5)
    raw = found.raw.result()
    assert raw is not None
    assert raw.equals(table.take(pa.array(order[:RAW])).combine_chunks())


def test_of_more_classes_the_probability_of_the_true_one_is_kept():
    keys, table, *_ = rows_of(4, 2)
    said = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])
    result = held(keys, table, np.array([1, 2, 2, 0]), said, None).result()
    order = np.argsort(keys)
    np.testing.assert_array_equal(result["score"], np.array([0.5, 0.3, 0.8, 0.3])[order])
    np.testing.assert_array_equal(result["predicted"], np.array([1, 0, 2, 1])[order])
    np.testing.assert_array_equal(result["weight"], np.ones(4))


@pytest.mark.parametrize(("task", "names"), [("regression", ["key", "label", "weight", "score"])])
def test_values_have_no_predicted_class(task, names):
    keys, table, _, said, weight = rows_of(9, 3)
    assert list(held(keys, table, said + 1, said, weight, task).result()) == names


def test_of_clusters_only_the_columns_are_kept():
    keys, table, *_ = rows_of(9, 4)
    state = HeldOutRows("clustering", SCORED, RAW)
    state.update(keys, table)
    assert len(state.result()["key"]) == 0
    assert state.raw.table is not None
    assert state.raw.table.num_rows == RAW


def test_a_sample_of_nothing_has_no_table():
    empty = RawRows(3)
    empty.update(np.empty(0, np.uint64), pa.table({"x": pa.array([], pa.float64())}))
    assert RawRows.from_state(empty.state()).result() is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(0, 60), st.integers(1, 12))
def test_of_long_strings_fewer_rows_are_kept_and_the_same_of_any_split(seed, count, cut, most):
    keys, table, *numbers = rows_of(count, seed)
    cut = min(cut, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testrows, "RAW_BYTES", most)
        whole = held(keys, table, *numbers)
        parts = [
            held(
                keys[rows], table.slice(rows.start, rows.stop - rows.start), *(each[rows] for each in numbers)
            )
            for rows in (slice(0, cut), slice(cut, count))
        ]
        assert same(parts[0].merge(parts[1]), whole)
    kept = whole.raw.table
    assert kept is not None
    lengths = [len(value.encode()) for value in kept["city"].to_pylist()]
    assert sum(lengths[:-1]) < most
    assert kept.num_rows == min(RAW, count) or sum(lengths) >= most
    assert kept.num_rows == len(whole.raw.keys)


def test_the_first_of_the_rows_are_a_sample_as_well():
    found = held(*rows_of(50, 5)).raw
    first = found.first(3)
    assert first is not None
    assert found.table is not None
    assert first.equals(found.table.slice(0, 3))
    assert RawRows(3).first(2) is None
