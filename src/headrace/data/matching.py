"""A filter held to a schema: which rows it keeps, and what a row group's statistics say about it before it is read (pure)."""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.data.filters import And, Comparison, Filter, Membership, Missing, Not, Or, Truth
from headrace.data.schemas import is_text, logical_type
from headrace.errors import WorkflowError

WHERE = "data.where"

TRUE, FALSE, UNKNOWN = 1, 2, 4
"""What a condition can be for a row; several are possible for the rows of a row group, and are added up."""

ANYTHING = TRUE | FALSE | UNKNOWN

COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
DAY = 86_400 * 10**9


@dataclass(frozen=True)
class Span:
    """What is known of the values of one column in one row group before it is read."""

    rows: int
    """Rows."""
    nulls: int | None
    """Nulls; None when the footer does not say."""
    low: Any = None
    """No value is smaller (NaN aside); None when the footer does not say."""
    high: Any = None
    """No value is larger (NaN aside); None when the footer does not say."""


Spans = Callable[[str], Span]


class Matcher(ABC):
    """A condition that can be asked of rows and of row groups."""

    @abstractmethod
    def mask(self, table: pa.Table) -> pa.ChunkedArray:
        """Say for each row whether the condition holds; null where that is unknown."""

    @abstractmethod
    def outcomes(self, spans: Spans) -> int:
        """Say what the condition can be for the rows of a row group; never less than what it is for one of them."""

    def may_hold(self, spans: Spans) -> bool:
        """Whether a row of the row group can fulfil the condition."""
        return bool(self.outcomes(spans) & TRUE)


@dataclass(frozen=True)
class _Joined(Matcher):
    parts: tuple[Matcher, ...]
    all: bool

    def mask(self, table: pa.Table) -> pa.ChunkedArray:
        join = pc.and_kleene if self.all else pc.or_kleene
        result = self.parts[0].mask(table)
        for part in self.parts[1:]:
            result = join(result, part.mask(table))
        return result

    def outcomes(self, spans: Spans) -> int:
        # In the order of this list the first that occurs wins, as in SQL.
        strength = (FALSE, UNKNOWN, TRUE) if self.all else (TRUE, UNKNOWN, FALSE)
        result = self.parts[0].outcomes(spans)
        for part in self.parts[1:]:
            other = part.outcomes(spans)
            pairs = [(a, b) for a in strength if a & result for b in strength if b & other]
            result = 0
            for a, b in pairs:
                result |= min(a, b, key=strength.index)
        return result


@dataclass(frozen=True)
class _Negated(Matcher):
    part: Matcher

    def mask(self, table: pa.Table) -> pa.ChunkedArray:
        return pc.invert(self.part.mask(table))

    def outcomes(self, spans: Spans) -> int:
        found = self.part.outcomes(spans)
        return (found & UNKNOWN) | (FALSE if found & TRUE else 0) | (TRUE if found & FALSE else 0)


