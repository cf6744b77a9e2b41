from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.packaging.inputs import to_arrow_frame, to_frame, to_table, whole_table
from headrace.packaging.signature import InputColumn

X = InputColumn("x", "double", "numeric")
S = InputColumn("s", "string", "string")
T = InputColumn("t", "timestamp[us]", "datetime")


class Polarslike:
    """A frame that shows its content only as an Arrow stream, as polars does, with string views."""

    def __init__(self, table: pa.Table, *, listed: bool = True) -> None:
        self._table = table
        if listed:
            self.columns = table.schema.names

    def __getitem__(self, names: list[str]) -> Polarslike:
        return Polarslike(self._table.select(names))

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


def values(data: Any, column: InputColumn) -> Any:
    return to_table(data, [column]).column(column.name).to_pylist()


@pytest.mark.parametrize(
    ("given_values", "read"),
    [
        ([1, 2], [1.0, 2.0]),
        ([True, False], [1.0, 0.0]),
        ([1, 2.5, None], [1.0, 2.5, None]),
        ([True, 1, 2.5], [1.0, 1.0, 2.5]),
        ([float("nan"), None], [None, None]),
        ([None, None], [None, None]),
        ([], []),
        (["1", " 2.5 "], [1.0, 2.5]),
        (["1", 2], [1.0, 2.0]),
        ([10**30], [1e30]),
        ([2**53 + 1], [float(2**53)]),
        ([decimal.Decimal("1.5")], [1.5]),
        ([float("inf")], [float("inf")]),
        (np.array([1, 2], np.uint8), [1.0, 2.0]),
        (np.array([1.5, np.nan], np.float32), [1.5, None]),
        (np.array([1, "2"], object), [1.0, 2.0]),
        (pd.Series([1.5, None]), [1.5, None]),
        (pd.Series([1, None], dtype="int64[pyarrow]"), [1.0, None]),
        (pd.Series([True, None], dtype="boolean"), [1.0, None]),
        (pd.Series(["1", "2"]).astype("category"), [1.0, 2.0]),
        (pa.array([1, None], pa.int8()), [1.0, None]),
        (pa.chunked_array([[1.0], [2.0]]), [1.0, 2.0]),
    ],
)
def test_numbers(given_values, read):
    assert values({"x": given_values}, X) == read
    if not isinstance(given_values, (pa.Array, pa.ChunkedArray)):
        assert values([{"x": value} for value in given_values], X) == read


