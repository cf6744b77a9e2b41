"""The language of `data.where`: which rows are wanted, as a small tree of columns held to values (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from headrace.data.expressions import (
    Among,
    Both,
    Column,
    Compared,
    Either,
    Literal,
    Null,
    parse_expression,
)
from headrace.data.expressions import Not as Negated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.data.expressions import Expression

Value: TypeAlias = str | int | float | bool

FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


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
        Comparisons of a column with a value (``== != < <= > >=``), ``between x and y``, ``in [..]``, ``not in [..]``,
        ``is null``, ``is not null``, boolean columns by themselves, joined by ``and``, ``or``, ``not`` and parentheses.
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
    return _narrowed(parse_expression(text))


def _narrowed(tree: Expression) -> Filter:
    """Refuse what footers cannot tell: a filter holds one column at a time to values."""
    if isinstance(tree, Both):
        return And(tuple(_flat(tree, Both)))
    if isinstance(tree, Either):
        return Or(tuple(_flat(tree, Either)))
    if isinstance(tree, Negated):
        return Not(_narrowed(tree.part))
    if isinstance(tree, Column):
        return Truth(tree.name)
    if isinstance(tree, Null) and isinstance(tree.part, Column):
        return Missing(tree.part.name)
    if isinstance(tree, Among) and isinstance(tree.part, Column):
        return Membership(tree.part.name, tuple(_value(value) for value in tree.values))
    if isinstance(tree, Compared):
        return _comparison(tree)
    raise ValueError("computes; compare a column with a value, text in quotes")


def _flat(tree: Both | Either, kind: type[Both | Either]) -> Iterator[Filter]:
    for part in (tree.left, tree.right):
        if isinstance(part, kind):
            yield from _flat(part, kind)
        else:
            yield _narrowed(part)


def _comparison(tree: Compared) -> Comparison:
    left, right = tree.left, tree.right
    if isinstance(left, Column) and isinstance(right, Literal):
        return Comparison(left.name, tree.op, _value(right))
    if isinstance(left, Literal) and isinstance(right, Column):
        return Comparison(right.name, FLIPPED[tree.op], _value(left))
    what = {(Column, Column): "two columns", (Literal, Literal): "two values"}.get((type(left), type(right)))
    raise ValueError(f"compares {what or 'what is computed'}; compare a column with a value, text in quotes")


def _value(literal: Literal) -> Value:
    assert isinstance(literal.value, Value), "a parsed text holds no dates"
    return literal.value