@dataclass(frozen=True)
class _Leaf(Matcher):
    """A condition on one column, answered once for each value of its dictionary where it has one."""

    column: str
    type: pa.DataType

    def mask(self, table: pa.Table) -> pa.ChunkedArray:
        parts = [self._mask(array) for array in table.column(self.column).chunks]
        return pa.chunked_array(parts, pa.bool_())

    def _mask(self, array: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(array.type):
            return self.test(array.dictionary).take(array.indices)
        return self.test(array)

    @abstractmethod
    def test(self, values: pa.Array) -> pa.Array:
        """Say for each value whether the condition holds."""


@dataclass(frozen=True)
class _IsMissing(_Leaf):
    def test(self, values: pa.Array) -> pa.Array:
        return pc.is_null(values, nan_is_null=pa.types.is_floating(values.type))

    def _mask(self, array: pa.Array) -> pa.Array:
        # a code that is null has no value in the dictionary, and is missing all the more
        return pc.fill_null(super()._mask(array), True)

    def outcomes(self, spans: Spans) -> int:
        span = spans(self.column)
        can_be = span.nulls != 0 or pa.types.is_floating(self.type)
        return (TRUE if can_be else 0) | (FALSE if span.nulls is None or span.nulls < span.rows else 0)


@dataclass(frozen=True)
class _Compared(_Leaf):
    """``column op value`` in the physical type of the column, where no conversion loses anything."""

    op: str
    values: tuple[Any, ...]
    """One, or with ``==`` any number of them, of which one is to be met."""

    def test(self, values: pa.Array) -> pa.Array:
        plain = physical(values)
        if len(self.values) == 1:
            found = COMPARED[self.op](plain, pa.scalar(self.values[0], plain.type))
        else:
            wanted = list(self.values)
            if pa.types.is_floating(plain.type) and 0.0 in wanted:
                wanted += [0.0, -0.0]  # which are equal, but not found as each other
            found = pc.is_in(plain, value_set=pa.array(wanted, plain.type))
            found = pc.if_else(pc.is_valid(plain), found, pa.scalar(None, pa.bool_()))
        if pa.types.is_floating(plain.type):  # NaN is missing
            found = pc.if_else(pc.is_nan(plain), pa.scalar(None, pa.bool_()), found)
        return found

    def outcomes(self, spans: Spans) -> int:
        span = spans(self.column)
        missing = UNKNOWN if span.nulls != 0 or pa.types.is_floating(self.type) else 0
        if span.nulls == span.rows:
            return UNKNOWN
        bounds = _bounds(span, self.type)
        if bounds is None:
            return missing | TRUE | FALSE
        low, high, exact = bounds
        if self.op in {"==", "!="}:
            met = any(low <= value <= high for value in self.values)
            only = exact and low == high and met
            same, other = (TRUE, FALSE) if self.op == "==" else (FALSE, TRUE)
            return missing | (same if met else 0) | (0 if only else other)
        (value,) = self.values
        compare = {
            "<": (low < value, high >= value),
            "<=": (low <= value, high > value),
            ">": (high > value, low <= value),
            ">=": (high >= value, low < value),
        }
        some, others = compare[self.op]
        return missing | (TRUE if some else 0) | (FALSE if others else 0)


@dataclass(frozen=True)
class _Fixed(_Leaf):
    """A comparison that every value passes, or none: with half a day, or with a number beyond the type."""

    holds: bool

    def test(self, values: pa.Array) -> pa.Array:
        answer = pc.if_else(pc.is_valid(values), pa.scalar(self.holds), pa.scalar(None, pa.bool_()))
        if pa.types.is_floating(values.type):
            answer = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.bool_()), answer)
        return answer

    def outcomes(self, spans: Spans) -> int:
        span = spans(self.column)
        return (UNKNOWN if span.nulls != 0 else 0) | (TRUE if self.holds else FALSE)


def bind(tree: Filter, schema: pa.Schema) -> Matcher:
    """Hold a filter to the columns of a dataset.

    Parameters
    ----------
    tree : Filter
        From `headrace.data.filters.parse_filter`.
    schema : pyarrow.Schema
        Of the dataset.

    Raises
    ------
    WorkflowError
        A column is not there, or is compared with what it does not hold.
    """
    if isinstance(tree, And | Or):
        return _Joined(tuple(bind(part, schema) for part in tree.parts), isinstance(tree, And))
    if isinstance(tree, Not):
        return _Negated(bind(tree.part, schema))
    name = tree.column
    if name not in schema.names:
        near = difflib.get_close_matches(name, schema.names, 1)
        mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(schema.names[:12])}"
        raise WorkflowError(f"there is no column {name!r}", where=WHERE, mend=mend)
    kind = logical_type(schema.field(name).type)
    if isinstance(tree, Missing):
        return _IsMissing(name, kind)
    if isinstance(tree, Truth):
        if not pa.types.is_boolean(kind):
            raise _unlike(name, kind, "stands by itself", f"compare it with a value, as in {name} == ...")
        return _Compared(name, kind, "==", (True,))
    if isinstance(tree, Membership):
        equal = [_comparison(Comparison(name, "==", value), kind) for value in tree.values]
        met = tuple(each.values[0] for each in equal if isinstance(each, _Compared))
        return _Compared(name, kind, "==", met) if met else _Fixed(name, kind, holds=False)
    return _comparison(tree, kind)


def at_or_after(name: str, kind: pa.DataType, moment: object) -> Matcher | None:
    """Make the condition that tells test rows from earlier ones; None when the footers cannot answer it."""
    kind = logical_type(kind)
    try:
        value = pa.scalar(moment).cast(kind).value
    except (pa.ArrowException, AttributeError):
        return None
    return _Compared(name, kind, ">=", (value,))


