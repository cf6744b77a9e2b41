from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import DataError
from headrace.ingesting import jsonrecords
from headrace.ingesting.batches import flat
from headrace.ingesting.jsonrecords import array_records, line_records

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def read(
    text: str | bytes, path: str = "", size: int = 7
) -> tuple[list[Any], list[int], list[tuple[int, str, str]]]:
    data = text.encode() if isinstance(text, str) else text
    found = list(array_records([data[at : at + size] for at in range(0, len(data), size)], path, "a.json"))
    bad = [(row.line, row.reason, row.raw) for part in found for row in part.bad]
    return [r for part in found for r in part.rows], [n for part in found for n in part.lines], bad


@given(
    st.lists(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=4) | VALUES, max_size=6),
    st.lists(st.integers(0, 1 << 16), max_size=8),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_elements_are_those_of_json_wherever_the_text_is_cut(
    elements: list[Any], places: list[int], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps({"none": [{}], "data": {"items": elements}}, indent=indent, ensure_ascii=ascii_only)
    found = list(array_records(cut(text.encode(), places), "data.items", "a.json"))
    assert [row for part in found for row in part.rows] == [flat(e) for e in elements if isinstance(e, dict)]
    assert [row.raw for part in found for row in part.bad] == [
        text[text.index(row.raw) :][: len(row.raw)] for part in found for row in part.bad
    ]
    assert sum(len(part.bad) for part in found) == sum(not isinstance(e, dict) for e in elements)


def test_what_is_no_record_is_told_with_its_line_and_the_rest_is_read() -> None:
    text = """[
      {"a": 1},
      {"a": tru, "b": ["x, }"]},
      12, [1, {"a": 2}],
      {"a": "cut off},
      "b": 3},
      {"a":
        2}
    ]"""
    rows, lines, bad = read(text)
    assert (rows, lines) == ([{"a": 1}, {"a": 2}], [2, 7])
    assert [line for line, _, _ in bad] == [3, 4, 4, 5]
    assert [reason[:13] for _, reason, _ in bad] == [
        "is not JSON: ",
        "is a int, not",
        "is a list, no",
        "is not JSON: ",
    ]
    assert [raw for _, _, raw in bad][:3] == ['{"a": tru, "b": ["x, }"]}', "12", '[1, {"a": 2}]']


def test_text_that_is_not_unicode_is_no_record() -> None:
    good = json.dumps({"a": "\U0001f600"})  # a whole pair of surrogates, escaped
    lines = [good.encode(), b'{"a": "\xff"}', b'{"a": "\\ud800"}']
    rows, _, bad = read(b"[" + b",".join(lines) + b"]")
    assert rows == [{"a": "\U0001f600"}]
    assert [(raw, reason[:12]) for _, reason, raw in bad] == [
        ('{"a": "\\xff"}', "is not UTF-8"), ('{"a": "\\ud800"}', "is not UTF-8"),
    ]  # fmt: skip
    (found,) = line_records([b"\n".join(lines)])
    assert (found.rows, [row.line for row in found.bad]) == (rows, [2, 3])


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        ("[{} ", "", "line 1: the text ends before its array does"),
        ('[\n{"a": 1', "", "line 2: a record that begins here does not end"),
        ("[{} {}]", "", "no comma"),
        ('{"meta": 1, "items": []}', "", "name it in source.records"),
        ('{"meta": 1, "items": []}', "data", "no key 'data'; it has meta, items"),
        ('{"meta": 1}', "meta.items", "no object holds the key 'items'"),
        ('{"meta"}', "meta", "no colon"),
        ("", "", "ends before"),
    ],
)
def test_an_array_that_is_none_is_told(text: str, path: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(text, path)


def test_a_record_without_an_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrecords, "MOST", 1000)
    taken = 0

    def pieces() -> Any:
        nonlocal taken
        yield b'[{"a": "'
        while True:
            taken += 1
            yield b"x" * 100

    with pytest.raises(DataError, match="does not end"):
        list(array_records(pieces(), "", "a.json"))
    assert taken < 20


@pytest.mark.parametrize("depth", [*range(900, 1000, 5), 100_000])
def test_deep_nesting_is_a_bad_record_and_no_crash(depth: int) -> None:
    deep = '{"a": ' * depth + "1" + "}" * depth
    rows, _, bad = read(f'[{{"a": {deep}}}, {{"a": 1}}]', size=1 << 20)
    if depth < 1000 and not bad:  # how deep is too deep depends on who called
        return
    assert rows == [{"a": 1}]
    assert bad[0][1] == "is nested too deeply"
