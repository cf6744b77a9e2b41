"""What the checks of a workflow look for in the profile's pass, and what they say of what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from headrace.profiling.duplicates import DUPLICATES, RepeatFinder, check_duplicates, check_key, key_name
from headrace.profiling.rules import RuleFinder, bind_rules, check_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from headrace.accumulators.rowhash import RepeatedRows
    from headrace.accumulators.rules import RuleCounts
    from headrace.engine.splits import Splitter
    from headrace.profiling.expectations import CheckOptions
    from headrace.profiling.outcomes import Check
    from headrace.profiling.survey import Finder, Finding

FEW_ROWS = 1_000_000
"""Rows up to which a run counts equal ones unasked."""
FEW_COLUMNS = 1_000
"""Columns up to which it does: rows of more may have to be read once more for it, and are hardly ever equal."""


def keys_of(options: CheckOptions) -> tuple[tuple[str, ...], ...]:
    """Return all keys that may not stand twice, those of single columns' expectations among them."""
    single = [(name,) for name, expectation in options.expect.items() if expectation.unique]
    return tuple(dict.fromkeys([*options.unique, *single]))


def columns_looked_at(options: CheckOptions, schema: pa.Schema) -> tuple[str, ...]:
    """Name the columns that rules, references and keys need, beside those that are read anyhow."""
    names = [name for test in bind_rules(options, schema) for name in test.columns]
    return tuple(dict.fromkeys([*names, *(name for key in options.unique for name in key)]))


def check_finders(
    options: CheckOptions, schema: pa.Schema, splitter: Splitter | None = None, *, rows: int = 0
) -> tuple[Finder, ...]:
    """Say what the checks look for in a pass that reads the columns of `schema`.

    Parameters
    ----------
    options : CheckOptions
        Of the workflow.
    schema : pyarrow.Schema
        Columns that the pass reads.
    splitter : Splitter, optional
        Rules are counted for each of its parts.
    rows : int
        Rows of the data, where what the pass costs counts: to hash every row costs as much as to profile it.

    Raises
    ------
    WorkflowError
        A rule, reference or key does not fit the columns.
    """
    finders: list[Finder] = []
    tests = bind_rules(options, schema)
    if tests:
        finders.append(RuleFinder(tests, splitter))
    finders += [
        RepeatFinder(key, key=True) for key in keys_of(options) if all(name in schema.names for name in key)
    ]
    if options.duplicates or (
        options.duplicates is None
        and ((rows <= FEW_ROWS and len(schema) <= FEW_COLUMNS) or options.max_duplicates is not None)
    ):
        finders.append(RepeatFinder(tuple(schema.names)))
    return tuple(finders)


def check_findings(
    findings: Mapping[str, Finding], options: CheckOptions, columns: Sequence[str]
) -> Iterator[Check]:
    """Say what was found.

    Parameters
    ----------
    findings : mapping of str to Finding
        Of the finders that `check_finders` made.
    options : CheckOptions
        The same.
    columns : sequence of str
        All columns of the pass.
    """
    if "rules" in findings:
        yield from check_rules(cast("RuleCounts", findings["rules"]), options)
    for key in keys_of(options):
        if key_name(key) in findings:
            yield check_key(cast("RepeatedRows", findings[key_name(key)]), key)
    if DUPLICATES in findings:
        found = cast("RepeatedRows", findings[DUPLICATES])
        yield check_duplicates(found, options.max_duplicates, len(columns))
