"""The fast-path law: compiled loops write the same bits as numpy, whichever rows are written where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import DataError
from headrace.preparation import native
from headrace.preparation.compiled import CompiledPreparation

COLUMNS: dict[str, Any] = {
    "bounded": {"clip": {"method": "zscore", "limit": 1}, "scale": "minmax"},
    "kept": {"impute": "none", "scale": "none"},
    "median": {"impute": "median", "scale": "robust"},
    "ordinal": {"encode": "ordinal"},
    "when": {"parts": ["hour", "year"]},
    "store": {"encode": "one_hot"},
}
WORDS = np.array([f"word {i}" for i in range(60)], dtype=object)


def make(seed: int, n: int, gaps: float) -> pa.Table:
    rng = np.random.default_rng(seed)

    def holes() -> Any:
        return rng.random(n) < gaps

    def real() -> Any:
        values = rng.normal(1, 2, n)
        values[rng.random(n) < gaps / 2] = np.nan
        return values

    words = WORDS[rng.integers(0, len(WORDS) if n > 200 else 9, n)]
    return pa.table(
        {
            "real": pa.array(real(), mask=holes(), from_pandas=False),
            "other": pa.array(real(), mask=holes(), from_pandas=False),
            "bounded": pa.array(real(), mask=holes()),
            "kept": pa.array(real(), mask=holes()),
            "median": pa.array(real(), mask=holes()),
            "single": pa.array(rng.normal(size=n).astype(np.float32), mask=holes()),
            "whole": pa.array(rng.integers(-(2**60), 2**60, n), mask=holes()),
            "short": pa.array(rng.integers(0, 9, n).astype(np.uint16)),
            "flag": pa.array(rng.random(n) < 0.5, mask=holes()),
            "word": pa.array(words, pa.string(), mask=holes()).dictionary_encode(),
            "ordinal": pa.array(words, pa.string(), mask=holes()),
            "store": pa.array(rng.integers(0, 5, n), mask=holes()),
            "when": pa.array(rng.integers(0, 10**15, n).astype("datetime64[us]"), mask=holes()),
        }
    )


def both(p: Any, table: pa.Table, **how: Any) -> tuple[Any, Any]:
    plain, fast = (CompiledPreparation(p, native=compiled) for compiled in (False, True))
    return plain.transform(table, **how), fast.transform(table, **how)


def assert_same_bits(plain: Any, fast: Any) -> None:
    assert type(fast) is type(plain)
    if scipy.sparse.issparse(plain):
        np.testing.assert_array_equal(fast.indices, plain.indices)
        np.testing.assert_array_equal(fast.indptr, plain.indptr)
        plain, fast = plain.data, fast.data
    assert fast.dtype == plain.dtype
    assert fast.tobytes() == plain.tobytes()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    gaps=st.sampled_from([0.0, 0.1, 0.6]),
    rows=st.sampled_from([0, 1, 130]),
    sparse=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    share=st.sampled_from([None, 0.0, 0.5, 1.0]),
    mixed=st.booleans(),
)
def test_compiled_loops_write_the_same_bits(prepare, seed, gaps, rows, sparse, dtype, share, mixed):
    learnt = make(7, 300, gaps)
    columns = COLUMNS
    if not sparse:
        learnt = learnt.drop_columns(["word", "when"])
        columns = {name: said for name, said in COLUMNS.items() if name != "when"}
    p = prepare(learnt, columns=columns, categorical={"min_frequency": 1})
    table = make(seed, rows, gaps)
    rng = np.random.default_rng(seed)
    some = None if share is None else np.flatnonzero(rng.random(rows) < share)
    order = rng.permutation(rows if some is None else len(some)) if mixed else None
    plain, fast = both(p, table, dtype=dtype, rows=some, order=order)
    assert scipy.sparse.issparse(plain) == sparse
    assert_same_bits(plain, fast)


def test_rows_and_order_are_those_of_the_taken_table(prepare):
    table = make(7, 5000, 0.2)  # several blocks and a short one
    p = prepare(table, columns=COLUMNS)
    rng = np.random.default_rng(1)
    rows = np.flatnonzero(rng.random(5000) < 0.9)
    order = rng.permutation(len(rows))
    taken = table.take(pa.array(rows[order]))
    plain, fast = both(p, table, rows=rows, order=order)
    assert_same_bits(CompiledPreparation(p).transform(taken), plain)
    assert_same_bits(plain, fast)


def test_features_that_transformers_make_follow_the_order_too(prepare):
    table = make(4, 300, 0.1)
    p = prepare(table, columns={**COLUMNS, "word": {"encode": "hashing"}})
    assert p.layout.recipes
    order = np.random.default_rng(2).permutation(300)
    assert_same_bits(*both(p, table, order=order))


def test_infinite_values_are_refused_by_name(prepare):
    table = make(5, 300, 0.1)
    p = prepare(table, columns=COLUMNS)
    bad = table.set_column(0, "real", pa.array([np.inf] + [1.0] * 299))
    with pytest.raises(DataError, match="column 'real': holds infinite values"):
        CompiledPreparation(p, native=True).transform(bad)


def test_without_numba_numpy_writes(prepare, monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    native.compiled_loops.cache_clear()
    table = make(6, 100, 0.1)
    try:
        assert native.compiled_loops() is None
        assert_same_bits(*both(prepare(table, columns=COLUMNS), table))
    finally:
        native.compiled_loops.cache_clear()
