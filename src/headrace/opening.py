"""From a workflow's words to what the stages take: columns, split, target; refused early when they do not fit."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.compiling import worthwhile
from headrace.data.dataset import Dataset
from headrace.data.embeddings import made_bytes, made_names
from headrace.data.history import require_history
from headrace.data.pii import find_treatments, require_kept
from headrace.engine.embedding import find_embeddings
from headrace.engine.past import require_order
from headrace.engine.plan import PARTS_OF_SPLIT, STORED_BYTES, validation_limit
from headrace.engine.source import source_of
from headrace.engine.splits import Splitter
from headrace.errors import DataError, WorkflowError
from headrace.folding import folds_of
from headrace.preparation.needs import finders_of
from headrace.profiling.exploration import finders_for
from headrace.profiling.findings import check_finders, columns_looked_at
from headrace.profiling.slabs import cut_slabs, kept_detail, stored_detail
from headrace.training.blocks import Target
from headrace.training.variants import ways_to_prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from headrace.accumulators.columns import ColumnSummary
    from headrace.accumulators.detail import Detail
    from headrace.data.pii import Treatment
    from headrace.engine.source import Source
    from headrace.preparation.needs import PreparationFinder
    from headrace.profiling.explorers import Explorers
    from headrace.profiling.profile import Profile
    from headrace.profiling.slabs import Slab
    from headrace.profiling.survey import Finder
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
    treatments: tuple[Treatment, ...]
    """What is done with columns about persons."""
    slabs: tuple[Slab, ...]
    """The columns that are profiled: in one slab, but for very wide tables."""
    detail: Detail
    """What is kept of a column of several slabs."""
    looked_back: Source | None = None
    """What is read to know what came before each chunk; None when nothing is made from the rows before."""
    loops: bool = True
    """Whether there is memory for compiled loops."""

    def treatments_of(self, features: Collection[str]) -> tuple[Treatment, ...]:
        """Say what is done with the columns of which some features come."""
        source = self.trained
        made = source.history.inputs if source.history else ()
        read = {*features, *made, *(each.column for each in source.embeddings)}
        every = source.features is not None  # any column may go into a feature function
        return tuple(each for each in self.treatments if every or each.column in read)

    @property
    def native(self) -> bool:
        """Whether rows are prepared by compiled loops."""
        return self.loops and worthwhile(self.trained.rows, self.dataset.memory)

    @property
    def stored(self) -> Detail:
        """What of a column is stored."""
        return stored_detail(self.slabs, self.detail)


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
    data, folded, split = workflow.data, workflow.validation, workflow.data.split
    treatments = find_treatments(workflow.pii)
    dataset = Dataset(data.url, memory=memory, where=data.where).treated(treatments)
    raw = dataset.schema.names
    function = workflow.features.function if workflow.features else None
    history = data.looked_back
    if history is not None:
        _require(raw, {"data.time": [history.time]})
        require_history(history, dataset.schema)
        if data.where is None:  # of the rows that are kept, footers tell nothing
            require_order(dataset, history.time)
        raw = [*raw, *history.names]
    embeddings = find_embeddings(data.embeddings, dataset.schema, raw)
    if embeddings:
        raw = [*raw, *made_names(embeddings)]
        dataset = dataset.widened(made_bytes(embeddings))
    # A feature function may use any column; what it drops or makes is known from its result on a few rows.
    whole = source_of(dataset, raw, features=function, history=history, embeddings=embeddings)
    names, target = whole.schema.names, workflow.problem.target
    keys = {
        "problem.target": target,
        "data.time": data.time,
        "data.weight": data.weight,
        "validation.key": getattr(folded, "key", None),
        "data.split.key": split.key if split.kind == "group" else None,
    }
    require_kept(treatments, names, keys)
    _require_keys(workflow, whole.schema, [*raw, *(each.column for each in treatments)], keys)
    aside = {*data.drop, *keys.values()}
    features = tuple(name for name in names if name not in aside)
    if not features:
        raise WorkflowError("no column is left as a feature", where="data.drop", mend="drop fewer columns")
    by_time = split.kind == "time"
    training, testing = dataset.chunks, dataset.chunks
    if (
        split.kind == "time"
        and data.time is not None
        and data.time in raw
        and function is None
        and not any(each.column == data.time for each in treatments)
    ):
        # A feature function may move times, and so may a treatment: footers tell about parts only without them.
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
    slices = workflow.evaluate.slices
    profiled = _ordered(names, {*used, *_given(data.time), *slices, *workflow.checks.expect, *looked_at})
    tested = _ordered(names, {*used, *slices})

    reading = partial(source_of, dataset, history=history, embeddings=embeddings)
    source = whole if function else reading(profiled)
    groups = parts_of(splitter) * classes_of(workflow)
    told_apart = [*_given(target), *splitter.columns]
    return Opened(
        dataset=dataset,
        features=features,
        profiled=source,
        trained=whole if function else reading(_ordered(names, set(used)), chunks=training, checked=True),
        tested=whole if function else reading(tested, chunks=testing, checked=True),
        splitter=splitter,
        treatments=treatments,
        slabs=cut_slabs(source, told_apart, groups=groups, chunked=splitter.folds is not None),
        detail=kept_detail(len(profiled), groups=groups, memory=memory),
        looked_back=None if history is None else source_of(dataset, history.inputs),
    )


def _require_keys(
    workflow: WorkflowFile, schema: pa.Schema, before: list[str], keys: dict[str, str | None]
) -> None:
    """Refuse keys that name columns which are not there, or hold what the key cannot use; those `before` may be dropped as well."""
    data, checks, problem = workflow.data, workflow.checks, workflow.problem
    _require(schema.names, {key: [name] for key, name in keys.items()})
    _require([*schema.names, *before], {"data.drop": data.drop})
    _require(schema.names, {"evaluate.slices": workflow.evaluate.slices, "checks.expect": checks.expect})
    _require(schema.names, {"checks.unique": [name for key in checks.unique for name in key]})
    time = _tells_time, "a date or a timestamp", "name a column of times"
    number = _is_number, "a number", "name a column of numbers"
    label = (
        _is_label,
        "whole numbers, booleans or texts, as classes are",
        "cast it, such as in a features function",
    )
    _require_kind(schema, "data.time", data.time, *time)
    _require_kind(schema, "data.weight", data.weight, *number)
    _require_kind(
        schema, "problem.target", problem.target, *(number if problem.task == "regression" else label)
    )


def data_facts(workflow: WorkflowFile, opened: Opened) -> dict[str, Any]:
    """Say for the model card which data were used, and how."""
    return {
        "url": opened.dataset.url,
        "rows": opened.dataset.rows,
        "where": workflow.data.where,
        "split": workflow.data.split.kind,
        "pii": {each.column: each.words for each in opened.treatments},
    }


def judged_rows(opened: Opened) -> int:
    """Say how many validation rows may be held, by their width and the memory that chunks are cut for."""
    return validation_limit(row_bytes(opened), opened.dataset.memory)


def row_bytes(opened: Opened) -> int:
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


def finders_of_run(workflow: WorkflowFile, opened: Opened) -> tuple[tuple[Finder, ...], Explorers]:
    """Name all that is looked for beside the profile, and of it what is for the report."""
    schema, dataset = opened.profiled.schema, opened.dataset
    filtered = any(chunk.where is not None for chunk in dataset.chunks)
    explorers = finders_for(
        schema,
        rows=None if filtered else dataset.rows,
        target=workflow.problem.target,
        time=workflow.data.time,
        splitter=opened.splitter,
    )
    finders = (
        *check_finders(workflow.checks, schema, opened.splitter, rows=dataset.rows),
        *preparation_finders(workflow, opened),
        *explorers,
    )
    return finders, explorers


def preparation_finders(workflow: WorkflowFile, opened: Opened) -> tuple[PreparationFinder, ...]:
    """Name what the preparation, and all among which a search may choose, need beside the profile; it is found in the same pass.

    Raises
    ------
    WorkflowError
        When choices need the same of different columns or rows.
    """
    found: dict[str, PreparationFinder] = {}
    for options in ways_to_prepare(workflow.prepare, workflow.models):
        for finder in finders_of(
            options,
            opened.profiled.schema,
            features=opened.features,
            target=workflow.problem.target,
            task=workflow.problem.task,
            splitter=opened.splitter,
        ):
            if found.setdefault(finder.name, finder) != finder:
                raise WorkflowError(
                    f"candidates need {found[finder.name].why}, and {finder.why}, of which one can be taken",
                    where="models[].space",
                    mend="say it in prepare:, not in what candidates vary",
                )
    return tuple(found.values())


def classes_of(workflow: WorkflowFile) -> int:
    """Guess how many classes a column is summed up for: how many there are is known from the profile only."""
    return 2 if workflow.problem.task == "classification" else 1


def parts_of(splitter: Splitter) -> int:
    """Count the parts, or in all repeats the cells, that a column is summed up for."""
    if splitter.folds is None:
        return PARTS_OF_SPLIT
    return splitter.folds.repeats * (len(splitter.folds.names) + 1)


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
    name, weight = workflow.problem.target, workflow.data.weight
    if weight is not None:
        known = whole.columns[weight].overall
        _require_none(known.negatives + _infinite(known), weight, "weights are negative or infinite")
    if name is None:
        return Target(None, weight=weight)
    if workflow.problem.task != "classification":
        _require_none(_infinite(whole.columns[name].overall), name, "values of the target are infinite")
        return Target(name, weight=weight)
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
    return Target(name, tuple(labels), weights, weight, negatives=workflow.train.negatives)


def _infinite(column: ColumnSummary) -> int:
    return column.pos_infs + column.neg_infs


def _require_none(count: int, name: str, what: str) -> None:
    if count:
        raise DataError(
            f"{count:,} {what}", where=f"column {name!r}", mend="leave these rows out by data.where"
        )


def _label(key: str, kind: pa.DataType) -> Any:
    if pa.types.is_integer(kind):
        return int(key)
    return key == "True" if pa.types.is_boolean(kind) else key


def _tells_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_label(kind: pa.DataType) -> bool:
    return not (pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_number(kind: pa.DataType) -> bool:
    return not _is_label(kind) or bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


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


def _require_kind(
    schema: pa.Schema, key: str, name: str | None, fits: Callable[[pa.DataType], bool], what: str, mend: str
) -> None:
    """Refuse a column of a kind that its key cannot use."""
    if name is not None and not fits(schema.field(name).type):
        raise WorkflowError(f"column {name!r} is {schema.field(name).type}, not {what}", where=key, mend=mend)
