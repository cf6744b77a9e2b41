"""Rows that break a rule, written out by one further pass in bounded memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from headrace.data.conditions import bind_expression
from headrace.data.expressions import Among, Both, Column, Compared, Expression, Not, Null
from headrace.data.expressions import Literal as Written
from headrace.data.schemas import logical_type
from headrace.data.storage import join, list_names, write_bytes
from headrace.errors import InputError
from headrace.profiling.duplicates import RepeatFinder, among_hashes
from headrace.profiling.findings import check_finders
from headrace.profiling.privacy import masked
from headrace.profiling.rules import bind_rules, outcomes_of, places_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from headrace.accumulators.rowhash import RepeatedRows
    from headrace.data.dataset import Chunk
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.profiling.duplicates import Hashes
    from headrace.profiling.expectations import CheckOptions, ColumnExpectation
    from headrace.profiling.rules import RowTest
    from headrace.profiling.survey import Finding

BROKEN, FILE, ROW = "_broken", "_file", "_row"
"""Columns that are added: the names of what a row breaks, and where it stands."""
MOST_REPEATED = 1 << 17
"""Rows known to stand more than once that are looked for: what is sent with each chunk, 2 MB."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    rows: int
    files: int

    def merge(self, other: Exported) -> Exported:
        """Add up two parts."""
        return Exported(self.rows + other.rows, self.files + other.files)


@dataclass(frozen=True)
class Violations:
    """Tells the rows of a chunk that break something."""

    tests: tuple[tuple[str, RowTest], ...]
    """By name: a row breaks one for which it is false."""
    repeats: tuple[tuple[RepeatFinder, Hashes], ...] = ()
    """A row breaks one when its hash is among those that are known to stand more than once."""
    cut: tuple[tuple[str, str], ...] = ()
    """By name of a repeat: how many of the rows that break it are not looked for."""

    def find(self, table: pa.Table) -> tuple[NDArray[np.int64], list[list[str]]]:
        """Return the numbers of the rows that break something, ascending, and the names of what each breaks."""
        masks: list[tuple[str, NDArray[np.bool_]]] = [
            (name, outcomes_of(test, table) == 0) for name, test in self.tests
        ]
        for finder, known in self.repeats:
            high, low, absent = finder.hashes(table)
            repeated = among_hashes(known, (high, low))
            masks.append((finder.name, repeated if absent is None else repeated & ~absent))
        if not masks:
            return np.empty(0, dtype=np.int64), []
        rows = np.flatnonzero(np.logical_or.reduce([mask for _, mask in masks]))
        names = [[name for name, mask in masks if mask[row]] for row in rows.tolist()]
        return rows, names


def violations_of(
    options: CheckOptions,
    schema: pa.Schema,
    findings: Mapping[str, Finding],
    failed: Collection[tuple[str, str]],
) -> Violations:
    """Say what a row can break: rules, references, ranges, values, keys, and being there once.

    Parameters
    ----------
    options : CheckOptions
        The checks.
    schema : pyarrow.Schema
        Columns of the pass.
    findings : mapping of str to Finding
        Of the profile's pass, for what stands more than once.
    failed : collection of (str, str)
        Name and column of the checks that failed: a missing value is broken where too many are.
    """
    rules = bind_rules(options, schema)
    titles = [*(rule.title for rule in options.rules), *(each.title for each in options.references)]
    tests = list(zip(titles, rules, strict=True))
    for name, expectation in options.expect.items():
        if name in schema.names:
            for what, tree in _trees(name, expectation, schema.field(name).type, failed):
                tests.append(
                    (f"{name}: {what}", bind_expression(tree, schema, where=f"checks.expect.{name}"))
                )
    repeated = {
        finder: cast("RepeatedRows", findings[finder.name])
        for finder in check_finders(options, schema)
        if isinstance(finder, RepeatFinder) and finder.name in findings
    }
    repeats = [(finder, _most(rows.repeated)) for finder, rows in repeated.items()]
    cut = [(finder.name, _left_out(rows)) for finder, rows in repeated.items()]
    return Violations(tuple(tests), tuple(repeats), tuple((name, told) for name, told in cut if told))


