"""A run planned from the footers: its passes, what each reads, what they cost, and the memory that a worker needs."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from headrace.accumulators.rowhash import LIMIT, ROW_BYTES
from headrace.compiling import RESIDENT
from headrace.data.embeddings import made_bytes
from headrace.data.ranges import GAP
from headrace.data.schemas import is_text
from headrace.data.storage import is_local, open_filesystem
from headrace.engine.embedding import resident_bytes
from headrace.engine.past import MOST_ROWS
from headrace.engine.plan import EMPTY_SUMMARY_BYTES, Reads, make_plan, summary_bytes
from headrace.opening import (
    classes_of,
    finders_of_run,
    judged_rows,
    parts_of,
    preparation_finders,
    row_bytes,
)
from headrace.preparation.footprint import fitted_bytes, found_bytes
from headrace.preparation.needs import reduced_texts
from headrace.profiling.duplicates import RepeatFinder
from headrace.profiling.slabs import deal_finders, rest_of
from headrace.training.dask_models import DASK_MODELS
from headrace.training.dask_solving import COPIES
from headrace.training.routes import TREES, passes_of
from headrace.training.search import most_preparations, rounds_of
from headrace.training.trees import growing_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.data.dataset import Dataset
    from headrace.engine.plan import Plan
    from headrace.engine.source import Source
    from headrace.engine.splits import Splitter
    from headrace.opening import Opened
    from headrace.workflow import WorkflowFile


LED_COPIES = 4
"""Summaries of all columns that the process which leads a run holds: those of the parts, what is merged from them, and nearly twice
as much of documents, of the model and of freed memory: 3.1 in all of 2,000 columns, 3.5 of 10,000."""


def plan_within(opened: Opened, plan: Callable[[Opened], Plan]) -> tuple[Opened, Plan]:
    """Plan a run; where compiled loops alone are too much for the memory, it goes without them, to the same model.

    Parameters
    ----------
    opened : Opened
        What the workflow names.
    plan : callable
        `plan_run` with all else.
    """
    planned = plan(opened)
    if opened.native and planned.memory_projected > planned.memory_budget:
        opened = replace(opened, loops=False)
        planned = plan(opened)
    return opened, planned


def plan_run(
    workflow: WorkflowFile,
    opened: Opened,
    more: Sequence[int] = (),
    *,
    workers: int,
    threads: int,
    memory_budget: int,
    cache: int = 0,
    in_process: bool = False,
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
    if splitter.folds is not None or workflow.train.refit is not None:
        epochs += [f"final {name}" for name in passes]
    if workflow.train.refit == "all":
        epochs += [f"all {name}" for name in passes]
    if splitter.folds is not None:
        # Of shared rows there is one copy, and each thread takes those of one fold out of it.
        copies = 2 if getattr(workflow.validation, "shared_preparation", False) else len(splitter.folds.folds)
    if workflow.search is not None:
        copies *= most_preparations(workflow.search, workflow.models)
    learnt = preparation_finders(workflow, opened)
    slabs = [(slab.name, _reads(dataset, slab.source)) for slab in opened.slabs]
    finders, _ = finders_of_run(workflow, opened)
    _, left = deal_finders(opened.slabs, finders)
    counted = (
        sum(isinstance(each, RepeatFinder) for each in finders) * ROW_BYTES * min(LIMIT, opened.profiled.rows)
    )
    rest = [_reads(dataset, rest_of(opened.profiled, left, splitter.columns))] if left else []
    return make_plan(
        max([*(reads for _, reads in slabs), *rest], key=attrgetter("largest")),
        _reads(dataset, opened.trained, share=1.0 - splitter.test),
        _reads(dataset, opened.tested, share=splitter.test if splitter.time is None else 1.0),
        read,
        row_bytes=row_bytes(opened),
        epochs=epochs,
        copies=copies,
        classes=classes_of(workflow),
        parts=parts_of(splitter),
        slabs=slabs,
        beside=rest[0] if rest else None,
        width=max(len(slab.columns) for slab in opened.slabs),
        judged=judged_rows(opened),
        cache=cache,
        workers=workers,
        threads=threads,
        memory_budget=memory_budget,
        notes=[
            *dataset.notes,
            *_history_costs(opened),
            *_embedding_costs(opened),
            *_preparation_costs(workflow, opened),
            *_peer_costs(workflow),
            *_slab_costs(opened),
        ],
        looked_back=None if opened.looked_back is None else _reads(dataset, opened.looked_back),
        learnt_again=_learnt_again(workflow, opened),
        found=counted
        + _training_parts(splitter) * sum(found_bytes(each, opened.trained.rows) for each in learnt),
        fitted=sum(fitted_bytes(each, opened.trained.rows) for each in learnt),
        loaded=resident_bytes(opened.profiled.embeddings, threads) + (RESIDENT if opened.native else 0),
        grown=_grown(workflow, opened, workers),
        led=_led(workflow, opened) + LED_COPIES * counted,
        in_process=in_process,
    )


def _history_costs(opened: Opened) -> list[str]:
    """Say what columns made from the rows before cost."""
    if opened.looked_back is None or opened.profiled.history is None:
        return []
    made, read = opened.profiled.history.names, opened.looked_back.columns
    what = "a column" if len(made) == 1 else f"{len(made)} columns"
    why = f"a pass of its own reads {', '.join(read)}, to know what the chunks before leave to each"
    most = f"at most {MOST_ROWS:,} rows in all"
    return [f"data.history makes {what} from the rows before: {why}, {most}; every pass makes them anew"]


def _embedding_costs(opened: Opened) -> list[str]:
    """Say what columns made of texts cost."""
    made = [f"{each.dimensions} columns of {each.column}" for each in opened.profiled.embeddings]
    again = "every pass that reads the data makes them anew, which takes most of its time"
    return [f"data.embeddings makes {' and '.join(made)}: {again}"] if made else []


def _preparation_costs(workflow: WorkflowFile, opened: Opened) -> list[str]:
    """Say what the preparation costs beside the profile, from which all else of it follows."""
    whys = [finder.why for finder in preparation_finders(workflow, opened)]
    texts = reduced_texts(workflow.prepare, opened.profiled.schema, opened.features)
    told = []
    if texts:
        named = "; ".join(f"{count} of {width:,} tokens of {name}" for name, (width, count) in texts.items())
        told.append(
            f"the preparation takes a pass of its own, prepare: singular vectors ({named} at most) come from products of tokens, whose "
            "weights are known when the profile is whole"
        )
    if whys:
        begins = "beside, the preparation" if told else "the preparation takes no pass of its own; it"
        told.append(f"{begins} adds to that of the profile: {'; '.join(whys)}")
    return told


def _training_parts(splitter: Splitter) -> int:
    """Count the parts, or in all repeats the cells, from which may be learnt."""
    return 1 if splitter.folds is None else splitter.folds.repeats * len(splitter.folds.names)


def _learnt_again(workflow: WorkflowFile, opened: Opened) -> int:
    """Bytes of the products of tokens of a chunk: for each fold, and for all rows."""
    texts = reduced_texts(workflow.prepare, opened.profiled.schema, opened.features)
    folds, shared = opened.splitter.folds, getattr(workflow.validation, "shared_preparation", False)
    sets = 1 if folds is None or shared else len(folds.folds) + 1
    return sets * sum(8 * width * width for width, _ in texts.values())


def _grown(workflow: WorkflowFile, opened: Opened, workers: int) -> int:
    """Bytes that XGBoost takes of a worker; 0 when no trees are grown."""
    if not any(model.estimator in TREES for model in workflow.models):
        return 0
    rows = math.ceil(opened.trained.rows * (1.0 - opened.splitter.test))
    return growing_bytes(rows, workers=workers, lanes=workflow.train.lanes, memory=opened.dataset.memory)


def _peer_costs(workflow: WorkflowFile) -> list[str]:
    """Say what models of dask-ml cost."""
    names = [model.name for model in workflow.models if model.estimator in DASK_MODELS]
    if not names:
        return []
    cost = f"each step reads all chunks, and each thread holds {COPIES} dense copies of one"
    return [f"{', '.join(names)}: dask-ml takes one model of one fold after the other; {cost}"]


def _slab_costs(opened: Opened) -> list[str]:
    """Say how very many columns are profiled."""
    if len(opened.slabs) == 1:
        return []
    width = max(len(slab.columns) for slab in opened.slabs)
    columns = len(opened.profiled.columns)
    return [
        f"{columns:,} columns are profiled {width:,} at a time, each pass reading its own; {opened.detail}",
    ]


def _led(workflow: WorkflowFile, opened: Opened) -> int:
    """Bytes of what the process that leads a run keeps of all columns."""
    columns, groups = len(opened.profiled.columns), parts_of(opened.splitter) * classes_of(workflow)
    if len(opened.slabs) == 1:
        return LED_COPIES * columns * summary_bytes(groups, opened.profiled.rows)
    return LED_COPIES * columns * groups * (opened.detail.bytes + EMPTY_SUMMARY_BYTES)


def _reads(dataset: Dataset, source: Source, *, share: float = 0.0) -> Reads:
    """Sum up what a source reads; `share` of the rows of each chunk is prepared."""
    made = 8 * len(source.history.names) if source.history else 0
    made += made_bytes(source.embeddings)
    size, chunk = max(
        (
            (dataset.column_memory(source.columns, chunk) + made * chunk.rows, chunk)
            for chunk in source.chunks
        ),
        key=itemgetter(0),
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
        fetched=_fetched(dataset, source),
        texts=most_texts(dataset, source),
    )


def most_texts(dataset: Dataset, source: Source) -> int:
    """Bound the distinct texts in one column of one chunk: each takes 5 bytes of its file or more, and 4 as a code."""
    files = {file.path: file for file in dataset.files}
    names = [name for name in source.columns if is_text(dataset.schema.field(name).type)]
    most = 0
    for chunk in source.chunks:
        found: Counter[str] = Counter()
        for piece in chunk.pieces:
            for group in (files[piece.path].row_groups[number] for number in piece.row_groups):
                part = (piece.rows if piece.within else group.rows) / group.rows
                for name in names:
                    if name in group.columns:
                        found[name] += math.ceil(part * min(group.rows, group.columns[name].memory // 9))
        most = max([most, *found.values()])
    return most


def _fetched(dataset: Dataset, source: Source) -> int:
    """Bound the bytes that a store sends of one chunk: its columns, and what lies between those that are near."""
    if is_local(open_filesystem(dataset.url)[0]):
        return 0
    most = 0
    for chunk in source.chunks:
        whole = tuple(piece for piece in chunk.pieces if piece.within is None)  # slices are streamed
        columns = dataset.column_bytes(source.columns, [replace(chunk, pieces=whole)])
        between = GAP * len(source.columns) * sum(len(piece.row_groups) for piece in whole)
        most = max(most, min(chunk.bytes, columns + between))
    return most
