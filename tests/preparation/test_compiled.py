"""The fast-path law: from Arrow, the same numbers as scikit-learn gives from pandas."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import DataError
from headrace.preparation import writing
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import build_transformer

WORDS = np.array(["a", "b", "größe", "", "seldom", "missing"], dtype=object)
COLUMNS: dict[str, Any] = {
    "median": {"impute": "median", "scale": "robust"},
    "bounded": {"clip": {"method": "zscore", "limit": 1}, "scale": "minmax"},
    "kept": {"impute": "none", "scale": "none"},
    "constant": {"fill_value": 3},
    "ordinal": {"encode": "ordinal"},
    "store": {"encode": "one_hot"},
    "when": {"parts": ["hour", "year", "epoch_days", "month"]},
    "raw": "passthrough",
}


def dense(matrix: Any) -> Any:
    return matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)


def make(seed: int, n: int, gaps: float, *, shift: float = 0.0, new: bool = False) -> pa.Table:
    rng = np.random.default_rng(seed)
    words = np.append(WORDS, ["never seen", "日本"]) if new else WORDS

    def holes() -> Any:
        return rng.random(n) < gaps

    def real() -> Any:
        values = rng.normal(shift, 2, n)
        values[rng.random(n) < gaps / 2] = np.nan
        return values

    return pa.table(
        {
            "real": pa.array(real(), mask=holes(), from_pandas=False),
            "other": pa.array(real(), mask=holes(), from_pandas=False),
            "median": pa.array(real(), mask=holes()),
            "bounded": pa.array(real(), mask=holes()),
            "kept": pa.array(real(), mask=holes()),
            "constant": pa.array(real(), mask=holes()),
            "raw": pa.array(rng.integers(0, 9, n).astype(np.int16)),
            "single": pa.array(rng.normal(size=n).astype(np.float32), mask=holes()),
            "whole": pa.array(rng.integers(-50, 50, n), mask=holes()),
            "flag": pa.array(rng.random(n) < 0.5, mask=holes()),
            "store": pa.array(rng.integers(0, 9 if new else 5, n), mask=holes()),
            "word": pa.array(words[rng.integers(0, len(words), n)], pa.string(), mask=holes()),
            "code": pa.array(words[rng.integers(0, len(words), n)], pa.string(), mask=holes()).dictionary_encode(),
            "ordinal": pa.array(words[rng.integers(0, len(words), n)], pa.large_string(), mask=holes()),
            "when": pa.array(rng.integers(-(10**15), 10**15, n).astype("datetime64[us]"), mask=holes()),
            "zoned": pa.array(rng.integers(0, 10**9, n), pa.timestamp("s", "Europe/Paris"), mask=holes()),
            "day": pa.array(rng.integers(0, 20_000, n).astype("datetime64[D]"), mask=holes()),
        }
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    gaps=st.sampled_from([0.0, 0.1, 0.5]),
    new_gaps=st.sampled_from([0.0, 0.3, 1.0]),
    rows=st.sampled_from([0, 1, 2, 57]),
    wide=st.booleans(),
    min_frequency=st.sampled_from([1, 30]),
)
def test_equals_the_transformer(prepare, to_frame, seed, gaps, new_gaps, rows, wide, min_frequency):
    table = make(seed, 120, gaps)
    names = (
        table.column_names
        if wide
        else [name for name in table.column_names if name not in {"when", "zoned", "day"}]
    )
    options = {name: value for name, value in COLUMNS.items() if name in names}
    p = prepare(table.select(names), columns=options, categorical={"min_frequency": min_frequency})
    fast = CompiledPreparation(p)
    assert fast.sparse == p.layout.sparse
    new = make(seed + 1, rows, new_gaps, shift=1.0, new=True)
    got = fast.transform(new, np.float64)
    assert got.shape == (rows, fast.width)
    if rows == 0:  # scikit-learn refuses a frame without rows
        return
    wanted = dense(build_transformer(p).transform(to_frame(new)))
    np.testing.assert_allclose(dense(got), wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dense(fast.transform(new)), wanted, rtol=1e-6, atol=1e-6)
    chunked = pa.concat_tables([new.slice(0, 1), new.slice(1), new.slice(0, 0)])
    np.testing.assert_array_equal(dense(fast.transform(chunked, np.float64)), dense(got))


@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_rows_of_csr_are_regular_and_sorted(prepare, monkeypatch, gaps):
    monkeypatch.setattr(writing, "BLOCK", 64)  # several blocks and a short one
    table = make(5, 400, gaps)
    p = prepare(table, columns=COLUMNS)
    fast = CompiledPreparation(p)
    matrix: Any = fast.transform(make(6, 300, 0.4, new=True))
    assert fast.sparse
    assert np.unique(np.diff(matrix.indptr)).tolist() == [fast.nnz_per_row]
    assert (matrix.indices.dtype, matrix.data.dtype) == (np.int32, np.float32)
    rows = matrix.indices.reshape(300, -1)
    assert (np.diff(rows, axis=1) > 0).all()


def test_a_number_or_its_indicator_is_stored_never_both(prepare):
    words = [f"w{i % 40}" for i in range(400)]
    x = [None if i % 3 == 0 else float(i) for i in range(400)]
    p = prepare(pa.table({"x": x, "y": x[::-1], "w": words}))
    fast = CompiledPreparation(p)
    assert fast.nnz_per_row == 3
    matrix: Any = fast.transform(pa.table({"x": [None, 1.0, None], "y": [1.0, None, None], "w": ["w1"] * 3}))
    assert p.names_out[:4] == ("x", "y", "missingindicator_x", "missingindicator_y")
    assert matrix.indices.reshape(3, 3)[:, :2].tolist() == [[1, 2], [0, 3], [2, 3]]


def test_it_is_small_and_survives_pickling(prepare, mixed):
    fast = CompiledPreparation(prepare(mixed))
    held = pickle.dumps(fast)
    assert len(held) < 10_000
    np.testing.assert_array_equal(dense(pickle.loads(held).transform(mixed)), dense(fast.transform(mixed)))


def test_infinities_are_refused_as_scikit_learn_does(prepare, mixed, to_frame):
    p = prepare(mixed)
    bad = mixed.set_column(0, "real", pa.array([np.inf] + [1.0] * (mixed.num_rows - 1)))
    with pytest.raises(DataError, match="column 'real': holds infinite values"):
        CompiledPreparation(p).transform(bad)
    with pytest.raises(ValueError, match="infinity"):
        build_transformer(p).transform(to_frame(bad))


def test_large_numbers_whose_squares_overflow_are_no_infinities(prepare):
    x = np.array([1e200, -1e200, 3e200, np.nan])
    p = prepare(pa.table({"x": x}), numeric={"clip": None})
    out = CompiledPreparation(p).transform(pa.table({"x": x}), np.float64)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("real", ["a", "b"], "column 'real': is string, not numbers"),
        ("color", [1, 2], "column 'color': is int64, not strings"),
        ("when", [1, 2], "column 'when': is int64, not times"),
    ],
)
def test_another_kind_of_column_is_named(prepare, mixed, name, values, message):
    new = mixed.slice(0, 2)
    new = new.set_column(new.column_names.index(name), name, pa.array(values))
    with pytest.raises(DataError, match=message):
        CompiledPreparation(prepare(mixed)).transform(new)


def test_a_missing_column_is_named(prepare, mixed):
    with pytest.raises(DataError, match="column 'whole': is missing"):
        CompiledPreparation(prepare(mixed)).transform(mixed.drop_columns(["whole"]))


def test_columns_of_nulls_alone_are_all_missing(prepare, mixed):
    p = prepare(mixed)
    nulls = pa.table({name: pa.nulls(3) for name in p.features_in})
    typed = pa.table({name: pa.nulls(3, mixed.schema.field(name).type) for name in p.features_in})
    fast = CompiledPreparation(p)
    np.testing.assert_array_equal(dense(fast.transform(nulls)), dense(fast.transform(typed)))