def _most(known: Hashes) -> Hashes:
    return known[0][:MOST_REPEATED], known[1][:MOST_REPEATED]


def _left_out(rows: RepeatedRows) -> str:
    """Say how many of what stands more than once is looked for, where that is not all of it."""
    known = len(rows.repeated[0])
    if rows.exact and known <= MOST_REPEATED:
        return ""
    there = f"{known:,}" if rows.exact else f"about {known << rows.level:,}"
    return f"{min(known, MOST_REPEATED):,} of {there} repeated values were looked for"


def _trees(
    name: str, expectation: ColumnExpectation, kind: pa.DataType, failed: Collection[tuple[str, str]]
) -> list[tuple[str, Expression]]:
    """Conditions that the rows of one column must keep; a bound of another kind than the column bounds no row."""
    column, kind = Column(name), logical_type(kind)
    is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    trees: list[tuple[str, Expression]] = []
    if ("missing", name) in failed:
        trees.append(("missing", Not(Null(column))))
    bounds = [
        Compared(op, column, Written(bound.isoformat() if isinstance(bound, date) else bound))
        for op, bound in ((">=", expectation.minimum), ("<=", expectation.maximum))
        if bound is not None and (is_time if isinstance(bound, date) else is_number)
    ]
    if bounds:
        trees.append(("range", bounds[0] if len(bounds) == 1 else Both(*bounds)))
    if expectation.values is not None and not is_time:
        values = [_as_kind(value, kind) for value in expectation.values]
        written = tuple(Written(value) for value in values if value is not None)
        trees.append(("values", Among(column, written)))
    return [tree for tree in trees if tree[0] != "values" or cast("Among", tree[1]).values]


def _as_kind(value: Any, kind: pa.DataType) -> Any:
    """Return a value that is allowed as one of the column's kind; None when it is none."""
    if pa.types.is_boolean(kind):
        return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        try:
            return float(value)
        except ValueError:
            return None
    return str(value)


def export_violations(
    reader: Reader, source: Source, violations: Violations, url: str, *, personal: Collection[str] | None
) -> Exported:
    """Read the data once more and write the rows that break something, one file for each chunk that has any.

    Parameters
    ----------
    reader : Reader
        Runs the pass.
    source : Source
        The chunks.
    violations : Violations
        What a row can break.
    url : str
        An empty or new directory for the Parquet files.
    personal : collection of str or None
        Columns of which nothing is shown; None: everything is shown as it is.

    Raises
    ------
    InputError
        When there is something at `url` already.
    """
    if list_names(url):
        raise InputError("is not empty", where=url, mend="name a new directory for the rows")
    write = partial(_write, violations=violations, url=url, personal=personal)
    exported: Exported = reader.reduce(source, write, Exported.merge, name="violations")
    return exported


def _write(
    table: pa.Table, chunk: Chunk, *, violations: Violations, url: str, personal: Collection[str] | None
) -> Exported:
    import pyarrow.parquet as pq

    rows, names = violations.find(table)
    if not len(rows):
        return Exported(0, 0)
    found = table.take(pa.array(rows))
    found = found if personal is None else masked(found, personal)
    files = [(key, numbers) for key, numbers in places_of(chunk, rows)]
    found = found.append_column(BROKEN, pa.array(names, pa.list_(pa.string())))
    keys = [key for key, numbers in files for _ in range(len(numbers))]
    found = found.append_column(FILE, pa.array(keys, pa.string()))
    found = found.append_column(ROW, pa.array(np.concatenate([numbers for _, numbers in files]), pa.int64()))
    buffer = io.BytesIO()
    pq.write_table(found, buffer)
    # A chunk has one name, so that a task which is run again writes the same file.
    write_bytes(join(url, f"part-{chunk.index:06}.parquet"), buffer.getvalue())
    return Exported(len(rows), 1)
