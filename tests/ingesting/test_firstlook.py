from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from headrace.ingesting.columns import ColumnPlan, Layout
from headrace.ingesting.firstlook import first_look
from headrace.ingesting.texts import typed

if TYPE_CHECKING:
    from collections.abc import Sequence


def look(values: Sequence[str | None]) -> tuple[ColumnPlan, tuple[str, ...]]:
    layout = first_look(pa.table({"c": pa.array(values, pa.string())}), {}, (), 0.95)
    return layout.columns[0], layout.notes


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", None], "int64"),
        (["1", "2.5"], "double"),
        (["1e3", "2"], "double"),
        (["007", "123"], "string"),
        (["true", "False"], "bool"),
        (["yes", "no"], "bool"),
        (["2024-01-31", "2024-02-01"], "date32[day]"),
        (["2024-01-31 10:00", "2024-02-01T11:30:01"], "timestamp[us]"),
        (["2024-01-31T10:00:00Z", "2024-02-01T11:30:01+02:00"], "timestamp[us, tz=UTC]"),
        (["99999999999999999999", "1"], "double"),
        (["a", "b"], "string"),
        ([None, None], "string"),
    ],
)
def test_types_are_what_the_values_are(values: list[str | None], kind: str):
    assert str(look(values)[0].type) == kind


@pytest.mark.parametrize(
    ("values", "signs", "numbers"),
    [
        (["1,234.50", "12"], (".", ","), [1234.5, 12.0]),
        (["1.234,50", "12,5"], (",", "."), [1234.5, 12.5]),
        (["12,5", "3,25"], (",", ""), [12.5, 3.25]),
        (["1 234,5", "12"], (",", " "), [1234.5, 12.0]),
        (["1'234.5", "12"], (".", "'"), [1234.5, 12.0]),
        (["1\u00a0234,5", "12"], (",", " "), [1234.5, 12.0]),
    ],
)
def test_signs_of_numbers_are_found(values: list[str], signs: tuple[str, str], numbers: list[float]):
    plan = look(values)[0]
    assert (plan.decimal, plan.thousands) == signs
    converted, bad = typed(pa.array(values), plan)
    assert converted.to_pylist() == numbers
    assert not bad.any()


def test_several_formats_of_dates_in_one_column_are_found():
    values = ["2024-01-31", "31/01/2024", "15 Mar 2024"] * 10
    plan, _ = look(values)
    assert str(plan.type) == "date32[day]"
    converted, bad = typed(pa.array(values), plan)
    assert not bad.any()
    assert [str(day) for day in converted.to_pylist()[:3]] == ["2024-01-31", "2024-01-31", "2024-03-15"]


def test_day_and_month_that_cannot_be_told_apart_stay_text():
    plan, notes = look(["01/02/2024", "03/04/2024"])
    assert str(plan.type) == "string"
    assert "January or February" in notes[0]
    assert look(["01/02/2024", "13/04/2024"])[0].formats == ("%d/%m/%Y",)
    assert look(["01/02/2024", "04/13/2024"])[0].formats == ("%m/%d/%Y",)


def test_a_few_misfits_go_to_quarantine_and_many_make_it_text():
    few, notes = look([*map(str, range(99)), "abc"])
    assert str(few.type) == "int64"
    assert "99.0%" in notes[0]
    many, notes = look([*map(str, range(80)), *["unknown"] * 20])
    assert str(many.type) == "string"
    assert "declare columns.c" in notes[0]


def test_layout_round_trips_through_json():
    plans = (
        ColumnPlan("a", pa.date32(), ("%d/%m/%Y",)),
        ColumnPlan("b", pa.decimal128(9, 2)),
        ColumnPlan("c", pa.float64(), (), ",", "."),
    )
    layout = Layout(plans, ("note",))
    assert Layout.from_dict(layout.to_dict()) == layout


def test_numbers_of_64_bits_are_exact():
    texts = [str(2**63 - 1), str(-(2**63)), str(2**63), "+5", " 6 ", "1_0"]
    values, bad = typed(pa.array(texts), ColumnPlan("c", pa.int64(), (), ".", ","))
    assert values.to_pylist() == [2**63 - 1, -(2**63), None, 5, 6, None]
    assert bad.tolist() == [False, False, True, False, False, True]
    small, _ = typed(pa.array(["127", "128"]), ColumnPlan("c", pa.int8()))
    assert small.to_pylist() == [127, None]


def test_floats_that_python_writes_come_back():
    random.seed(0)
    numbers = [random.uniform(-1, 1) * 10 ** random.randint(-300, 300) for _ in range(1000)]
    values, bad = typed(pa.array([repr(number) for number in numbers]), ColumnPlan("c", pa.float64()))
    assert values.to_pylist() == numbers
    assert not bad.any()
