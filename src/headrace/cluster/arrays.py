"""Arrays of jobs: one workflow with some of its keys changed, a job for each entry of a file of parameters."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from headrace.errors import WorkflowError
from headrace.optionfile import parse_document, parse_options, read_text, write_document
from headrace.selecting import check_candidates
from headrace.workflow import WorkflowFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_JOBS = 1_000
"""Of one array, as Slurm has it by default."""


@dataclass(frozen=True)
class Member:
    """What one job of an array is asked to do."""

    suffix: str
    """What its id and its run directory have after those of the array."""
    parameters: dict[str, Any]
    """Dotted keys of the workflow to their values, as JSON has them."""
    workflow: str
    """The workflow file with these values."""


def read_members(path: str, workflow: str, *, name: str) -> list[Member]:
    """Read a file of parameters and make the workflow of each job.

    Parameters
    ----------
    path : str
        A YAML file with a list of entries, each of dotted keys and their values, or with one mapping of dotted keys to
        lists of values, which stands for all combinations; the last key varies fastest.
    workflow : str
        Text of the workflow file.
    name : str
        Stands for that file in messages.

    Raises
    ------
    WorkflowError
        When the file is none of both, a key is not one of the workflow, or it cannot have that value; names file, entry
        and key.
    """
    document = parse_document(workflow, name)
    members: list[Member] = []
    for number, entry in enumerate(_entries(path), 1):
        where = f"{path} entry {number}"
        changed = document
        for key, value in entry.items():
            changed = _with(changed, str(key).split("."), value, f"{where}: {key}")
        member = Member(f"_{number}", json.loads(json.dumps(entry, default=str)), write_document(changed))
        for other, earlier in enumerate(members, 1):
            if earlier.workflow == member.workflow:
                raise WorkflowError(f"asks for the same as entry {other}", where=where, mend="remove one")
        _check(workflow, changed, f"{where}, {name}")
        members.append(member)
    return members


def _entries(path: str) -> Sequence[Mapping[Any, Any]]:
    document = parse_document(read_text(path), path)
    if not isinstance(document, dict | list) or not document:
        raise WorkflowError(
            "holds no parameters",
            where=path,
            mend="write a list such as - {seed: 1}, or a grid such as seed: [1, 2]",
        )
    if isinstance(document, dict):
        return _combinations(document, path)
    _require_few(len(document), path)
    for number, entry in enumerate(document, 1):
        if not isinstance(entry, dict):
            raise WorkflowError(
                f"should be keys of the workflow with their values, not {entry!r}",
                where=f"{path} entry {number}",
                mend="write - {seed: 1}",
            )
    return document


def _combinations(grid: Mapping[Any, Any], path: str) -> list[dict[Any, Any]]:
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise WorkflowError(
                f"should be a list of values, not {values!r}",
                where=f"{path}: {key}",
                mend="write a list, or the file as a list of entries",
            )
    _require_few(math.prod(len(values) for values in grid.values()), path)
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _require_few(count: int, path: str) -> None:
    if count > MOST_JOBS:
        raise WorkflowError(
            f"makes {count:,} jobs, more than {MOST_JOBS:,}", where=path, mend="submit it in parts"
        )


def _with(value: Any, names: Sequence[str], new: Any, where: str) -> Any:
    """Return a copy in which a key is changed; an alias elsewhere in the file that shares it is not."""
    if not names:
        return new
    first, *rest = names
    if value is None:
        value = {}
    if isinstance(value, dict):
        return {**value, first: _with(value.get(first), rest, new, where)}
    if isinstance(value, list):
        known = [each.get("name") if isinstance(each, dict) else None for each in value]
        if first in known:
            at = known.index(first)
            return [*value[:at], _with(value[at], rest, new, where), *value[at + 1 :]]
        told = ", ".join(str(each) for each in known if each is not None)
        raise WorkflowError(
            f"the workflow has no entry named {first!r} there",
            where=where,
            mend=f"use one of {told}" if told else "give the whole list as the value of the key above",
        )
    raise WorkflowError(f"has no keys below {value!r}", where=where, mend="give a key above it")


def _check(workflow: str, changed: Any, name: str) -> None:
    options = parse_options(workflow, WorkflowFile, name=name, adjust=lambda _own: changed)
    try:
        check_candidates(options)
    except WorkflowError as error:
        raise WorkflowError(error.what, where=f"{name}: {error.where}", mend=error.mend) from None
