"""What is made from the rows before is named, described, read back from JSON, and refused by name where it cannot be."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from headrace.data.durations import Duration, duration_text
from headrace.data.history import History, Lags, Rolling, require_history
from headrace.data.options import DataOptions
from headrace.errors import WorkflowError

SCHEMA = pa.schema(
    {"when": pa.timestamp("us"), "plane": pa.string(), "delay": pa.float64(), "load": pa.float32()}
)
STEPS: tuple[dict[str, Any], ...] = (
    {"kind": "lags", "column": "delay", "by": ["plane"], "rows": [1, 2], "gap": "90min"},
    {"kind": "rolling", "column": "delay", "window": "36h", "statistics": ["mean", "count"]},
    {"kind": "rolling", "column": "delay", "by": ["plane", "when"], "rows": 20},
    {"kind": "fill", "column": "plane"},
)


def history_of(*steps: dict[str, Any]) -> History:
    looked_back = DataOptions.model_validate({"url": "x", "time": "when", "history": steps}).looked_back
    assert looked_back is not None
    return looked_back


def test_columns_are_named_and_described() -> None:
    history = history_of(*STEPS)
    require_history(history, SCHEMA)
    assert history.describe() == {
        "delay_lag_1_by_plane": "delay 1 row before, of the same plane, in the order of when, at least 90min older",
        "delay_lag_2_by_plane": "delay 2 rows before, of the same plane, in the order of when, at least 90min older",
        "delay_mean_36h": "mean of delay over 36h before, in the order of when",
        "delay_count_36h": "count of delay over 36h before, in the order of when",
        "delay_mean_20_by_plane_when": "mean of delay over 20 rows before, of the same plane and when, in the order of when",
        "plane_filled": "plane, or the last known before where it is missing, in the order of when",
    }
    assert tuple(history.describe()) == history.names
    assert [field.type for field in history.fields(SCHEMA)] == [
        pa.float64(), pa.float64(), pa.float64(), pa.int64(), pa.float64(), pa.string(),
    ]  # fmt: skip
    assert history.inputs == ("when", "plane", "delay")


def test_a_history_is_read_back_from_json() -> None:
    history = history_of(*STEPS)
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    some = history.making(["delay_lag_2_by_plane", "other"])
    assert some is not None
    assert some.names == ("delay_lag_1_by_plane", "delay_lag_2_by_plane")
    assert history.making(["other"]) is None


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9_000)))
def test_a_length_of_time_is_read_back_as_it_was(span: timedelta) -> None:
    assert TypeAdapter(Duration).validate_python(duration_text(span)) == span


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"kind": "lags", "column": "dealy"}, "no column 'dealy'"),
        ({"kind": "lags", "column": "delay", "by": ["tail"]}, "no column 'tail'"),
        ({"kind": "rolling", "column": "plane", "rows": 2}, "'plane' is string"),
        ({"kind": "fill", "column": "delay", "by": ["load"]}, "key 'load' is float"),
        ({"kind": "lags", "column": "delay", "rows": [1, 1]}, "column .delay_lag_1. already"),
    ],
)
def test_what_does_not_fit_the_data_is_named(step: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkflowError, match=said) as caught:
        require_history(history_of({"kind": "fill", "column": "plane"}, step), SCHEMA)
    assert "data.history[1]" in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{}, {"rows": 2, "window": "3h"}, {"window": "0s"}, {"rows": 0}, {"window": "3"}]
)
def test_windows_that_end_nowhere_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rolling.model_validate({"kind": "rolling", "column": "delay", **wrong})


def test_looking_back_needs_the_time() -> None:
    with pytest.raises(ValidationError, match=r"add data.time"):
        DataOptions.model_validate({"url": "x", "history": [Lags(kind="lags", column="delay")]})
