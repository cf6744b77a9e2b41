"""From the `validation:` key to folds: borders in time come from the footers of the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.engine.folds import (
    ColumnFolds,
    GroupFolds,
    RowFolds,
    StratifiedFolds,
    TimeFolds,
    time_length,
)
from headrace.engine.nesting import NestedFolds
from headrace.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.data.dataset import Chunk
    from headrace.engine.folds import Folds
    from headrace.engine.source import Source
    from headrace.training.validation import Timed
    from headrace.workflow import WorkflowFile


def folds_of(workflow: WorkflowFile, whole: Source, training: Sequence[Chunk], *, made: bool) -> Folds | None:
    """Make the folds of a workflow, with folds within them where it asks for these, or None for a holdout.

    Parameters
    ----------
    workflow : WorkflowFile
        As the user wrote it.
    whole : Source
        All columns of the dataset, those of a feature function included.
    training : sequence of Chunk
        Those that hold rows that are not for the test.
    made : bool
        Whether a feature function makes columns, so that footers do not tell of them.

    Raises
    ------
    WorkflowError
        When the kind of folds does not fit the task or the data.
    """
    folds = _outer(workflow, whole, training, made=made)
    return (
        NestedFolds(folds) if folds is not None and getattr(workflow.validation, "nested", False) else folds
    )


def _outer(workflow: WorkflowFile, whole: Source, training: Sequence[Chunk], *, made: bool) -> Folds | None:
    said, problem = workflow.validation, workflow.problem
    if said.kind == "kfold":
        return RowFolds(said.folds, said.repeats)
    if said.kind == "group":
        return GroupFolds(said.key, said.folds, said.repeats)
    if said.kind == "column":
        kind = whole.schema.field(said.key).type
        try:
            pa.array(said.values).cast(kind.value_type if pa.types.is_dictionary(kind) else kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise WorkflowError(
                f"the column {said.key!r} is {kind}, which cannot be {list(said.values)}",
                where="validation.values",
                mend="give values of its type",
            ) from error
        return ColumnFolds(said.key, said.values)
    if said.kind == "stratified":
        if problem.target is None or problem.task != "classification":
            raise WorkflowError(
                f"{problem.task} has no classes to spread",
                where="validation.kind",
                mend="use kfold, group or time",
            )
        return StratifiedFolds(problem.target, said.folds, said.repeats)
    if said.kind == "time":
        return _timed(workflow, said, whole, training, made=made)
    return None


def _timed(
    workflow: WorkflowFile, said: Timed, whole: Source, training: Sequence[Chunk], *, made: bool
) -> TimeFolds:
    column = workflow.data.time
    if column is None:
        raise WorkflowError(
            "folds in time need the time column", where="validation.kind", mend="add data.time"
        )
    kind = whole.schema.field(column).type
    split = workflow.data.split
    end = _number(split.test_from, kind) if split.kind == "time" else None
    if said.starts is not None:
        starts = tuple(sorted(_number(moment, kind) for moment in said.starts))
        where, mend = "validation.starts", "give moments that differ, before test_from"
    else:
        groups = [] if made else whole.dataset.spans(column, training)
        starts = borders(
            [(_number(low, kind), _number(high, kind), rows) for low, high, rows in groups],
            said.folds,
            end=end,
        )
        where, mend = "validation.folds", "give the first moment of each fold as validation.starts"
    if len(set(starts)) < max(1, len(starts)) or not starts or (end is not None and starts[-1] >= end):
        raise WorkflowError(
            f"the footers of the files do not tell {said.folds} stretches of {column!r} apart"
            if said.starts is None
            else "two are the same, or one is in the test part",
            where=where,
            mend=mend,
        )
    window = None if said.window is None else time_length(said.window, kind)
    return TimeFolds(column, starts, time_length(said.gap, kind), window)


def borders(groups: Sequence[tuple[int, int, int]], folds: int, *, end: int | None = None) -> tuple[int, ...]:
    """Find moments that cut rows into `folds` + 1 stretches of about equally many rows, and leave out the first one.

    As scikit-learn's TimeSeriesSplit does, the first stretch is learnt from only.

    Parameters
    ----------
    groups : sequence of (int, int, int)
        Of each row group: first time, last time, rows; between the two, rows are taken as evenly spread.
    folds : int
        How many.
    end : int, optional
        Rows from here on do not count.

    Returns
    -------
    tuple of int
        Fewer than `folds` when times do not differ enough, none without groups.
    """
    if not groups:
        return ()
    low, high, rows = (np.array(column, np.float64) for column in zip(*groups, strict=True))
    last = high.max() if end is None else min(high.max(), float(end))

    def before(moment: float) -> float:
        span = np.where(high > low, high - low, 1.0)
        share = np.where(high > low, (moment - low) / span, moment > low)
        return float((np.clip(share, 0.0, 1.0) * rows).sum())

    total, found = before(last), []
    for k in range(1, folds + 1):
        left, right = float(low.min()), float(last)
        while right - left > 0.5:  # bisection to a whole moment
            middle = (left + right) / 2
            left, right = (middle, right) if before(middle) < total * k / (folds + 1) else (left, middle)
        found.append(int(np.ceil(left)))
    return tuple(dict.fromkeys(found))


def _number(moment: Any, kind: pa.DataType) -> int:
    """Turn a moment, or what a footer says of one, into a whole number in the unit of the column."""
    if isinstance(moment, (int, np.integer)):
        return int(moment)
    value = pa.scalar(moment).cast(kind)
    return int(value.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64()).as_py())
