"""The language of conditions on rows: from one line of text to a small tree, without evaluating anything (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Value: TypeAlias = str | int | float | bool | date | datetime | timedelta

FUNCTIONS = (
    *("len", "lower", "upper", "abs"),
    *("year", "month", "day", "hour"),
    *("seconds", "minutes", "hours", "days"),
)
"""Each takes one argument: a text, a number, a time, or a span of time."""
SAME = {"=": "==", "<>": "!="}
DEEPEST = 50
"""Levels of parentheses and of `not`."""
KEYS = frozenset({"and", "or", "not", "in", "is", "null", "like", "between"})

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`[^`]+`)
      | (?P<word>[^\W\d]\w*(?:\.\w+)*)
      | (?P<sign><=|>=|==|!=|<>|[<>=()\[\],+*/-])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Column:
    """The value of a column; NaN is missing."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A value that stands in the text."""

    value: Value


@dataclass(frozen=True)
class Arithmetic:
    """``left op right``; missing where one of them is, or a divisor is 0."""

    op: str
    """One of ``+ - * /``."""
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Call:
    """One of `FUNCTIONS` of its argument."""

    function: str
    argument: Expression


@dataclass(frozen=True)
class Compared:
    """``left op right``; unknown where one of them is missing."""

    op: str
    """One of ``== != < <= > >=``."""
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Among:
    """``part in [values]``; unknown where `part` is missing."""

    part: Expression
    values: tuple[Literal, ...]


@dataclass(frozen=True)
class Like:
    """``part like "A_%"`` with SQL's wildcards; unknown where `part` is missing."""

    part: Expression
    pattern: str


@dataclass(frozen=True)
class Null:
    """``part is null``: known for every row."""

    part: Expression


@dataclass(frozen=True)
class Not:
    """``not part``; unknown stays unknown."""

    part: Expression


@dataclass(frozen=True)
class Both:
    """``left and right`` in three-valued logic."""

    left: Expression
    right: Expression


@dataclass(frozen=True)
class Either:
    """``left or right`` in three-valued logic."""

    left: Expression
    right: Expression


Expression: TypeAlias = (
    Column | Literal | Arithmetic | Call | Compared | Among | Like | Null | Not | Both | Either
)


def columns_in(tree: Expression) -> tuple[str, ...]:
    """Name the columns that an expression looks at, in the order of the text.

    Examples
    --------
    >>> columns_in(parse_expression("b > a + 1 or b is null"))
    ('b', 'a')
    """
    return tuple(dict.fromkeys(_columns(tree)))


def _columns(tree: Expression) -> Iterator[str]:
    if isinstance(tree, Column):
        yield tree.name
    elif not isinstance(tree, Literal):
        for item in fields(tree):
            part = getattr(tree, item.name)
            if not isinstance(part, str | tuple):
                yield from _columns(part)


def parse_expression(text: str) -> Expression:
    """Parse a condition that may compare columns with each other.

    Parameters
    ----------
    text : str
        Comparisons (``== != < <= > >=``, also in a row) of columns and values with ``+ - * /``, parentheses and
        `FUNCTIONS`; ``between x and y``, ``in [..]``, ``like "A%"``, ``is null`` and their negations; boolean columns by
        themselves; joined by ``and``, ``or``, ``not`` and parentheses. Words of the language may be written in capitals;
        a column whose name is no word, or a word of the language, stands in backticks.

    Raises
    ------
    ValueError
        With the place in the text and what was expected there.

    Examples
    --------
    >>> parse_expression("arr_time > dep_time")
    Compared(op='>', left=Column(name='arr_time'), right=Column(name='dep_time'))
    >>> parse_expression("not a + 1 <= 2 * b")
    Not(part=Compared(op='<=', left=Arithmetic(op='+', left=Column(name='a'), right=Literal(value=1)), \
right=Arithmetic(op='*', left=Literal(value=2), right=Column(name='b'))))
    """
    parser = _Parser(text)
    tree = parser.either()
    if parser.kind != "end":
        raise parser.expected("'and', 'or' or the end")
    if not columns_in(tree):
        raise ValueError("names no column; write it as arr_time > dep_time")
    return tree


