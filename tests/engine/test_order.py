"""The order and the parts are functions of the seed, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.dataset import Chunk, Piece
from headrace.engine.order import (
    PARTS,
    TEST,
    TRAIN,
    VALIDATION,
    chunk_order,
    parts_by_hash,
    parts_by_time,
    row_keys,
    row_order,
    uniform,
)


def chunk_of(*pieces: tuple[str, int, int], index: int = 0) -> Chunk:
    made = tuple(
        Piece(path=f"/data/{key}", key=key, row_groups=(0,), rows=rows, first_row=first, partition=())
        for key, first, rows in pieces
    )
    return Chunk(index=index, pieces=made, rows=sum(rows for _, _, rows in pieces), bytes=0, memory=0)


@given(chunks=st.integers(0, 200), seed=st.integers(0, 2**32 - 1), epoch=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_an_epoch_reads_every_chunk_once_in_an_order_that_seed_and_epoch_decide(
    chunks: int, seed: int, epoch: int
) -> None:
    order = chunk_order(chunks, seed=seed, epoch=epoch)
    assert sorted(order) == list(range(chunks))
    assert order == chunk_order(chunks, seed=seed, epoch=epoch)


def test_epochs_and_seeds_differ_in_their_order() -> None:
    orders = [chunk_order(100, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (1, 2)]
    assert len({tuple(order) for order in orders}) == 4
    first = row_order(100, seed=0, epoch=1, chunk=0)
    assert sorted(first) == list(range(100))
    assert not np.array_equal(first, row_order(100, seed=0, epoch=1, chunk=1))
    assert not np.array_equal(first, row_order(100, seed=0, epoch=2, chunk=0))


@given(st.integers(0, 3_000), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_the_order_of_rows_is_a_permutation_by_numpy(rows: int, seed: int) -> None:
    order = row_order(rows, seed=seed, epoch=1, chunk=2)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(order, np.random.default_rng([seed, 1, 2]).permutation(rows))


@given(rows=st.integers(1, 500), cut=st.data())
@settings(max_examples=40, deadline=None)
def test_the_key_of_a_row_does_not_depend_on_how_chunks_are_cut(rows: int, cut: st.DataObject) -> None:
    at = cut.draw(st.integers(0, rows))
    whole = row_keys(chunk_of(("a.parquet", 0, rows)))
    parts = [row_keys(chunk_of(("a.parquet", 0, at))), row_keys(chunk_of(("a.parquet", at, rows - at)))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_rows_of_different_files_have_different_keys() -> None:
    keys = row_keys(chunk_of(("a.parquet", 0, 10_000), ("b.parquet", 0, 10_000)))
    assert len(np.unique(keys)) == 20_000


def test_parts_have_the_shares_that_were_asked_for() -> None:
    keys = row_keys(chunk_of(("a.parquet", 0, 200_000)))
    parts = parts_by_hash(keys, test=0.2, validation=0.1, seed=7)
    shares = np.bincount(parts, minlength=len(PARTS)) / len(parts)
    # Four standard deviations of a binomial share at this size.
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=4 * 0.46 / np.sqrt(len(parts)))


def test_a_time_split_never_puts_an_earlier_row_into_the_test_part() -> None:
    keys = row_keys(chunk_of(("a.parquet", 0, 10_000)))
    is_test = np.arange(10_000) >= 7_000
    parts = parts_by_time(is_test, keys, validation=0.1, seed=0)
    assert set(parts[is_test]) == {TEST}
    assert set(parts[~is_test]) == {TRAIN, VALIDATION}


@pytest.mark.parametrize("salt", ["part", "validation"])
def test_draws_are_uniform_and_salts_are_independent(salt: str) -> None:
    keys = row_keys(chunk_of(("a.parquet", 0, 100_000)))
    draw = uniform(keys, seed=0, salt=salt)
    counts = np.histogram(draw, bins=20, range=(0, 1))[0]
    chi_square = ((counts - 5_000) ** 2 / 5_000).sum()
    assert chi_square < 43.8  # 0.1 % point with 19 degrees of freedom
    assert abs(np.corrcoef(draw, uniform(keys, seed=0, salt="other"))[0, 1]) < 0.02
