"""What becomes of each kind of column when the file says nothing, and what a user may say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from headrace.errors import WorkflowError
from headrace.preparation.options import PrepareOptions


def test_columns_without_information_are_dropped_with_a_note(prepare):
    table = pa.table(
        {
            "x": [1.0, 2.0],
            "same": ["a", "a"],
            "null": pa.nulls(2, pa.float64()),
            "nested": pa.array([[1], [2]]),
            "text": ["word " * 20, "other " * 20],
        }
    )
    p = prepare(table)
    assert p.features_in == ("x",)
    assert [note.split(":")[0] for note in p.notes] == ["same", "null", "nested", "text"]


def test_booleans_and_small_integers_stay_numbers(prepare):
    table = pa.table({"flag": [True, False, None, True], "few": [1, 2, 3, 2]})
    flag, few = prepare(table).columns
    assert (flag.impute, flag.fill, flag.scale, flag.indicator) == ("most_frequent", 1.0, "none", True)
    assert (few.impute, few.scale, few.indicator) == ("mean", "standard", False)


def test_times_become_hour_and_weekday_and_dates_weekday(prepare):
    times = np.array(["2013-10-01T05:30", "2013-10-02T17:00"], dtype="datetime64[s]")
    table = pa.table({"t": times, "d": times.astype("datetime64[D]")})
    t, d = prepare(table).columns
    assert [part.part for part in t.parts] == ["hour", "weekday"]
    assert [part.part for part in d.parts] == ["weekday"]


def test_options_of_a_column_go_before_those_of_its_kind(prepare, mixed):
    p = prepare(
        mixed,
        numeric={"impute": "median", "clip": {"method": "iqr"}},
        columns={
            "real": {"scale": "minmax", "clip": None},
            "wild": "passthrough",
            "flag": {"indicator": False},
        },
    )
    plans = {plan.name: plan for plan in p.columns}
    assert (plans["real"].impute, plans["real"].scale, plans["real"].low) == ("median", "minmax", None)
    assert plans["single"].low is not None
    assert (plans["wild"].fill, plans["wild"].scale) == (None, "none")
    assert not plans["flag"].indicator


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"reel": "drop"}, "prepare.columns.reel: there is no such column; did you mean 'real'?"),
        ({"real": {"parts": ["hour"]}}, "prepare.columns.real.parts: does not apply to a numeric column"),
        ({"color": {"scale": "none"}}, "prepare.columns.color.scale: does not apply to a string column"),
        ({"color": "passthrough"}, "prepare.columns.color: the column is a string"),
        ({"whole": {"encode": "ordinal"}}, "prepare.columns.whole.encode: numbers are ordinal"),
    ],
)
def test_mistakes_name_the_key_and_the_mend(prepare, mixed, columns, message):
    with pytest.raises(WorkflowError) as caught:
        prepare(mixed, columns=columns)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "document",
    [
        {"numeric": {"impute": "avarage"}},
        {"numeric": {"clip": {"method": "quantile", "limit": 3}}},
        {"categorical": {"max_categories": 1}},
        {"datetime": {"parts": []}},
        {"columns": {"x": {"impute": "mean", "fill_value": 1}}},
        {"columns": {"x": "ignore"}},
    ],
)
def test_options_that_make_no_sense_are_refused(document):
    with pytest.raises(ValidationError):
        PrepareOptions.model_validate(document)