class _Parser:
    """Recursive descent over tokens, one ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.depth = 0
        self.advance()

    def advance(self) -> None:
        self.place = self.end + len(self.text[self.end :]) - len(self.text[self.end :].lstrip())
        if self.place >= len(self.text):
            self.kind, self.token = "end", ""
            return
        found = _TOKEN.match(self.text, self.end)
        if found is None:
            raise ValueError(
                f"{self.text[self.place :][:20]!r} is not understood; write it as arr_time > dep_time"
            )
        self.kind = str(found.lastgroup)
        self.token = found[self.kind]
        self.end = found.end()
        if self.kind == "word" and self.token.lower() in KEYS:
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

    def deeper(self, parse: Callable[[], Expression]) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"is nested deeper than {DEEPEST} levels")
        tree = parse()
        self.depth -= 1
        return tree

    def either(self) -> Expression:
        tree = self.both()
        while self.takes("or"):
            tree = Either(tree, self.both())
        return tree

    def both(self) -> Expression:
        tree = self.negated()
        while self.takes("and"):
            tree = Both(tree, self.negated())
        return tree

    def negated(self) -> Expression:
        return Not(self.deeper(self.negated)) if self.takes("not") else self.condition()

    def condition(self) -> Expression:
        left = self.total()
        if self.takes("is"):
            negative = self.takes("not")
            self.require("null")
            return Not(Null(left)) if negative else Null(left)
        negative = self.takes("not")
        found = self.asked(left)
        if found is not None:
            return Not(found) if negative else found
        if negative:
            raise self.expected("'in', 'like' or 'between'")
        tree: Expression | None = None
        while op := self.takes("==", "=", "!=", "<>", "<=", ">=", "<", ">"):
            right = self.total()
            compared = Compared(SAME.get(op, op), left, right)
            tree = compared if tree is None else Both(tree, compared)
            left = right
        return left if tree is None else tree

    def asked(self, left: Expression) -> Expression | None:
        if self.takes("in"):
            return Among(left, self.values())
        if self.takes("like"):
            pattern = self.primary()
            if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
                raise self.expected("a pattern in quotes")
            return Like(left, pattern.value)
        if self.takes("between"):
            low = self.total()
            self.require("and")
            return Both(Compared(">=", left, low), Compared("<=", left, self.total()))
        return None

    def total(self) -> Expression:
        tree = self.product()
        while op := self.takes("+", "-"):
            tree = Arithmetic(op, tree, self.product())
        return tree

    def product(self) -> Expression:
        tree = self.signed()
        while op := self.takes("*", "/"):
            tree = Arithmetic(op, tree, self.signed())
        return tree

    def signed(self) -> Expression:
        if self.takes("+"):
            return self.deeper(self.signed)
        if not self.takes("-"):
            return self.primary()
        part = self.deeper(self.signed)
        if isinstance(part, Literal) and isinstance(part.value, int | float):
            return Literal(-part.value)
        return Arithmetic("-", Literal(0), part)

    def primary(self) -> Expression:
        if self.takes("("):
            tree = self.deeper(self.either)
            self.require(")")
            return tree
        kind, token = self.kind, self.token
        if (kind, token) == ("key", "null"):
            raise ValueError("nothing equals null; write `is null` or `is not null`")
        if kind not in {"word", "quoted", "text", "number"}:
            raise self.expected("a column or a value")
        self.advance()
        if kind == "word" and token.lower() in {"true", "false"}:
            return Literal(token.lower() == "true")
        if kind == "word" and self.takes("("):
            return self.call(token)
        if kind == "number":
            return Literal(int(token) if token.isdigit() else float(token))
        if kind == "text":
            return Literal(re.sub(r"\\(.)", r"\1", token[1:-1]))
        return Column(token if kind == "word" else token[1:-1])

    def call(self, name: str) -> Expression:
        if name.lower() not in FUNCTIONS:
            raise ValueError(f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}")
        argument = self.deeper(self.either)
        self.require(")")
        return Call(name.lower(), argument)

    def values(self) -> tuple[Literal, ...]:
        closing = "]" if self.takes("[") else ")"
        if closing == ")":
            self.require("(")
        values: list[Literal] = []
        while self.takes(closing) is None:
            if values:
                self.require(",")
            value = self.signed()
            if not isinstance(value, Literal):
                raise ValueError("a list holds values alone; put text in quotes")  # noqa: TRY004 told as a mistake in the text
            values.append(value)
        if not values:
            raise ValueError("an empty list holds no row; name the values")
        return tuple(values)
