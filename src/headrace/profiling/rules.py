"""Rules between columns and references to other tables: bound to a dataset, and counted in the profile's pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.rules import EXAMPLES, RuleCounts
from headrace.data.conditions import Condition, bind_expression, plain_column
from headrace.data.dataset import Dataset
from headrace.data.expressions import parse_expression
from headrace.data.reading import read_chunk
from headrace.engine.order import PARTS
from headrace.errors import DataError, WorkflowError
from headrace.profiling.expectations import RuleOptions
from headrace.profiling.outcomes import Check, Status, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.accumulators.rules import Place
    from headrace.data.dataset import Chunk
    from headrace.engine.splits import Splitter
    from headrace.profiling.expectations import CheckOptions, ReferenceOptions

MOST_KEYS = 1_000_000
"""Rows of a table that is referred to."""


@dataclass(frozen=True)
class Reference:
    """Whether the values of a column stand in a column of another table; unknown where they are missing."""

    column: str
    table: str
    """Its URL."""
    key: str
    fingerprint: str
    """Of the table, so that a worker reads it once, and again when it has changed."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What it looks at."""
        return (self.column,)

    def mask(self, table: pa.Table) -> pa.Array:
        """Say for each row whether its value stands in the other table; null where it is missing."""
        values = plain_column(table.column(self.column))
        known = _known_values(self.table, self.key, self.fingerprint)
        if values.type != known.type:
            common = pa.timestamp("us") if pa.types.is_temporal(values.type) else pa.float64()
            values, known = values.cast(common, safe=False), known.cast(common, safe=False)
        found = pc.is_in(values, value_set=known)
        return pc.if_else(pc.is_valid(values), found, pa.scalar(None, pa.bool_()))


RowTest = Condition | Reference


@lru_cache(maxsize=16)
def _known_values(url: str, key: str, _fingerprint: str) -> pa.Array:
    dataset = Dataset(url)
    parts = [
        read_chunk(chunk, dataset.schema, (key,), dictionary=False).column(key) for chunk in dataset.chunks
    ]
    return pa.concat_arrays([plain_column(part) for part in parts]).drop_null().unique()


def bind_rules(options: CheckOptions, schema: pa.Schema) -> tuple[RowTest, ...]:
    """Hold rules and references to the columns of a dataset, rules first.

    Raises
    ------
    WorkflowError
        A column is not there, is used as what it does not hold, or the other table does not fit.
    """
    rules = [
        bind_expression(parse_expression(rule.expression), schema, where=f"checks.rules[{number}]")
        for number, rule in enumerate(options.rules)
    ]
    references = [
        _bind_reference(reference, schema, f"checks.references[{number}]")
        for number, reference in enumerate(options.references)
    ]
    return (*rules, *references)


def _bind_reference(reference: ReferenceOptions, schema: pa.Schema, where: str) -> Reference:
    if reference.column not in schema.names:
        raise WorkflowError(
            f"there is no column {reference.column!r}",
            where=where,
            mend=f"there are {', '.join(schema.names[:12])}",
        )
    key = reference.key or reference.column
    try:
        table = Dataset(reference.table)
    except DataError as error:
        raise WorkflowError(str(error), where=where, mend="write it as Parquet") from error
    if key not in table.schema.names:
        raise WorkflowError(
            f"the table has no column {key!r}", where=where, mend=f"it has {', '.join(table.schema.names)}"
        )
    if table.rows > MOST_KEYS:
        raise WorkflowError(
            f"the table has {table.rows:,} rows", where=where, mend=f"refer to one of at most {MOST_KEYS:,}"
        )
    mine, theirs = (
        _family(each.field(name).type) for each, name in ((schema, reference.column), (table.schema, key))
    )
    if mine != theirs:
        raise WorkflowError(
            f"{reference.column!r} is {mine} and {key!r} is {theirs}",
            where=where,
            mend="compare like with like",
        )
    return Reference(reference.column, reference.table, key, table.fingerprint)


