"""Parts of times, held against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.preparation.datetimes import DatetimeParts
from headrace.preparation.fitted import build_transformer
from headrace.preparation.times import PARTS, time_part

IN_PANDAS = {"weekday": "day_of_week", "dayofyear": "day_of_year"}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@settings(max_examples=25, deadline=None)
@given(seconds=st.lists(st.integers(-4_000_000_000, 8_000_000_000), min_size=1, max_size=20))
def test_equals_pandas(part, unit, seconds):
    times = np.array(seconds, dtype="datetime64[s]").astype(f"datetime64[{unit}]")
    column = pd.Series(times)
    wanted = (
        np.array(seconds) / 86_400 if part == "epoch_days" else getattr(column.dt, IN_PANDAS.get(part, part))
    )
    np.testing.assert_allclose(time_part(times, part), wanted, rtol=1e-15)


def test_missing_times_are_nan_in_every_part():
    frame = pd.DataFrame({"t": np.array(["2020-02-29", "NaT"], dtype="datetime64[s]")})
    out = DatetimeParts(PARTS).fit_transform(frame)
    assert out[0].tolist() == [2020, 2, 29, 5, 60, 0, 0, 18_321]
    assert np.isnan(out[1]).all()


def test_names_join_column_and_part():
    parts = DatetimeParts(["hour", "year"]).fit(pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}))
    assert parts.get_feature_names_out().tolist() == ["a_hour", "a_year"]


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="unknown part 'century'"):
        DatetimeParts(["century"]).fit(np.zeros((1, 1), "datetime64[s]"))


def test_scaled_parts_have_mean_zero_and_variance_one(prepare, to_frame):
    rng = np.random.default_rng(0)
    times = rng.integers(0, 1_500_000_000, 800).astype("datetime64[s]")
    table = pa.table({"t": pa.array(times, mask=rng.random(800) < 0.2)})
    p = prepare(table, datetime={"parts": ["year", "dayofyear", "epoch_days"]})
    out = build_transformer(p).transform(to_frame(table))
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(out.std(axis=0), 1, rtol=1e-9)
