"""Derived columns: the arithmetic of pandas, as transformers that need scikit-learn alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.errors import WorkflowError
from headrace.packaging.trust import TRUSTED
from headrace.preparation.arithmetic import build_arithmetic
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation, build_transformer
from headrace.preparation.options import PrepareOptions

NUMBERS = st.sampled_from(["2", "0.5", "10", "1"])
EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "c"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from("+-*/"), st.one_of(part, NUMBERS)).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(NUMBERS, st.sampled_from("+-*/"), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        part.map(lambda text: f"abs({text})"),
    ),
    max_leaves=6,
)
FRAME = pd.DataFrame({"a": [1.0, -2.5, 0.0, np.nan], "b": [4.0, 0.0, 3.0, 1.0], "c": [-1.0, 7.0, 2.0, 0.5]})


@settings(max_examples=40, deadline=None)
@given(text=EXPRESSIONS)
def test_as_pandas_computes_it_where_that_is_finite(text):
    with np.errstate(all="ignore"):
        chain = build_arithmetic({"text": text, "times": False}, FRAME.fillna(0.0))
        got = chain.transform(FRAME)[:, 0]
        columns = {"abs": abs, **{name: FRAME[name].to_numpy() for name in ("a", "b", "c")}}
        wanted: Any = eval(text, {}, columns)
    wanted = np.where(np.isfinite(wanted), wanted, np.nan)
    both = np.isfinite(got) & np.isfinite(wanted)
    np.testing.assert_allclose(got[both], wanted[both], rtol=1e-9, atol=1e-9)
    # a / (1 / 0) is 0 in pandas, and here missing or 0: nothing else may differ.
    assert np.isnan(got[np.isnan(wanted)]).all() or "/" in text


def flights(rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(0)
    start = np.datetime64("2026-01-01", "us") + rng.integers(0, 10**12, rows).astype("timedelta64[us]")
    minutes = rng.integers(30, 300, rows)
    return pa.table(
        {
            "distance": rng.integers(100, 3000, rows),
            "air_time": pa.array(np.where(rng.random(rows) < 0.02, 0, minutes), mask=rng.random(rows) < 0.1),
            "dep": start,
            "arr": start + minutes.astype("timedelta64[m]"),
        }
    )


def test_a_derived_column_is_prepared_as_any_number(survey):
    table = flights()
    p = survey(
        table,
        derive={"speed": "60 * distance / air_time", "days": "arr - dep"},
        columns={
            "speed": {"impute": "median", "clip": None, "transform": "log1p"},
            "dep": "drop",
            "arr": "drop",
        },
    )
    assert p.features_in == ("distance", "air_time", "arr", "dep")
    assert p.names_out == (
        "distance",
        "air_time",
        "missingindicator_air_time",
        "speed",
        "missingindicator_speed",
        "days",
    )
    frame = table.to_pandas()
    speed = (60 * frame["distance"] / frame["air_time"].replace(0, np.nan)).rename("speed")
    filled = np.log1p(speed.fillna(speed.median()))
    got = both(p, table)
    np.testing.assert_allclose(got[:, 3], (filled - filled.mean()) / filled.std(ddof=0), rtol=1e-9)
    np.testing.assert_array_equal(got[:, 4], speed.isna())
    days = (frame["arr"] - frame["dep"]).dt.total_seconds() / 86400
    np.testing.assert_allclose(got[:, 5], (days - days.mean()) / days.std(ddof=0), rtol=1e-6)


def both(p: Preparation, table: pa.Table) -> Any:
    frame = table.to_pandas()
    transformer = build_transformer(p)
    with np.errstate(all="ignore"):
        got = transformer.transform(frame)
        loaded = skops.io.loads(skops.io.dumps(transformer), trusted=list(TRUSTED))
        np.testing.assert_array_equal(loaded.transform(frame), got)
    np.testing.assert_allclose(
        CompiledPreparation(p).transform(table, np.float64), got, rtol=1e-12, atol=1e-12
    )
    assert Preparation.from_json(p.to_json()) == p
    return got


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distnce / 2", "prepare.derive.new: there is no column 'distnce'; did you mean 'distance'?"),
        ("distance / dep", "prepare.derive.new: its columns must all be numbers, or all be times"),
    ],
)
def test_mistakes_name_the_key_and_the_mend(survey, text, message):
    with pytest.raises(WorkflowError) as caught:
        survey(flights(20), derive={"new": text})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["distance >", "distance > 2", "lower(a)", "'x'"])
def test_more_than_arithmetic_is_refused(text):
    with pytest.raises(ValidationError, match="new: "):
        PrepareOptions.model_validate({"derive": {"new": text}})
