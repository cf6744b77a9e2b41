"""An expression held to the columns of a dataset: which rows it is true, false or unknown for, by Arrow's kernels."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from headrace.data.expressions import (
    Among,
    Arithmetic,
    Both,
    Call,
    Column,
    Compared,
    Either,
    Expression,
    Like,
    Not,
    Null,
    columns_in,
)
from headrace.data.expressions import Literal as Written
from headrace.data.matching import COMPARED
from headrace.data.schemas import is_text, logical_type
from headrace.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable

Kind: TypeAlias = Literal["number", "text", "boolean", "date", "time", "zoned time", "span"]

_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TAKES: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("len", "lower", "upper"), ("text",)),
    "abs": ("number",),
    **dict.fromkeys(("year", "month", "day"), ("date", "time", "zoned time")),
    "hour": ("time", "zoned time"),
    **dict.fromkeys(("seconds", "minutes", "hours", "days"), ("span",)),
}
_UNITS = {"seconds": 1e6, "minutes": 6e7, "hours": 3.6e9, "days": 8.64e10}
_TIMES = ("date", "time", "zoned time")
_APPLY: dict[str, Callable[[Any], Any]] = {
    "lower": pc.utf8_lower,
    "upper": pc.utf8_upper,
    "len": lambda text: pc.utf8_length(text).cast(pa.int64()),
    "abs": pc.abs,
    "year": pc.year,
    "month": pc.month,
    "day": pc.day,
    "hour": pc.hour,
}
_CHECKED: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "+": (pc.add_checked, pc.add),
    "-": (pc.subtract_checked, pc.subtract),
    "*": (pc.multiply_checked, pc.multiply),
}


@dataclass(frozen=True)
class Condition:
    """A condition on rows that may compare columns.

    Attributes
    ----------
    tree : Expression
        With every written value in the type of what it is compared with.
    columns : tuple of str
        What it looks at.
    """

    tree: Expression
    columns: tuple[str, ...]

    def mask(self, table: pa.Table) -> pa.Array:
        """Say for each row whether the condition holds; null where that is unknown, as in SQL."""
        answer = _evaluate(self.tree, {name: plain_column(table.column(name)) for name in self.columns})
        return answer.combine_chunks() if isinstance(answer, pa.ChunkedArray) else answer


def bind_expression(tree: Expression, schema: pa.Schema, *, where: str) -> Condition:
    """Hold an expression to the columns of a dataset.

    Parameters
    ----------
    tree : Expression
        From `headrace.data.expressions.parse_expression`.
    schema : pyarrow.Schema
        Of the dataset.
    where : str
        The key of the workflow, for errors.

    Raises
    ------
    WorkflowError
        A column is not there, or is used as what it does not hold.
    """
    kinds = {name: _kind_of(name, schema, where) for name in columns_in(tree)}
    try:
        bound, kind = _bind(tree, kinds)
    except ValueError as error:
        raise WorkflowError(str(error), where=where, mend="compare like with like") from error
    if kind != "boolean":
        raise WorkflowError(f"is a {kind}, not a condition", where=where, mend="compare it, as in a > 0")
    return Condition(bound, columns_in(tree))


def _kind_of(name: str, schema: pa.Schema, where: str) -> Kind:
    if name not in schema.names:
        near = difflib.get_close_matches(name, schema.names, 1)
        mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(schema.names[:12])}"
        raise WorkflowError(f"there is no column {name!r}", where=where, mend=mend)
    kind = logical_type(schema.field(name).type)
    types = pa.types
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if is_text(kind):
        return "text"
    if types.is_date(kind):
        return "date"
    if types.is_timestamp(kind):
        return "zoned time" if kind.tz else "time"
    if types.is_duration(kind):
        return "span"
    raise WorkflowError(f"column {name!r} is {kind}", where=where, mend="a rule cannot look into it")


def _bind(tree: Expression, kinds: dict[str, Kind]) -> tuple[Expression, Kind]:  # noqa: C901 - one case for each kind of node
    """Return the tree with its written values in their types, and the kind of its value."""
    if isinstance(tree, Column):
        return tree, kinds[tree.name]
    if isinstance(tree, Written):
        return tree, _written(tree.value)
    if isinstance(tree, Not):
        return Not(_truth(tree.part, kinds)), "boolean"
    if isinstance(tree, Both | Either):
        return type(tree)(_truth(tree.left, kinds), _truth(tree.right, kinds)), "boolean"
    if isinstance(tree, Null):
        return Null(_bind(tree.part, kinds)[0]), "boolean"
    if isinstance(tree, Call):
        part, kind = _bind(tree.argument, kinds)
        if kind not in _TAKES[tree.function]:
            raise ValueError(f"{tree.function}() takes a {_TAKES[tree.function][0]}, not a {kind}")
        return Call(tree.function, part), "text" if tree.function in {"lower", "upper"} else "number"
    if isinstance(tree, Like):
        part, kind = _bind(tree.part, kinds)
        if kind != "text":
            raise ValueError(f"like takes a text, not a {kind}")
        return Like(part, tree.pattern), "boolean"
    if isinstance(tree, Among):
        part, kind = _bind(tree.part, kinds)
        values = tuple(_as_kind(value, kind)[0] for value in tree.values)
        return Among(part, values), "boolean"
    return _bind_pair(tree, kinds)


def _bind_pair(tree: Compared | Arithmetic, kinds: dict[str, Kind]) -> tuple[Expression, Kind]:
    left, a = _bind(tree.left, kinds)
    right, b = _bind(tree.right, kinds)
    if isinstance(left, Written) and not isinstance(right, Written):
        left, a = _as_kind(left, b)
    elif isinstance(right, Written) and not isinstance(left, Written):
        # A time less a text is a span shorter or, when the text tells a moment, the span between them.
        wanted: Kind = "span" if isinstance(tree, Arithmetic) and a in _TIMES and _is_span(right.value) else a
        right, b = _as_kind(right, wanted)
    if isinstance(tree, Compared):
        if a != b and {a, b} != {"date", "time"}:
            raise ValueError(f"compares a {a} with a {b}")
        return Compared(tree.op, left, right), "boolean"
    bound = Arithmetic(tree.op, left, right)
    if a == b == "number":
        return bound, "number"
    if tree.op == "-" and a in _TIMES and (a == b or {a, b} == {"date", "time"}):
        return bound, "span"
    if tree.op in {"+", "-"} and b == "span" and a in {*_TIMES, "span"}:
        return bound, "time" if a == "date" else a
    raise ValueError(f"cannot say {a} {tree.op} {b}")


def _truth(tree: Expression, kinds: dict[str, Kind]) -> Expression:
    bound, kind = _bind(tree, kinds)
    if kind != "boolean":
        raise ValueError(f"a {kind} stands where a condition is expected")
    return bound


def _written(value: Any) -> Kind:
    known: list[tuple[type, Kind]] = [(bool, "boolean"), (str, "text"), (timedelta, "span")]
    for kind, name in known:
        if isinstance(value, kind):
            return name
    if isinstance(value, datetime):
        return "zoned time" if value.tzinfo else "time"
    return "date" if isinstance(value, date) else "number"


def _is_span(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(f"(?:{_SPAN.pattern})+\\s*", value) is not None


def _as_kind(written: Written, kind: Kind) -> tuple[Written, Kind]:
    """Read a text that is compared with a time or a span as one; without a zone a time is in that of the column."""
    value = written.value
    if not isinstance(value, str) or kind not in {*_TIMES, "span"}:
        if _written(value) != kind:
            raise ValueError(f"{value!r} is compared with a {kind}")
        return written, kind
    if kind == "span":
        if not _is_span(value):
            raise ValueError(f"{value!r} is compared with a span of time; write it as 36h")
        seconds = sum(float(count) * _SECONDS[unit] for count, unit in _SPAN.findall(value))
        return Written(timedelta(seconds=seconds)), kind
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f'{value!r} is compared with a {kind}; write it as "2026-01-31"') from None
    if kind == "zoned time":
        return Written(moment), kind
    if moment.tzinfo is not None:
        raise ValueError(f"{value!r} has a time zone, and the column has none")
    whole = kind == "date" and moment.time() == datetime.min.time()
    return (Written(moment.date()), "date") if whole else (Written(moment), "time")


def plain_column(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as what rules are about: int64, float64 without NaN, large text, times in microseconds."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    wanted = kind
    if pa.types.is_integer(kind):
        wanted = pa.int64() if kind != pa.uint64() else pa.float64()
    elif pa.types.is_float16(kind):
        column, wanted = column.cast(pa.float32()), pa.float64()
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        wanted = pa.float64()
    elif is_text(kind):
        wanted = pa.large_string()
    elif pa.types.is_date(kind):
        wanted = pa.date32()
    array = column.cast(wanted, safe=False).combine_chunks()
    return _known(array)


def _known(array: pa.Array) -> pa.Array:
    """NaN is missing."""
    if not pa.types.is_floating(array.type):
        return array
    return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)


def _evaluate(tree: Expression, columns: dict[str, pa.Array]) -> Any:  # noqa: C901 - one case for each kind of node
    if isinstance(tree, Column):
        return columns[tree.name]
    if isinstance(tree, Written):
        return _scalar(tree.value)
    if isinstance(tree, Not):
        return pc.invert(_evaluate(tree.part, columns))
    if isinstance(tree, Null):
        return pc.is_null(_evaluate(tree.part, columns))
    if isinstance(tree, Like):
        return pc.match_like(_evaluate(tree.part, columns), tree.pattern)
    if isinstance(tree, Among):
        return _among(_evaluate(tree.part, columns), tree.values)
    if isinstance(tree, Call):
        part = _evaluate(tree.argument, columns)
        if tree.function in _UNITS:
            micros = pc.cast(pc.cast(part, pa.duration("us"), safe=False), pa.int64())
            return pc.divide(pc.cast(micros, pa.float64()), _UNITS[tree.function])
        return _APPLY[tree.function](part)
    left, right = _evaluate(tree.left, columns), _evaluate(tree.right, columns)
    if isinstance(tree, Both):
        return pc.and_kleene(left, right)
    if isinstance(tree, Either):
        return pc.or_kleene(left, right)
    left, right = _numbers(*_moments(left, right))
    return COMPARED[tree.op](left, right) if isinstance(tree, Compared) else _compute(tree.op, left, right)


def _scalar(value: Any) -> pa.Scalar:
    if isinstance(value, str):
        return pa.scalar(value, pa.large_string())
    if isinstance(value, datetime):
        return pa.scalar(value, pa.timestamp("us", tz="UTC" if value.tzinfo else None))
    if isinstance(value, timedelta):
        return pa.scalar(value, pa.duration("us"))
    return pa.scalar(value)


def _among(part: Any, values: tuple[Written, ...]) -> Any:
    if pa.types.is_temporal(part.type):
        answer = pa.scalar(False)
        for value in values:
            answer = pc.or_kleene(answer, pc.equal(*_moments(part, _scalar(value.value))))
        return answer
    wanted = pa.array([value.value for value in values])
    if pa.types.is_integer(part.type) and not pa.types.is_integer(wanted.type):
        part = pc.cast(part, pa.float64(), safe=False)
    wanted = wanted.cast(part.type)
    return pc.if_else(pc.is_valid(part), pc.is_in(part, value_set=wanted), pa.scalar(None, pa.bool_()))


def _moments(left: Any, right: Any) -> tuple[Any, Any]:
    """Dates beside times are times; a time without a zone is in that of the other, and two zones are compared in UTC."""
    zone = getattr(left.type, "tz", None) or getattr(right.type, "tz", None)
    return _moment(left, right.type, zone), _moment(right, left.type, zone)


def _moment(side: Any, beside: pa.DataType, zone: str | None) -> Any:
    if pa.types.is_date(side.type) and (pa.types.is_timestamp(beside) or pa.types.is_duration(beside)):
        side = pc.cast(side, pa.timestamp("us"))
    if zone is None or not pa.types.is_timestamp(side.type):
        return side
    if side.type.tz is None:
        side = pc.assume_timezone(side, zone, ambiguous="earliest", nonexistent="earliest")
    return pc.cast(side, pa.timestamp(side.type.unit, "UTC"))


def _numbers(left: Any, right: Any) -> tuple[Any, Any]:
    """Whole numbers beside others are doubles: Arrow refuses those that a double does not hold exactly."""
    if any(pa.types.is_floating(side.type) for side in (left, right)):
        return _double(left), _double(right)
    return left, right


def _compute(op: str, left: Any, right: Any) -> Any:
    if op == "/":
        divisor = _double(right)
        divisor = pc.if_else(pc.equal(divisor, 0.0), pa.scalar(None, pa.float64()), divisor)
        return _known(pc.divide(_double(left), divisor))
    checked, plain = _CHECKED[op]
    try:
        answer = checked(left, right)
    except pa.ArrowInvalid:  # whole numbers that leave 64 bits
        answer = plain(_double(left), _double(right))
    return _known(answer)


def _double(side: Any) -> Any:
    return pc.cast(side, pa.float64(), safe=False)
