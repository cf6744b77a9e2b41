from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field

from headrace.errors import WorkflowError
from headrace.optionfile import parse_options, read_options
from headrace.options import Options

if TYPE_CHECKING:
    from pathlib import Path


class Square(Options):
    kind: Literal["square"]
    side: float


class Circle(Options):
    kind: Literal["circle"]
    radius: float


class Inner(Options):
    shape: Annotated[Square | Circle, Field(discriminator="kind")] | None = None
    sizes: tuple[int, ...] = ()
    by_name: dict[str, Square] = Field(default={})
    count: int | Literal["auto"] = 1
    word: str = Field(default="a", pattern="^[a-z]+$")


class Outer(Options):
    inner: Inner = Inner()
    title: str = ""
    value: bool | int | float | str | None = None


def complaint(text: str) -> str:
    with pytest.raises(WorkflowError) as caught:
        parse_options(text, Outer, name="f.yaml")
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("titel: x\n", "f.yaml line 1: titel: unknown key; did you mean title?"),
        ("inner:\n  sizs: []\n", "f.yaml line 2: inner.sizs: unknown key; did you mean sizes?"),
        ("zzz: 1\n", "f.yaml line 1: zzz: unknown key; known keys: inner, title, value"),
        (
            "inner: {shape: {kind: square, radius: 1}}\n",
            "f.yaml line 1: inner.shape.radius: unknown key (and 1 more); known keys: kind, side",
        ),
        ("inner: {shape: {kind: square}}\n", "f.yaml line 1: inner.shape.side: is missing; add it"),
        ("inner: {shape: {side: 1}}\n", "f.yaml line 1: inner.shape: says no kind; add 'kind'"),
        (
            "inner: {shape: {kind: hexagon}}\n",
            "f.yaml line 1: inner.shape: unknown kind 'hexagon'; use one of 'square', 'circle'",
        ),
        (
            "inner:\n  sizes:\n    - 1\n    - two\n",
            "f.yaml line 4: inner.sizes[1]: should be a valid integer",
        ),
        (
            "inner: {by_name: {a b: {kind: square, sid: 1}}}\n",
            "inner.by_name.a b.sid: unknown key (and 1 more); did you mean side?",
        ),
        (
            "inner: {count: many}\n",
            "should be a valid integer, unable to parse string as an integer or 'auto', not 'many'",
        ),
        ("inner: {word: A1}\n", "inner.word: should match pattern '^[a-z]+$', not 'A1'"),
        ("title: a\ninner: {}\ntitle: b\n", "f.yaml line 3: title: the key stands twice; keep one of them"),
        ("inner: {a: 1, a: 2}\n", "f.yaml line 1: inner.a: the key stands twice"),
        ("title: [\n", "f.yaml line 2: is not YAML"),
        ("title: 'a\n", "is not YAML"),
        ("a: b: c\n", "f.yaml line 1: is not YAML: mapping values are not allowed here"),
        ("- 1\n", "f.yaml: holds a list, not keys and values"),
        ("", "f.yaml: is empty"),
        ("# only a comment\n", "f.yaml: is empty"),
        ("inner: &a {by_name: *a}\n", "refers to itself"),
        ("value: !!python/object/apply:os.system ['true']\n", "is not YAML"),
        ("title: \x07\n", "is not YAML"),
    ],
)
def test_a_mistake_names_file_line_whole_key_and_mend(text: str, line: str):
    said = complaint(text)
    assert line in said


def test_the_first_of_several_mistakes_is_told_with_their_number():
    said = complaint("title: 3\nsizes: 1\ninner: {count: x, sizes: y}\n")
    assert said.startswith("f.yaml line 1: title:")
    assert "(and 3 more)" in said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("NO", "NO"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("1e-6", 1e-6),
        ("1.0e-6", 1e-6),
        ("10:30", "10:30"),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("1_000", 1000),
        ("-3", -3),
        (".5", 0.5),
        ("~", None),
        ('"1"', "1"),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text: str, value: object):
    read = parse_options(f"value: {text}\n", Outer, name="f").value
    assert read == value
    assert type(read) is type(value)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
@example("0E0")
@example("1e-6")
@example("off")
def test_any_quoted_string_is_read_back(text: str):
    # Quoted: PyYAML writes by YAML 1.1, where `1e-6` is a string that needs no quotes.
    document = yaml.safe_dump({"title": text, "value": text}, default_style='"')
    read = parse_options(document, Outer, name="f")
    assert (read.title, read.value) == (text, text)


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="abc:-[]{}&*!|>'\"%@`#, \n\t0", max_size=40))
def test_no_text_brings_anything_but_options_or_one_line(text: str):
    said = "f.yaml"
    try:
        parse_options(text, Outer, name="f.yaml")
    except WorkflowError as error:
        said = str(error)
    assert said.startswith("f.yaml")
    assert "\n" not in said


def test_anchors_and_merge_keys_work():
    read = parse_options(
        "inner:\n  by_name:\n    a: &x {kind: square, side: 1}\n    b: {<<: *x, side: 2}\n", Outer, name="f"
    )
    assert read.inner.by_name["b"].side == 2.0


def test_many_aliases_of_aliases_are_refused_in_time():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "fewer aliases" in complaint("\n".join(lines))


def test_files_that_are_no_text_or_not_there_are_named(tmp_path: Path):
    with pytest.raises(WorkflowError, match="no such file"):
        read_options(str(tmp_path / "none.yaml"), Outer)
    with pytest.raises(WorkflowError, match="cannot be read"):
        read_options(str(tmp_path), Outer)
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(WorkflowError, match="is not UTF-8 text"):
        read_options(str(binary), Outer)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path):
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbftitle: x\n")
    assert read_options(str(path), Outer).title == "x"
