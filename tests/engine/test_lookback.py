"""Columns made from the rows before are the same wherever the data are cut, and those of pandas on the whole."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.history import ForwardFill, History, Lags, Rolling, Statistic
from headrace.engine.lookback import extend, left, rows_of
from headrace.engine.past import handed_on

HOUR = 3_600_000
STATISTICS: tuple[Statistic, ...] = ("mean", "min", "max", "sum", "std", "count")
EVERY = History(
    "when",
    (
        Lags(kind="lags", column="x", by=("plane",), rows=(1, 3)),
        Lags(kind="lags", column="word"),
        Rolling(kind="rolling", column="x", by=("plane",), rows=4, statistics=STATISTICS),
        Rolling(kind="rolling", column="n", by=("plane", "n"), rows=2),
        Rolling(kind="rolling", column="x", by=("n",), window=timedelta(hours=5), statistics=STATISTICS),
        ForwardFill(kind="fill", column="x", by=("plane",)),
        ForwardFill(kind="fill", column="word", by=("n",)),
        Lags(kind="lags", column="n", by=("n",), rows=(2,), gap=timedelta(hours=2)),
        Rolling(kind="rolling", column="flag", rows=3, statistics=("mean", "sum"), gap=timedelta(hours=3)),
        Rolling(
            kind="rolling", column="n", by=("plane",), window=timedelta(hours=4), statistics=("max", "count"),
            gap=timedelta(hours=1),
        ),
    ),
)  # fmt: skip


def table_of(rows: int, seed: int) -> pa.Table:
    """Rows in time order with ties, missing values and missing keys."""
    rng = np.random.default_rng(seed)
    hours = np.cumsum(rng.integers(0, 3, rows))
    x = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(0, 10.0 ** rng.integers(0, 6), rows))
    return pa.table(
        {
            "when": pa.array(hours * HOUR, pa.timestamp("ms")),
            "plane": pa.array(
                rng.choice(["a", "b", "c"], rows), mask=rng.random(rows) < 0.1
            ).dictionary_encode(),
            "n": pa.array(rng.integers(0, 3, rows)),
            "x": pa.array(x, mask=rng.random(rows) < 0.2),
            "flag": pa.array(rng.random(rows) < 0.5, mask=rng.random(rows) < 0.1),
            "word": pa.array(rng.choice(["", "ja", "日本"], rows), mask=rng.random(rows) < 0.5),
        }
    )


def made_in_chunks(history: History, table: pa.Table, cuts: list[int]) -> pa.Table:
    """Make the columns chunk by chunk, as passes do, the last chunk first."""
    kind = table.schema.field(history.time).type
    chunks = [table.slice(start, stop - start) for start, stop in pairwise([0, *cuts, table.num_rows])]
    pasts = handed_on(history, [left(history, rows_of(history, chunk), kind) for chunk in chunks], kind)
    made = [extend(history, *each) for each in reversed(list(zip(chunks, pasts, strict=True)))]
    return pa.concat_tables(reversed(made)).unify_dictionaries().select(list(history.names)).combine_chunks()


chunkings = st.integers(0, 60).flatmap(
    lambda rows: st.tuples(st.just(rows), st.lists(st.integers(0, rows), max_size=5).map(sorted))
)


@given(chunking=chunkings, seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_any_chunking_gives_the_same_to_the_bit(chunking: tuple[int, list[int]], seed: int) -> None:
    rows, cuts = chunking
    table = table_of(rows, seed)
    whole = extend(EVERY, table, None).select(list(EVERY.names)).combine_chunks()
    got = made_in_chunks(EVERY, table, cuts)
    assert got.schema.equals(whole.schema)
    assert str(got.to_pydict()) == str(whole.to_pydict())  # NaN beside NaN, every number to the bit
    assert whole.schema.equals(pa.schema(EVERY.fields(pa.schema([
        pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field for field in table.schema
    ]))))  # fmt: skip


@given(rows=st.integers(1, 80), seed=st.integers(0, 10**6), cuts=st.integers(13, 40))
@settings(max_examples=15)
def test_it_is_what_pandas_makes_of_the_whole(rows: int, seed: int, cuts: int) -> None:
    table = table_of(rows, seed)
    frame = table.to_pandas()
    frame["plane"] = frame["plane"].astype(object)
    got = made_in_chunks(EVERY, table, list(range(0, rows, cuts))).to_pandas()

    by_plane = frame.groupby("plane")["x"]
    pd.testing.assert_series_equal(got["x_lag_1_by_plane"], by_plane.shift(1), check_names=False)
    pd.testing.assert_series_equal(got["x_lag_3_by_plane"], by_plane.shift(3), check_names=False)
    pd.testing.assert_series_equal(got["x_filled_by_plane"], _filled(frame), check_names=False)
    assert got["word_lag_1"].fillna("?").tolist() == frame["word"].shift(1).fillna("?").tolist()
    word = frame.groupby("n")["word"].ffill()
    assert got["word_filled_by_n"].fillna("?").tolist() == word.fillna("?").tolist()

    known = frame["plane"].notna()
    rolling = frame[known].groupby("plane")["x"].rolling(4, min_periods=1, closed="left")
    for statistic in ("mean", "min", "max", "sum", "std"):
        expected = getattr(rolling, statistic)().droplevel(0).reindex(frame.index)
        np.testing.assert_allclose(got[f"x_{statistic}_4_by_plane"], expected, rtol=1e-6, atol=1e-6)
    lags = pd.concat([by_plane.shift(k).notna() for k in range(1, 5)], axis=1)
    assert got["x_count_4_by_plane"].tolist() == lags.sum(axis=1).tolist()


def _filled(frame: pd.DataFrame) -> pd.Series[float]:
    """A row without a key keeps its own value; pandas makes it missing."""
    return frame.groupby("plane")["x"].ffill().where(frame["plane"].notna(), frame["x"])


@given(rows=st.integers(1, 60), seed=st.integers(0, 10**6), cuts=st.integers(9, 30))
@settings(max_examples=15)
def test_windows_of_time_and_gaps_are_what_a_loop_finds(rows: int, seed: int, cuts: int) -> None:
    table = table_of(rows, seed)
    got = made_in_chunks(EVERY, table, list(range(0, rows, cuts))).to_pydict()
    hours = np.asarray(table["when"].cast(pa.int64())) // HOUR
    held = {name: table[name].to_pylist() for name in ("plane", "n", "x", "flag")}

    def before(row: int, by: str | None, *, gap: int) -> list[int]:
        same = [k for k in range(row) if by is None or held[by][k] == held[by][row] is not None]
        return [k for k in same if hours[k] <= hours[row] - gap]

    for row in range(rows):
        within = [held["x"][k] for k in before(row, "n", gap=0) if hours[k] >= hours[row] - 5]
        values = [value for value in within if value is not None and not np.isnan(value)]
        assert got["x_count_5h_by_n"][row] == len(values)
        _same(got["x_mean_5h_by_n"][row], np.mean(values) if values else None)
        _same(got["x_std_5h_by_n"][row], np.std(values, ddof=1) if len(values) > 1 else None)
        lagged = before(row, "n", gap=2)
        assert got["n_lag_2_by_n"][row] == (held["n"][lagged[-2]] if len(lagged) > 1 else None)
        flags = [held["flag"][k] for k in before(row, None, gap=3)[-3:]]
        said = [float(flag) for flag in flags if flag is not None]
        _same(got["flag_mean_3"][row], np.mean(said) if said else None)
        planes = [held["n"][k] for k in before(row, "plane", gap=1) if hours[k] >= hours[row] - 5]
        assert got["n_max_4h_by_plane"][row] == (max(planes) if planes else None)
        assert got["n_count_4h_by_plane"][row] == len(planes)


def _same(got: float | None, expected: float | np.floating[Any] | None) -> None:
    assert got == (None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-9))


@given(chunking=chunkings, seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_what_is_left_of_what_was_left_is_left_of_all(chunking: tuple[int, list[int]], seed: int) -> None:
    rows, cuts = chunking
    table = table_of(rows, seed)
    kind = table.schema.field("when").type
    cut = cuts[0] if cuts else rows // 2
    early, late = (rows_of(EVERY, part) for part in (table.slice(0, cut), table.slice(cut)))
    passed_on = tuple(map(_both, left(EVERY, early, kind), late))
    whole = rows_of(EVERY, table)
    for got, expected in zip(left(EVERY, passed_on, kind), left(EVERY, whole, kind), strict=True):
        assert str(got.to_pydict()) == str(expected.to_pydict())


def _both(early: pa.Table, late: pa.Table) -> pa.Table:
    return pa.concat_tables([early, late])


def test_few_rows_are_left_of_many() -> None:
    table = table_of(5_000, 1)
    kind = table.schema.field("when").type
    lags = History("when", (Lags(kind="lags", column="x", by=("plane",), rows=(2,)),))
    (rows,) = left(lags, rows_of(lags, table), kind)
    assert rows.num_rows == 6
