"""A chunk is conformed as its rows are one by one, and each bad value costs its row alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.packaging.inputs import to_table
from headrace.packaging.signature import InputColumn
from headrace.serving.chunks import TYPE, conformed_chunk

KINDS = {
    "number": InputColumn("x", "double", "numeric"),
    "boolean": InputColumn("x", "bool", "boolean"),
    "text": InputColumn("x", "string", "string"),
    "time": InputColumn("x", "timestamp[us]", "datetime"),
    "time with a zone": InputColumn("x", "timestamp[us, tz=UTC]", "datetime"),
    "day": InputColumn("x", "date32[day]", "datetime"),
}
HARD = [
    *(
        "+1",
        "1.",
        ".5",
        ".",
        "-",
        "1e",
        "1E+5",
        "1e400",
        "INF",
        "-infinity",
        "nan(1)",
        "infinit",
        "0x1p3",
        "1_0",
    ),
    *(" 1\t", "\u00a01\u3000", "\x1c1", "\u200b1", "1\x00", "\uff11", "1,5", "", " ", "N/A", "1e5e5"),
    *("2024-01-02", "2024-01-02Z", "2024-01-02T03", "2024-01-02 03:04:05.123456", "2024-01-02T03:04+01:00"),
    *("2024-01-02T03:04:05-0130", "2024-02-30", "20240102", "12024-01-02", "-2024-01-02", " 2024-01-02"),
    *("2024-01-02T03:04:05.1234567Z", "2024-01-02T24:00", "2024-01-02T", "31/12/2024", "2024-01-02+01"),
]
written = st.one_of(
    st.sampled_from(HARD),
    st.from_regex(r"[ \t]?[-+]?[0-9]{0,3}\.?[0-9]{0,3}([eE][-+]?[0-9]{0,3})?[ ]?", fullmatch=True),
    st.from_regex(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]([ T][0-9:.]{0,10})?(Z|[-+][0-9:]{2,5})?", fullmatch=True),
    st.text(alphabet="0123456789-+:.eEinfaTZ ", max_size=12),
    st.text(max_size=4),
)
columns = st.one_of(
    st.lists(st.none() | written, max_size=12).map(lambda values: pa.array(values, pa.string())),
    st.lists(st.none() | st.floats() | st.integers(-(2**70), 2**70).map(float), max_size=12).map(
        lambda values: pa.array(values, pa.float64())
    ),
    st.lists(st.none() | st.floats(width=32), max_size=12).map(lambda values: pa.array(values, pa.float32())),
)


def one_by_one(held: pa.Array, column: InputColumn) -> tuple[list[Any], list[int]]:
    values: list[Any] = []
    bad = []
    for row in range(len(held)):
        try:
            values += to_table(pa.table({"x": held.slice(row, 1)}), (column,)).column("x").to_pylist()
        except InputError:
            values.append(None)
            bad.append(row)
    return values, bad


def conformed(held: pa.Array | pa.ChunkedArray, column: InputColumn) -> tuple[list[Any], list[int]]:
    table, bad = conformed_chunk(pa.table({"x": held}), (column,))
    rows = [rows.tolist() for _, check, rows in bad if check == TYPE]
    return table.column("x").to_pylist(), rows[0] if rows else []


@pytest.mark.parametrize("column", KINDS.values(), ids=KINDS)
@given(held=columns, cut=st.integers(0, 12))
@example(held=pa.array(HARD), cut=3)
@example(held=pa.array([*HARD, None, *HARD]), cut=0)
def test_values_are_those_of_rows_one_by_one(column: InputColumn, held: pa.Array, cut: int) -> None:
    values, bad = one_by_one(held, column)
    pieces = pa.chunked_array([held.slice(0, cut), held.slice(cut)])
    for form in (pieces, held.dictionary_encode()):
        if column.kind != "string" or not pa.types.is_dictionary(form.type):
            assert str(conformed(form, column)) == str((values, bad))  # NaN differs from itself


@pytest.mark.parametrize(
    ("held", "column"),
    [
        (pa.array([f"AB{row}" for row in range(9_000)]), "number"),
        (pa.array(["N/A"] * 9_000), "boolean"),
        (pa.array([f"#{row}" for row in range(9_000)], pa.string_view()), "boolean"),
        (pa.array([f"31/12/2024 {row}" for row in range(9_000)]), "time"),
        (
            pa.array([f"2024-01-01 {hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]),
            "time with a zone",
        ),
        (pa.array(np.linspace(0.1, 0.9, 9_000)), "text"),
        (pa.array([[row] for row in range(9_000)]), "number"),
        (pa.array(np.arange(9_000).astype("datetime64[s]")), "text"),
    ],
)
def test_a_column_may_be_bad_throughout(held: pa.Array, column: str) -> None:
    values, bad = conformed(held, KINDS[column])
    assert values == [None] * len(held)
    assert bad == list(range(len(held)))