@pytest.mark.parametrize(
    ("given_values", "read"),
    [
        (["a", None, ""], ["a", None, ""]),
        ([1, 2], ["1", "2"]),
        ([1.0, None], ["1", None]),
        ([True], ["True"]),
        (["a", 1], ["a", "1"]),
        ([None], [None]),
        (pd.Series(["a", None]), ["a", None]),
        (pd.Series(["a", None], dtype=object), ["a", None]),
        (pd.Series(["a", np.nan], dtype=object), ["a", None]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
    ],
)
def test_strings(given_values, read):
    assert values({"s": given_values}, S) == read


@pytest.mark.parametrize(
    "given_values",
    [
        [dt.datetime(2013, 1, 2)],  # noqa: DTZ001 - data without a zone
        [dt.date(2013, 1, 2)],
        ["2013-01-02"],
        ["2013-01-02T00:00:00"],
        np.array(["2013-01-02"], "M8[ns]"),
        pd.Series([pd.Timestamp("2013-01-02")]),
    ],
)
def test_times(given_values):
    table = to_table({"t": given_values}, [T])
    assert table.schema.field("t").type == pa.timestamp("us")
    assert table.column("t").to_pylist() == [dt.datetime(2013, 1, 2)]  # noqa: DTZ001 - a column without a zone


@pytest.mark.parametrize(
    ("data", "column"),
    [
        ({"x": ["abc"]}, X),
        ({"x": [1, "abc"]}, X),
        ({"x": [10**400]}, X),
        ({"x": [[1]]}, X),
        ({"x": [{"a": 1}]}, X),
        ({"x": [b"\x00"]}, X),
        ({"x": [dt.date(2013, 1, 1)]}, X),
        ({"x": 1.0}, X),
        ({"x": "1"}, X),
        ({"s": [1.5]}, S),
        ({"s": [["a"]]}, S),
        ({"s": ["a", 1.5]}, S),
        ({"t": ["yesterday"]}, T),
        ({"t": [1.5]}, T),
        ([{"x": 1}, {"x": "abc"}], X),
        (pd.DataFrame({"x": ["abc"]}), X),
        (pd.DataFrame({"x": [1, "abc"]}, dtype=object), X),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_column(data, column):
    with pytest.raises(InputError) as caught:
        to_table(data, [column])
    assert caught.value.where == column.name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [3, None, "x", b"x", [1, 2], np.zeros((2, 2)), object()])
def test_what_is_no_frame_is_refused(data):
    with pytest.raises(InputError):
        to_table(data, [X])


def test_missing_columns_are_all_named_and_others_ignored():
    with pytest.raises(InputError, match="missing columns: x, t"):
        to_table({"s": ["a"], "other": [object()]}, [X, S, T])
    assert to_table({"other": [object()], "x": [1]}, [X]).column_names == ["x"]
    frame = pd.DataFrame({"other": [object(), 1], "x": [1, 2]})
    assert to_table(frame, [X]).column_names == ["x"]


def test_rows_may_lack_a_key():
    assert values([{"x": 1}, {"s": "a"}], X) == [1.0, None]


def test_columns_of_different_length_or_twice_are_refused():
    with pytest.raises(InputError, match="length"):
        to_table({"x": [1], "s": ["a", "b"]}, [X, S])
    with pytest.raises(InputError, match="twice: x"):
        to_table(pd.DataFrame([[1, 2]], columns=["x", "x"]), [X])
    with pytest.raises(InputError, match="twice: x"):
        to_table(pa.table([[1], [2]], names=["x", "x"]), [X])


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "x": st.none() | st.floats(allow_nan=False),
                "s": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
            }
        ),
        min_size=1,
        max_size=8,
    )
)
def test_every_form_of_the_same_rows_gives_the_same_frame(rows):
    table = pa.table(
        {
            "x": pa.array([row["x"] for row in rows], pa.float64()),
            "s": pa.array([row["s"] for row in rows], pa.string()),
        }
    )
    forms = [
        rows,
        {name: table.column(name).to_pylist() for name in ("x", "s")},
        table,
        table.combine_chunks().to_batches()[0],
        table.to_pandas(),
        table.to_pandas(types_mapper=pd.ArrowDtype),
        table.to_pandas().astype(object),
        table.set_column(1, "s", table.column("s").dictionary_encode()),
        Polarslike(table.set_column(1, "s", table.column("s").cast(pa.string_view()))),
        Polarslike(table, listed=False),
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
    ]
    first = to_frame(to_table(forms[0], [X, S]))
    assert first["x"].dtype == np.float64
    assert first["s"].dtype == object
    for value, row in zip(first["s"], rows, strict=True):
        assert value == row["s"] or (row["s"] is None and isinstance(value, float) and np.isnan(value))
    for form in forms[1:]:
        pd.testing.assert_frame_equal(to_frame(to_table(form, [X, S])), first)


def test_feature_functions_get_the_types_of_the_training_data():
    columns = [InputColumn("x", "int64", "numeric"), InputColumn("b", "bool", "boolean"), S]
    table = whole_table([{"x": None, "b": None, "s": None, "more": 1}], columns)
    assert table.schema.types[:2] == [pa.int64(), pa.bool_()]
    frame = to_arrow_frame(table)
    assert [str(kind) for kind in frame.dtypes][:2] == ["int64[pyarrow]", "bool[pyarrow]"]
    assert whole_table({"x": [1.5], "b": [True], "s": ["a"]}, columns).schema.types[0] == pa.float64()
    with pytest.raises(InputError, match="missing columns: x, b"):
        whole_table({"s": ["a"]}, columns)
