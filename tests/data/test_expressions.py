"""Rules between columns: the text is understood or refused in one line, and answers are those of SQL's logic."""

from __future__ import annotations

import math
import re
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.conditions import bind_expression
from headrace.data.expressions import parse_expression
from headrace.errors import WorkflowError

TABLE = pa.table(
    {
        "a": [1, 2, None, 4],
        "b": [1.0, math.nan, 3.0, 2.0],
        "s": pa.array(["x", "yy", None, "zzz"]).dictionary_encode(),
        "flag": [True, False, None, True],
        "day": pa.array([date(2026, 1, 1)] * 4),
        "at": pa.array(["2026-01-01T05:00", "2026-01-02", None, "2025-01-01"]).cast(pa.timestamp("ns")),
        "there": pa.array(["2026-01-01T05:00Z"] * 4).cast(pa.timestamp("ms", tz="Europe/Berlin")),
        "utc": pa.array(["2026-01-01T04:00Z"] * 4).cast(pa.timestamp("ns", tz="UTC")),
        "huge": [2**62] * 4,
        "unsigned": pa.array([1, 2, 3, 2**63], pa.uint64()),
        "and": [1, 1, 1, 1],
    }
)
T, F, U = True, False, None


def answers(text: str) -> list[Any]:
    condition = bind_expression(parse_expression(text), TABLE.schema, where="checks.rules[0]")
    found: list[Any] = condition.mask(TABLE).to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > b", [F, U, U, T]),
        ("a + 1 <= 2 * b", [T, U, U, F]),
        ("a -1 = 0", [T, F, U, F]),
        ("-a < 0 AND NOT b > 2", [T, U, F, T]),
        ("a / (a - 1) > 1", [U, T, U, T]),
        ("1 < a <= 4", [F, T, U, T]),
        ("a between 1 and 2", [T, T, U, F]),
        ("a not between 1 and 2", [F, F, U, T]),
        ("a in [1.5, 2]", [F, T, U, F]),
        ("a in (1, 2, 3, 4, 5, 6, 7, 8, 9)", [T, T, U, T]),
        ("s in ['x', 'zzz'] or a = 2", [T, T, U, T]),
        ("s not in ['x']", [F, T, U, T]),
        ("s like 'z%'", [F, F, U, T]),
        ("s not like '_'", [F, T, U, T]),
        ("len(s) = 2 or s is null", [F, T, T, F]),
        ("upper(s) == 'X'", [T, F, U, F]),
        ("b is null", [F, T, F, F]),
        ("(a > 1) is not null", [T, T, F, T]),
        ("flag", [T, F, U, T]),
        ("flag = false", [F, T, U, F]),
        ("at > day", [T, T, U, F]),
        ("at - day > '3h'", [T, T, U, F]),
        ("hours(at - day) == 5", [T, F, U, F]),
        ("day + '1d' > at", [T, F, U, T]),
        ("at >= '2026-01-02'", [F, T, U, F]),
        ("day = '2026-01-01' and year(at) = 2026", [T, T, U, F]),
        ("there == '2026-01-01T06:00:00'", [T] * 4),
        ("there == '2026-01-01T05:00:00Z'", [T] * 4),
        ("there - utc = '1h' and hour(there) = 6", [T] * 4),
        ("huge * huge > huge", [T] * 4),
        ("unsigned > a", [F, F, U, T]),
        ("`and` = 1", [T] * 4),
        ("abs(a - 3) < 2", [F, T, U, T]),
    ],
)
def test_rules_answer_as_sql_does(text: str, expected: list[Any]) -> None:
    assert answers(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a >", "a column or a value was expected in place of the end (character 4)"),
        ("a ! b", "'! b' is not understood"),
        ("1 < 2", "names no column"),
        ("foo(a) > 1", "there is no function 'foo'"),
        ("a in []", "an empty list"),
        ("a in [b]", "a list holds values alone"),
        ("(a > 1", "')' was expected"),
        ("a > 1 b", "'and', 'or' or the end was expected in place of 'b' (character 7)"),
        ("a = null", "write `is null`"),
        ("a like b", "a pattern in quotes"),
        ("(" * 60 + "a" + ")" * 60 + " > 1", "nested deeper than 50 levels"),
        ("__import__('os').system('true') = 0", "there is no function '__import__'"),
    ],
)
def test_what_is_not_understood_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("arr > 1", "there is no column 'arr'"),
        ("s > 1", "1 is compared with a text"),
        ("at > 'soon'", 'write it as "2026-01-31"'),
        ("a < there", "compares a number with a zoned time"),
        ("a + s > 2", "cannot say number + text"),
        ("a", "is a number, not a condition"),
        ("a or flag", "a number stands where a condition is expected"),
        ("len(a) > 1", "len() takes a text, not a number"),
        ("a like 'x%'", "like takes a text"),
        ("at - day > 'long'", "write it as 36h"),
        ("at > '2026-01-01T00:00:00Z'", "has a time zone"),
    ],
)
def test_what_does_not_fit_the_columns_is_told_with_its_key(text: str, told: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        answers(text)
    assert told in str(caught.value)
    assert str(caught.value).startswith("checks.rules[0]: ")


numbers = st.none() | st.integers(-3, 3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=20))
def test_three_valued_logic_is_that_of_a_plain_model(rows: list[tuple[Any, ...]]) -> None:
    table = pa.table(
        {
            name: pa.array(column, pa.int64())
            for name, column in zip("xyz", zip(*rows, strict=True), strict=True)
        }
    )
    text = "x + 2 * y > z - 1 and not (x = y or z is null) or y < 0"
    mask = bind_expression(parse_expression(text), table.schema, where="w").mask(table)

    def both(p: Any, q: Any) -> Any:
        return False if p is False or q is False else None if None in (p, q) else True

    def no(p: Any) -> Any:
        return None if p is None else not p

    def either(p: Any, q: Any) -> Any:
        return no(both(no(p), no(q)))

    def model(x: Any, y: Any, z: Any) -> Any:
        above = None if None in (x, y, z) else x + 2 * y > z - 1
        same = None if None in (x, y) else x == y
        return either(both(above, no(either(same, z is None))), None if y is None else y < 0)

    assert mask.to_pylist() == [model(*row) for row in rows]
