"""The language of `data.where`: from one line of text to a small tree that says which rows are wanted (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Value: TypeAlias = str | int | float | bool

FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
SAME = {"=": "==", "<>": "!="}
DEEPEST = 50
"""Levels of parentheses and of `not`."""

TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`[^`]+`)
      | (?P<word>[^\W\d]\w*(?:\.\w+)*)
      | (?P<sign><=|>=|==|!=|<>|[<>=()\[\],])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Comparison:
    """``column op value``; not true where the column is missing."""

    column: str
    op: str
    """One of ``== != < <= > >=``."""
    value: Value


@dataclass(frozen=True)
class Membership:
    """``column in [values]``; not true where the column is missing."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Missing:
    """``column is null``: null or NaN."""

    column: str


@dataclass(frozen=True)
class Truth:
    """A column of booleans by itself."""

    column: str


@dataclass(frozen=True)
class Not:
    """``not part``; unknown stays unknown."""

    part: Filter


@dataclass(frozen=True)
class And:
    """All parts hold."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """One of the parts holds."""

    parts: tuple[Filter, ...]


Filter: TypeAlias = Comparison | Membership | Missing | Truth | Not | And | Or


def columns_of(tree: Filter) -> tuple[str, ...]:
    """Name the columns that a filter looks at, in the order of the text.

    Examples
    --------
    >>> columns_of(parse_filter("b > 1 and not (a is null or b in [7])"))
    ('b', 'a')
    """
    return tuple(dict.fromkeys(_columns(tree)))


def _columns(tree: Filter) -> Iterator[str]:
    if isinstance(tree, And | Or):
        for part in tree.parts:
            yield from _columns(part)
    elif isinstance(tree, Not):
        yield from _columns(tree.part)
    else:
        yield tree.column


def parse_filter(text: str) -> Filter:
    """Parse a condition on rows.

    Parameters
    ----------
    text : str
        Comparisons of a column with a value (``== != < <= > >=``), ``in [..]``, ``not in [..]``, ``is null``,
        ``is not null``, boolean columns by themselves, joined by ``and``, ``or``, ``not`` and parentheses.
        Words of the language may be written in capitals; a column whose name is no word stands in backticks.

    Returns
    -------
    Filter

    Raises
    ------
    ValueError
        With the place in the text and what was expected there.

    Examples
    --------
    >>> parse_filter('age >= 18 and country in ["DE", "FR"]').parts[1]
    Membership(column='country', values=('DE', 'FR'))
    >>> parse_filter("18 <= age < 65")
    And(parts=(Comparison(column='age', op='>=', value=18), Comparison(column='age', op='<', value=65)))
    """
    parser = _Parser(text)
    tree = parser.either(0)
    if parser.kind != "end":
        raise parser.expected("'and', 'or' or the end")
    return tree


@dataclass(frozen=True)
class _Name:
    name: str


class _Parser:
    """Recursive descent over tokens, one ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.advance()

    def advance(self) -> None:
        self.place = self.end + len(self.text[self.end :]) - len(self.text[self.end :].lstrip())
        if self.place >= len(self.text):
            self.kind, self.token = "end", ""
            return
        found = TOKEN.match(self.text, self.end)
        if found is None:
            raise ValueError(f"{self.text[self.place :][:20]!r} is not understood; write it as age >= 18")
        self.kind = str(found.lastgroup)
        self.token = found[self.kind]
        self.end = found.end()
        if self.kind == "word" and self.token.lower() in {"and", "or", "not", "in", "is", "null"}:
            self.kind, self.token = "key", self.token.lower()

    def expected(self, what: str) -> ValueError:
        found = repr(self.text[self.place :][:20]) if self.kind != "end" else "the end"
        return ValueError(f"{what} was expected in place of {found} (character {self.place + 1})")

    def takes(self, *tokens: str) -> str | None:
        if self.kind in {"key", "sign"} and self.token in tokens:
            token = self.token
            self.advance()
            return token
        return None

    def require(self, token: str) -> None:
        if self.takes(token) is None:
            raise self.expected(repr(token))

    def either(self, depth: int) -> Filter:
        parts = [self.both(depth)]
        while self.takes("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def both(self, depth: int) -> Filter:
        parts = [self.negated(depth)]
        while self.takes("and"):
            parts.append(self.negated(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def negated(self, depth: int) -> Filter:
        if depth > DEEPEST:
            raise ValueError(f"is nested deeper than {DEEPEST} levels")
        if self.takes("not"):
            return Not(self.negated(depth + 1))
        if self.takes("("):
            tree = self.either(depth + 1)
            self.require(")")
            return tree
        return self.condition()

    def condition(self) -> Filter:
        left = self.operand()
        if isinstance(left, _Name):
            if self.takes("is"):
                negative = self.takes("not")
                self.require("null")
                return Not(Missing(left.name)) if negative else Missing(left.name)
            negative = self.takes("not")
            if self.takes("in"):
                within = Membership(left.name, self.values())
                return Not(within) if negative else within
            if negative:
                raise self.expected("'in'")
        comparisons: list[Filter] = []
        while op := self.takes("==", "=", "!=", "<>", "<=", ">=", "<", ">"):
            right = self.operand()
            comparisons.append(_comparison(left, SAME.get(op, op), right))
            left = right
        if comparisons:
            return comparisons[0] if len(comparisons) == 1 else And(tuple(comparisons))
        if isinstance(left, _Name):
            return Truth(left.name)
        raise self.expected("a comparison")

    def operand(self) -> _Name | Value:
        kind, token = self.kind, self.token
        if kind == "word" and token.lower() in {"true", "false"}:
            value: _Name | Value = token.lower() == "true"
        elif kind == "word":
            value = _Name(token)
        elif kind == "quoted":
            value = _Name(token[1:-1])
        elif kind == "text":
            value = re.sub(r"\\(.)", r"\1", token[1:-1])
        elif kind == "number":
            value = int(token) if re.fullmatch(r"[-+]?\d+", token) else float(token)
        elif (kind, token) == ("key", "null"):
            raise ValueError("nothing equals null; write `is null` or `is not null`")
        else:
            raise self.expected("a column or a value")
        self.advance()
        return value

    def values(self) -> tuple[Value, ...]:
        closing = "]" if self.takes("[") else ")"
        if closing == ")":
            self.require("(")
        values: list[Value] = []
        while self.takes(closing) is None:
            if values:
                self.require(",")
            value = self.operand()
            if isinstance(value, _Name):
                raise ValueError(f"{value.name!r} stands in a list of values; put text in quotes")  # noqa: TRY004 told as a mistake in the text
            values.append(value)
        if not values:
            raise ValueError("an empty list holds no row; name the values")
        return tuple(values)


def _comparison(left: _Name | Value, op: str, right: _Name | Value) -> Comparison:
    if isinstance(left, _Name) and not isinstance(right, _Name):
        return Comparison(left.name, op, right)
    if isinstance(right, _Name) and not isinstance(left, _Name):
        return Comparison(right.name, FLIPPED[op], left)
    what = "two columns" if isinstance(left, _Name) else "two values"
    raise ValueError(f"compares {what}; compare a column with a value, text in quotes")
