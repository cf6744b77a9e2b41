"""Every row is in one cell of every repeat, groups stay together, gaps are kept, and counts are as even as promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.folds import (
    ColumnFolds,
    Folds,
    GroupFolds,
    RowFolds,
    StratifiedFolds,
    TimeFolds,
    value_keys,
)
from headrace.folding import borders

rows = st.integers(0, 400)
counts = st.integers(2, 7)


def dealt(folds: Folds, table: pa.Table, *, seed: int = 0, start: int = 0) -> np.ndarray:
    keys = np.arange(start, start + table.num_rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return folds.cells(table, keys, np.ones(table.num_rows, bool), seed=seed)


def table_of(count: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    who = pa.array([f"u{n}" if n else None for n in rng.integers(0, 40, count)], pa.string())
    return pa.table({
        "who": who,
        "y": pa.array(rng.choice(["a", "b", "c"], count, p=[0.7, 0.2, 0.1]), pa.string()),
        "when": pa.array(rng.integers(0, 1000, count), pa.timestamp("s")),
        "fold": pa.array(rng.integers(-1, 4, count)),
    })  # fmt: skip


def kinds(count: int, repeats: int) -> list[Folds]:
    return [
        RowFolds(count, repeats),
        GroupFolds("who", count, repeats),
        StratifiedFolds("y", count, repeats),
        ColumnFolds("fold", (0, 1, 2)),
        TimeFolds("when", (300, 600), gap=50, window=100),
        TimeFolds("when", (300, 600)),
    ]


@given(rows, counts, st.integers(1, 3), st.integers(0, 9))
def test_every_row_is_in_one_cell_of_every_repeat_and_judges_once(
    count: int, k: int, repeats: int, seed: int
) -> None:
    table = table_of(count, seed)
    for folds in kinds(k, repeats):
        cells = dealt(folds, table, seed=seed)
        assert cells.shape == (folds.repeats, count)
        assert (cells < len(folds.names)).all()
        judged = np.zeros((folds.repeats, count), int)
        for fold in folds.folds:
            assert not set(fold.train) & set(fold.validation)
            judged[fold.repeat] += np.isin(cells[fold.repeat], fold.validation)
        assert (judged <= 1).all()
        if isinstance(folds, (RowFolds, GroupFolds, StratifiedFolds)):
            assert (judged == 1).all()


@given(st.integers(1, 400), counts, st.integers(0, 9), st.integers(0, 400))
def test_a_group_is_never_split_wherever_its_rows_are_and_however_they_are_stored(
    count: int, k: int, seed: int, cut: int
) -> None:
    table = table_of(count, seed)
    folds = GroupFolds("who", k, 2)
    whole = dealt(folds, table)
    parts = [
        table.slice(0, cut),
        table.slice(cut).set_column(0, "who", table["who"].slice(cut).dictionary_encode()),
    ]
    again = np.concatenate([dealt(folds, part, start=7) for part in parts], axis=1)
    np.testing.assert_array_equal(whole, again)
    for name in {*table["who"].to_pylist()}:
        there = [who == name for who in table["who"].to_pylist()]
        assert all(len(set(cells[there])) == 1 for cells in whole)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=6), counts, st.integers(0, 9))
def test_classes_are_spread_evenly_up_to_one_row_a_chunk(sizes: list[int], k: int, seed: int) -> None:
    total: dict[str, np.ndarray] = {}
    for number, size in enumerate(sizes):
        table = table_of(size, seed + number)
        (cells,) = dealt(StratifiedFolds("y", k), table, start=1000 * number)
        y = np.array(table["y"].to_pylist(), dtype=str)
        for label in "abc":
            counted = np.bincount(cells[y == label], minlength=k)
            assert np.ptp(counted) <= 1
            total[label] = total.get(label, np.zeros(k, int)) + counted
    assert all(np.ptp(counted) <= len(sizes) for counted in total.values())


@given(st.integers(0, 200), st.integers(0, 80), st.one_of(st.none(), st.integers(1, 300)))
def test_time_folds_learn_from_what_was_before_the_gap_and_within_the_window(
    seed: int, gap: int, window: int | None
) -> None:
    starts = (250, 500, 800)
    folds = TimeFolds("when", starts, gap=gap, window=window)
    table = table_of(300, seed)
    when = np.asarray(table["when"].cast(pa.int64()))
    (cells,) = dealt(folds, table)
    for k, fold in enumerate(folds.folds):
        learnt, judged = np.isin(cells, fold.train), np.isin(cells, fold.validation)
        low = -1 if window is None else starts[k] - gap - window
        end = starts[k + 1] if k + 1 < len(starts) else 10**6
        np.testing.assert_array_equal(learnt, (when < starts[k] - gap) & (when >= low))
        np.testing.assert_array_equal(judged, (when >= starts[k]) & (when < end))


def test_rows_without_a_time_are_in_no_fold_and_other_values_train_in_all() -> None:
    folds = TimeFolds("when", (5,))
    (cells,) = dealt(folds, pa.table({"when": pa.array([1, None, 9], pa.timestamp("s"))}))
    used = {cell for fold in folds.folds for cell in (*fold.train, *fold.validation)}
    assert [cell in used for cell in cells.tolist()] == [True, False, True]
    named = ColumnFolds("part", ("a", "b"))
    (cells,) = dealt(named, pa.table({"part": ["a", "b", "c", None]}))
    assert [[cell in fold.train for cell in cells.tolist()] for fold in named.folds] == [
        [False, True, True, True],
        [True, False, True, True],
    ]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, None, 1]), pa.array([1.5, 2.5, None, 1.5]), pa.array(["a", "b", None, "a"]),
        pa.array([True, False, None, True]), pa.array([1, 2, None, 1], pa.date32()),
        pa.array([1, 2, None, 1], pa.timestamp("ms")), pa.array(["a", "b", None, "a"]).dictionary_encode(),
    ],
)  # fmt: skip
def test_equal_values_have_equal_keys(values: Any) -> None:
    keys = value_keys(pa.chunked_array([values]))
    assert keys[0] == keys[3]
    assert len(set(keys.tolist())) == 3
    assert len(value_keys(pa.chunked_array([values.slice(0, 0)]))) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(1, 1000)), min_size=1, max_size=20
    )
)
def test_borders_ascend_and_cut_rows_evenly_when_groups_are_spread(
    groups: list[tuple[int, int, int]],
) -> None:
    spans = [(low, low + length, size) for low, length, size in groups]
    found = borders(spans, 4)
    assert list(found) == sorted(set(found))


def test_borders_of_evenly_spread_rows_are_those_of_equal_counts() -> None:
    assert borders([(0, 500, 500), (500, 1000, 500)], 4) == (200, 400, 600, 800)
    assert borders([(0, 500, 500), (500, 1000, 500)], 4, end=500) == (100, 200, 300, 400)
    assert borders([(5, 5, 10)], 3) in {(5,), (6,)}
    assert borders([], 3) == ()