def _family(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "a number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "a text"
    return "a time" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else str(kind)


@dataclass(frozen=True)
class RuleFinder:
    """Counts for how many rows of each part each rule holds."""

    tests: tuple[RowTest, ...]
    splitter: Splitter | None = None
    """How the parts are told apart; without it there is one."""
    name: str = "rules"
    finding: type[RuleCounts] = RuleCounts

    @property
    def columns(self) -> tuple[str, ...]:
        """What the rules look at."""
        return tuple(dict.fromkeys(name for test in self.tests for name in test.columns))

    def find(self, table: pa.Table, chunk: Chunk) -> RuleCounts:
        """Count one chunk."""
        outcomes = [outcomes_of(test, table) for test in self.tests]
        parts = self.splitter.parts(table, chunk) if self.splitter else None
        empty = RuleCounts.empty(len(self.tests), len(PARTS) if self.splitter else 1)
        return empty.update(outcomes, lambda rows: first_places(chunk, rows), parts)


def outcomes_of(test: RowTest, table: pa.Table) -> NDArray[np.uint8]:
    """0, 1 or 2 for every row where a test is false, true or unknown, shape (rows,)."""
    codes: NDArray[np.uint8] = test.mask(table).cast(pa.uint8()).fill_null(2).to_numpy(zero_copy_only=False)
    return codes


def places_of(chunk: Chunk, rows: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Say where rows of a chunk come from: for each piece of a file, the numbers of its rows in that file.

    Parameters
    ----------
    chunk : Chunk
        As it was read.
    rows : ndarray of int64, ascending
        Numbers within the chunk.
    """
    within = rows if chunk.kept is None else np.asarray(chunk.kept)[rows]
    start = 0
    for piece in chunk.pieces:
        low, high = np.searchsorted(within, [start, start + piece.rows])
        if low < high:
            yield piece.key, within[low:high] - start + piece.first_row
        start += piece.rows


def first_places(chunk: Chunk, rows: NDArray[np.int64]) -> list[Place]:
    """Return the first places by file and row."""
    found = [
        (key, int(row)) for key, numbers in places_of(chunk, rows) for row in numbers[:EXAMPLES].tolist()
    ]
    return sorted(found)[:EXAMPLES]


def check_rules(counts: RuleCounts, options: CheckOptions) -> Iterator[Check]:
    """Tell of each rule and reference for how many rows it is known and kept."""
    asked: list[RuleOptions | ReferenceOptions] = [*options.rules, *options.references]
    parts = PARTS if counts.counts.shape[1] == len(PARTS) else ("all",)
    for number, (rule, found) in enumerate(zip(asked, counts.result(), strict=True)):
        yield _check(rule, found, dict(zip(parts, counts.counts[number].tolist(), strict=True)))


def _check(rule: RuleOptions | ReferenceOptions, found: dict[str, Any], parts: dict[str, list[int]]) -> Check:
    held, broken, unknown = found["held"], found["broken"], found["unknown"]
    known = held + broken
    share = held / known if known else None
    facts = {
        "rows": known + unknown,
        "held": held,
        "broken": broken,
        "unknown": unknown,
        "share": share,
        "at_least": rule.at_least,
        "parts": {
            part: dict(zip(("broken", "held", "unknown"), counts, strict=True))
            for part, counts in parts.items()
        },
        "first": [{"file": key, "row": row} for key, row in found["first"]],
    }
    if isinstance(rule, RuleOptions):
        name, column, break_it = "rule", "", "break it"
    else:
        name, column, break_it = "reference", rule.column, "are not there"
    if share is None:
        figure = f"{rule.title}: unknown for all {unknown:,} rows"
        return Check(name, column, "warn" if unknown else "pass", figure, exact=True, facts=facts)
    figure = f"{rule.title}: {broken:,} of {known:,} rows {break_it} ({percent(1 - share)})"
    if not broken:
        figure = f"{rule.title}: holds for all {known:,} rows"
    detail = [f"unknown for {unknown:,} rows" if unknown else ""]
    if rule.at_least < 1:
        detail.append(f"must hold for at least {percent(rule.at_least)}")
    if found["first"]:
        key, row = found["first"][0]
        detail.append(f"first: row {row} of {key or 'the file'}")
    if broken and len(parts) > 1:
        detail.append(", ".join(f"{part} {counts[0]:,}" for part, counts in parts.items()))
    status: Status = rule.severity if share < rule.at_least else "pass"
    return Check(
        name,
        column,
        status,
        figure,
        exact=True,
        detail="; ".join(part for part in detail if part),
        facts=facts,
    )