def _comparison(tree: Comparison, kind: pa.DataType) -> Matcher:
    name, op, value = tree.column, tree.op, tree.value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if pa.types.is_boolean(kind):
        if not isinstance(value, bool):
            raise _unlike(name, kind, f"is compared with {value!r}", "compare it with true or false")
        return _Compared(name, kind, op, (value,))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if not number:
            raise _unlike(name, kind, f"is compared with {value!r}", "compare it with a number")
        if not pa.types.is_integer(kind):
            return _Compared(name, kind, op, (float(value),))
        if isinstance(value, float) and math.isinf(value):
            return _Fixed(name, kind, holds=op == "!=" or ((op in {"<", "<="}) == (value > 0) and op != "=="))
        return _whole(name, kind, op, Fraction(value))
    if is_text(kind):
        if not isinstance(value, str):
            raise _unlike(name, kind, f"is compared with {value!r}", f'write "{value}" in quotes')
        return _Compared(name, kind, op, (value,))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _whole(name, kind, op, Fraction(_moment(name, kind, value), _unit(kind)))
    raise _unlike(
        name, kind, f"is compared with {value!r}", "only `is null` and `is not null` can be asked of it"
    )


def _unlike(name: str, kind: pa.DataType, what: str, mend: str) -> WorkflowError:
    return WorkflowError(f"column {name!r} is {kind} and {what}", where=WHERE, mend=mend)


def _whole(name: str, kind: pa.DataType, op: str, value: Fraction) -> Matcher:
    """Compare whole numbers with any number, exactly."""
    if value.denominator != 1:
        if op in {"==", "!="}:
            return _Fixed(name, kind, holds=op == "!=")
        op, value = (
            (">=", Fraction(math.ceil(value))) if op in {">", ">="} else ("<=", Fraction(math.floor(value)))
        )
    bits = kind.bit_width
    signed = not pa.types.is_unsigned_integer(kind)
    smallest, largest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not smallest <= value <= largest:
        below = {"<", "<=", "!="} if value > largest else {">", ">=", "!="}
        return _Fixed(name, kind, holds=op in below)
    return _Compared(name, kind, op, (int(value),))


def _moment(name: str, kind: pa.DataType, value: object) -> int:
    """Return a moment as nanoseconds since 1970, in the zone of the column unless it says its own."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise _unlike(name, kind, f"is compared with {value!r}", 'write a time as "2026-01-31"')
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    if zone is None:
        if moment.tzinfo is not None:
            raise _unlike(
                name, kind, f"is compared with {value!r}", "leave the zone out, the column has none"
            )
        return ordinal(moment)
    if moment.tzinfo is None:
        local = pc.assume_timezone(pa.scalar(moment, pa.timestamp("us")), zone, ambiguous="earliest")
        return int(local.value) * 1000
    return ordinal(moment)


def ordinal(moment: date) -> int:
    """Nanoseconds since 1970 of a date or time; a time without a zone counts as UTC."""
    if not isinstance(moment, datetime):
        return (moment - date(1970, 1, 1)).days * DAY
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    whole = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    return whole + int(getattr(moment, "nanosecond", 0))


def _unit(kind: pa.DataType) -> int:
    if pa.types.is_date32(kind):
        return DAY
    return NANOSECONDS["ms" if pa.types.is_date(kind) else kind.unit]


def physical(values: pa.Array) -> pa.Array:
    """Return values as the numbers or texts that a `_Compared` holds; nothing is lost but decimals' last digits."""
    kind = values.type
    if pa.types.is_date32(kind):
        return values.cast(pa.int32())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return values.cast(pa.int64())
    if pa.types.is_float16(kind):
        return values.cast(pa.float32()).cast(pa.float64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return values.cast(pa.float64())
    return values


def _bounds(span: Span, kind: pa.DataType) -> tuple[Any, Any, bool] | None:
    """Return smallest and largest value as a `_Compared` holds them, and whether both are values that occur."""
    low, high = span.low, span.high
    if low is None or high is None or pa.types.is_decimal(kind):
        return None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if not (isinstance(low, date) and isinstance(high, date)):
            return None
        unit = _unit(kind)
        # Footers may be told in microseconds what was written in nanoseconds.
        slack = 1000 if unit == 1 else 0
        return (ordinal(low) - slack) // unit, -((-ordinal(high) - slack) // unit), slack == 0
    if pa.types.is_floating(kind):
        if not (isinstance(low, int | float) and isinstance(high, int | float)):
            return None
        bounds = float(low), float(high)
        return None if math.isnan(bounds[0]) or math.isnan(bounds[1]) else (*bounds, True)
    if is_text(kind):  # a writer may cut long texts, so that a bound need not occur
        return (low, high, False) if isinstance(low, str) and isinstance(high, str) else None
    if isinstance(low, int) and isinstance(high, int):
        return low, high, True
    return None


def spans_of(known: Mapping[str, Span], rows: int) -> Spans:
    """Look spans up by column; a column that a file does not have is all null there."""
    return lambda name: known.get(name) or Span(rows, rows)
