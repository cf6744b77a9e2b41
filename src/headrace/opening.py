"""From a workflow's words to what the stages take: columns, split, target; refused early when they do not fit."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.data.dataset import Dataset
from headrace.engine.plan import STORED_BYTES, Reads, make_plan
from headrace.engine.source import source_of
from headrace.engine.splits import Splitter
from headrace.errors import DataError, WorkflowError
from headrace.folding import folds_of
from headrace.preparation.needs import finders_of
from headrace.profiling.findings import columns_looked_at
from headrace.training.blocks import Target
from headrace.training.routes import passes_of
from headrace.training.search import most_preparations, rounds_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.data.dataset import Chunk
    from headrace.engine.plan import Plan
    from headrace.engine.source import Source
    from headrace.preparation.needs import PreparationFinder
    from headrace.profiling.profile import Profile
    from headrace.workflow import WorkflowFile


TIME_PARTS = 6
"""Entries of a prepared row that a time becomes at most."""


@dataclass(frozen=True)
class Opened:
    """A dataset as a workflow sees it: one source for each kind of pass."""

    dataset: Dataset
    features: tuple[str, ...]
    """Columns that may become features."""
    profiled: Source
    trained: Source
    tested: Source
    splitter: Splitter


def open_data(workflow: WorkflowFile, memory: int) -> Opened:
    """Open the dataset of a workflow, and refuse keys that name what it does not have.

    Parameters
    ----------
    workflow : WorkflowFile
        As the user wrote it.
    memory : int
        Budget of a worker in bytes, from which chunks are sized.

    Raises
    ------
    WorkflowError
        When a key names a column that does not exist, or a time column that holds no times.
    DataError
        When the files cannot be used.
    """
    data, evaluate = workflow.data, workflow.evaluate
    dataset = Dataset(data.url, memory=memory, where=data.where)
    raw = dataset.schema.names
    function = workflow.features.function if workflow.features else None
    # A feature function may use any column; what it drops or makes is known from its result on a few rows.
    whole = source_of(dataset, raw, features=function)
    names = whole.schema.names
    target = workflow.problem.target
    _require(names, {"problem.target": [target], "data.time": [data.time], "data.weight": [data.weight]})
    _require([*names, *raw], {"data.drop": data.drop})
    folded, split = workflow.validation, data.split
    keys = {
        "validation.key": getattr(folded, "key", None),
        "data.split.key": split.key if split.kind == "group" else None,
    }
    _require(names, {key: [name] for key, name in keys.items()})
    _require(names, {"evaluate.slices": evaluate.slices, "checks.expect": workflow.checks.expect})
    _require(names, {"checks.unique": [name for key in workflow.checks.unique for name in key]})
    if data.time is not None and not _tells_time(whole.schema.field(data.time).type):
        raise WorkflowError(
            f"column {data.time!r} is {whole.schema.field(data.time).type}, not a date or a timestamp",
            where="data.time",
            mend="name a column of times",
        )
    aside = {target, data.time, data.weight, *data.drop, *keys.values()}
    features = tuple(name for name in names if name not in aside)
    if not features:
        raise WorkflowError("no column is left as a feature", where="data.drop", mend="drop fewer columns")
    by_time = split.kind == "time"
    training, testing = dataset.chunks, dataset.chunks
    if split.kind == "time" and data.time is not None and data.time in raw and function is None:
        # A feature function may move times, so that footers tell about parts only without one.
        dataset = dataset.cut_at(data.time, split.test_from)
        sides = [dataset.sides(chunk) for chunk in dataset.chunks]
        training, testing = (
            tuple(chunk for chunk, side in zip(dataset.chunks, sides, strict=True) if side[part])
            or dataset.chunks  # a part without rows is refused where parts are counted
            for part in (0, 1)
        )
    splitter = Splitter(
        seed=workflow.seed,
        test=0.0 if split.kind == "time" else split.test,
        validation=split.validation if folded.kind == "holdout" else 0.0,
        time=data.time if by_time else None,
        test_from=split.test_from if split.kind == "time" else None,
        group=split.key if split.kind == "group" else None,
        folds=folds_of(workflow, whole, training, made=function is not None),
    )
    used = [*features, *_given(target, data.weight), *splitter.columns]
    looked_at = columns_looked_at(workflow.checks, whole.schema)
    profiled = _ordered(
        names, {*used, *_given(data.time), *evaluate.slices, *workflow.checks.expect, *looked_at}
    )
    tested = _ordered(names, {*used, *evaluate.slices})

    def reading(columns: list[str], chunks: Sequence[Chunk]) -> Source:
        return whole if function else source_of(dataset, columns, chunks=chunks)

    return Opened(
        dataset=dataset,
        features=features,
        profiled=reading(profiled, dataset.chunks),
        trained=reading(_ordered(names, set(used)), training),
        tested=reading(tested, testing),
        splitter=splitter,
    )


def plan_run(
    workflow: WorkflowFile,
    opened: Opened,
    more: Sequence[int] = (),
    *,
    workers: int,
    threads: int,
    memory_budget: int,
    cache: int = 0,
) -> Plan:
    """Plan the passes of a run from the footers: what each reads, and the memory that a worker needs for it."""
    dataset, splitter = opened.dataset, opened.splitter
    read = opened.profiled.schema.names
    rounds = [""]
    if workflow.search is not None:
        rounds = [each.name for each in rounds_of(workflow.search, workflow.models, more)]
    folded = len(splitter.folds.folds) if splitter.folds else 1
    passes = passes_of(workflow.models, workflow.train.epochs, folded)
    epochs = [f"{each}{name}" for each in rounds for name in passes]
    copies = 1
    if splitter.folds is not None:
        epochs += [f"final {name}" for name in passes]
        # Of shared rows there is one copy, and each thread takes those of one fold out of it.
        copies = 2 if getattr(workflow.validation, "shared_preparation", False) else len(splitter.folds.folds)
    if workflow.search is not None:
        copies *= most_preparations(workflow.search, workflow.models)
    return make_plan(
        _reads(dataset, opened.profiled),
        _reads(dataset, opened.trained, share=1.0 - splitter.test),
        _reads(dataset, opened.tested, share=splitter.test if splitter.time is None else 1.0),
        read,
        row_bytes=_row_bytes(opened),
        epochs=epochs,
        copies=copies,
        # how many classes there are is known from the profile only
        classes=2 if workflow.problem.task == "classification" else 1,
        cache=cache,
        workers=workers,
        threads=threads,
        memory_budget=memory_budget,
        notes=[*dataset.notes, *_preparation_costs(workflow, opened)],
    )


def preparation_finders(workflow: WorkflowFile, opened: Opened) -> tuple[PreparationFinder, ...]:
    """Name what the preparation needs beside the profile; it is found in the same pass."""
    return finders_of(
        workflow.prepare,
        opened.profiled.schema,
        features=opened.features,
        target=workflow.problem.target,
        task=workflow.problem.task,
        splitter=opened.splitter,
    )


def _preparation_costs(workflow: WorkflowFile, opened: Opened) -> list[str]:
    """Say what the preparation costs beside the profile, from which all else of it follows."""
    whys = [finder.why for finder in preparation_finders(workflow, opened)]
    if not whys:
        return []
    return [f"the preparation takes no pass of its own; it adds to that of the profile: {'; '.join(whys)}"]


def _reads(dataset: Dataset, source: Source, *, share: float = 0.0) -> Reads:
    """Sum up what a source reads; `share` of the rows of each chunk is prepared."""
    # A feature function is given every column, and makes others.
    names = [name for name in source.schema.names if name in dataset.columns]
    columns = dataset.schema.names if len(names) < len(source.schema.names) else names
    size, chunk = max(
        ((dataset.column_memory(columns, chunk), chunk) for chunk in source.chunks), key=itemgetter(0)
    )
    first, last = chunk.pieces[0], chunk.pieces[-1]
    until = f" to {last.path} row group {last.row_groups[-1]}" if len(chunk.pieces) > 1 else ""
    return Reads(
        chunks=len(source.chunks),
        rows=source.rows,
        bytes=source.bytes,
        largest=size,
        largest_at=f"most of it for {size / (1 << 20):,.0f} MiB decoded from {first.path} row group "
        f"{first.row_groups[0]}{until}",
        most_rows=math.ceil(share * max(each.rows for each in source.chunks)),
    )


def _row_bytes(opened: Opened) -> int:
    """Bytes of a prepared row: an entry a column, more of times, one more where a value is missing; target and weight."""
    entries = 2.0
    for name in opened.features:
        known = opened.dataset.columns.get(name)
        if known is None:  # made by a feature function
            entries += 2
        elif _tells_time(known.type):
            entries += TIME_PARTS
        else:
            entries += 2 if known.nulls is None else 1 + known.nulls / max(1, opened.dataset.rows)
    return math.ceil(entries * STORED_BYTES)


def read_target(workflow: WorkflowFile, opened: Opened, whole: Profile, training: Profile) -> Target:
    """Learn from the profile how the target is read: its labels and the weight of each.

    Parameters
    ----------
    workflow : WorkflowFile
        As the user wrote it.
    opened : Opened
        The dataset.
    whole, training : Profile
        Of all rows, and of the training rows.

    Raises
    ------
    DataError
        When the target cannot serve the task.
    """
    name = workflow.problem.target
    if name is None or workflow.problem.task != "classification":
        return Target(name, weight=workflow.data.weight)
    kind = opened.profiled.schema.field(name).type
    labels = sorted(_label(key, kind) for key in whole.classes if key != "null")
    if len(labels) < 2:
        what = "takes more than 32 values" if not labels else f"takes one value only, {labels[0]!r}"
        raise DataError(
            f"the target {what}", where=f"column {name!r}", mend="classification needs from 2 to 32 classes"
        )
    weights: tuple[float, ...] = ()
    wanted = workflow.train.class_weight
    if wanted == "balanced":
        counts = [max(1, training.classes.get(str(label), 0)) for label in labels]
        weights = tuple(sum(counts) / (len(counts) * count) for count in counts)
    elif wanted is not None:
        _require([str(label) for label in labels], {"train.class_weight": wanted}, what="class")
        weights = tuple(wanted.get(str(label), 1.0) for label in labels)
    return Target(name, tuple(labels), weights, workflow.data.weight)


def _label(key: str, kind: pa.DataType) -> Any:
    if pa.types.is_integer(kind):
        return int(key)
    return key == "True" if pa.types.is_boolean(kind) else key


def _tells_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _given(*names: str | None) -> list[str]:
    return [name for name in names if name is not None]


def _ordered(names: list[str], wanted: set[str]) -> list[str]:
    return [name for name in names if name in wanted]


def _require(names: list[str], keys: dict[str, Iterable[str | None]], *, what: str = "column") -> None:
    for key, wanted in keys.items():
        for name in wanted:
            if name is not None and name not in names:
                near = difflib.get_close_matches(name, names, 1)
                mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names[:12])}"
                raise WorkflowError(f"there is no {what} {name!r}", where=key, mend=mend)
