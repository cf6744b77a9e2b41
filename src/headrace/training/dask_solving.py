"""dask-ml's solvers over Dask arrays whose chunks are read and prepared in each step, and dropped after it."""

from __future__ import annotations

import math
import time
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data.reading import ReadCount
from headrace.engine.commits import PassRecord
from headrace.engine.events import ChunkDone, PassEnded, PassStarted
from headrace.engine.source import Reading
from headrace.errors import RunError
from headrace.training.board import Fitted
from headrace.training.candidates import Candidate, build
from headrace.training.dask_models import DASK_MODELS
from headrace.training.generalised_losses import told
from headrace.training.sweeps import learns, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import dask.array as da
    import pyarrow as pa
    from distributed import Client
    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk
    from headrace.engine.folds import Fold
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.blocks import Target
    from headrace.training.sweeps import Rows, RowsOf

    Numbers = NDArray[np.float64]

MIB = 1 << 20
COPIES = 4
"""Of a dense chunk that a thread holds: as it is prepared, with ones, brought to one scale, and weighted."""


@dataclass(frozen=True)
class DenseRows:
    """Rows that a fold learns from as dense float64, with ones for the intercept.

    dask-glm itself adds no ones to chunks whose length is not known before they are read.
    """

    rows: RowsOf
    fold: Fold
    intercept: bool

    def __call__(self, table: pa.Table, chunk: Chunk) -> tuple[Numbers, Numbers]:
        """Prepare a chunk."""
        return self._dense(self.rows(table, chunk))

    def recall(self, chunk: Chunk) -> tuple[Numbers, Numbers] | None:
        """Return a chunk that was prepared before, without reading it; None when it is not kept."""
        rows = self.rows.recall(chunk)
        return None if rows is None else self._dense(rows)

    def _dense(self, rows: Rows) -> tuple[Numbers, Numbers]:
        used = learns(self.fold, rows.cells)
        X = rows.X[used]
        X = X if isinstance(X, np.ndarray) else X.toarray()
        if self.intercept:
            X = np.concatenate([X, np.ones((len(X), 1))], axis=1, dtype=np.float64)
        return X.astype(np.float64, copy=False), rows.y[used].astype(np.float64)


@dataclass(frozen=True)
class DaskProblem:
    """A candidate on the training rows of one fold."""

    candidate: Candidate
    number: int
    """Of the fold."""
    rows: RowsOf
    fold: Fold
    width: int
    """Features."""


def solve_by_dask(
    reader: Reader,
    source: Source,
    problems: Sequence[DaskProblem],
    target: Target,
    *,
    seed: int,
    name: str,
) -> tuple[Fitted, ...]:
    """Fit a linear model of dask-ml in its folds, one after the other.

    Each step of a solver reads all chunks: its sums are taken of each chunk in the tasks of Dask, and no array of all rows is held.

    Parameters
    ----------
    reader : Reader
        Its client does the work; reads are counted as passes of it.
    source : Source
        The chunks.
    problems : sequence of DaskProblem
        Of one candidate, in the order of its folds.
    target : Target
        Of two classes, or a number; no row weighs more than another.
    seed : int
        Of the run.
    name : str
        Begins the names of its passes and of its facts in the ledger.

    Returns
    -------
    tuple of Fitted
        Estimators of scikit-learn, one a fold.

    Raises
    ------
    RunError
        When there are more than two classes or weights of rows, which dask-ml does not know, or a dense chunk takes more
        than a worker may hold.
    """
    if len(target.classes) > 2 or target.weight is not None or target.class_weight or target.negatives < 1:
        what = f"{len(target.classes)} classes" if len(target.classes) > 2 else "weights of rows"
        raise RunError(
            f"dask_ml.linear_model does not know {what}",
            where="models",
            mend="use sklearn.linear_model.LogisticRegression, which headrace fits in passes of its own",
        )
    for problem in problems:
        require_room(reader.client, source, problem.width + 1)
    return tuple(
        _solved(reader, source, problem, target, seed, f"{name}{problem.candidate.name} {problem.number}")
        for problem in problems
    )


def require_room(client: Client, source: Source, columns: int) -> None:
    """Refuse dense chunks that would not fit in a worker.

    Raises
    ------
    RunError
        Saying what its threads would hold of chunks with so many columns, and what the worker may hold.
    """
    largest = max(chunk.rows for chunk in source.chunks)
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        needed, limit = worker["nthreads"] * COPIES * 8 * largest * columns, worker["memory_limit"]
        if limit and needed > limit:
            raise RunError(
                f"dask-ml takes dense chunks: those of {columns:,} features take {needed / MIB:,.0f} MiB of a worker, "
                f"and its budget is {limit / MIB:,.0f} MiB",
                where="models",
                mend="use the model of sklearn.linear_model, which takes sparse rows, or smaller row groups",
            )


def _solved(
    reader: Reader, source: Source, problem: DaskProblem, target: Target, seed: int, label: str
) -> Fitted:
    path, ledger = problem.candidate.estimator, reader.ledger
    asked: Any = build(problem.candidate, seed=seed)
    known = None if ledger is None else ledger.state.facts.get(label)
    if known is not None and ledger is not None:
        records = [PassRecord(**body) for body in known.body["passes"]]
        beta, seconds = unpacked(ledger.read(known.payloads["coefficients"]))["beta"], known.body["seconds"]
    else:
        reader.emit(PassStarted(label, len(source.chunks), source.rows, source.bytes))
        started = time.perf_counter()
        dense = DenseRows(problem.rows, problem.fold, bool(asked.fit_intercept))
        columns = problem.width + int(dense.intercept)
        with _counted(reader, label) as (topic, records):
            X, y = _arrays(source, dense, columns, topic)
            solver: Any = build(problem.candidate, seed=seed)
            beta = np.asarray(solver.set_params(fit_intercept=False).fit(X, y).coef_, np.float64)
        seconds = time.perf_counter() - started
        for record in records:
            record.seconds = seconds / len(records)
        reader.emit(PassEnded(label, source.rows, sum(each.bytes for each in records), seconds))
        if ledger is not None:
            body = {"passes": [vars(record) for record in records], "seconds": seconds}
            ledger.append(label, body, {"coefficients": packed({"beta": beta})})
    reader.records.extend(records)
    twin: Any = build(
        Candidate(
            problem.candidate.name, DASK_MODELS[path].estimator, {"fit_intercept": asked.fit_intercept}
        ),
        seed=seed,
    )
    intercept = beta[problem.width :] if asked.fit_intercept else np.zeros(1)
    coefficients = beta[: problem.width, None]
    return Fitted(told(twin, coefficients, intercept, np.asarray(target.classes), len(records)), seconds)


def _arrays(source: Source, dense: DenseRows, columns: int, topic: str) -> tuple[da.Array, da.Array]:
    """Make Dask arrays of all rows, none of which is read before it is needed."""
    import dask.array as da
    from dask.delayed import delayed

    parts = [
        delayed(partial(_read, source.work(index, dense), index, topic), pure=False, traverse=False)()
        for index in range(len(source.chunks))
    ]
    arrays = [
        [da.from_delayed(part[place], shape, np.float64) for part in parts]
        for place, shape in enumerate([(math.nan, columns), (math.nan,)])
    ]
    X, y = (da.concatenate(each, allow_unknown_chunksizes=True) for each in arrays)
    return X, y


def _read(
    work: Callable[[], tuple[tuple[Numbers, Numbers], Reading]], index: int, topic: str
) -> tuple[Numbers, Numbers]:
    """Read a chunk, and tell the client what was read: what Dask's arrays are made of cannot say it."""
    from distributed import get_worker

    rows, reading = work()
    get_worker().log_event(topic, {"index": index, **asdict(reading)})
    return rows


@dataclass
class _Reads:
    """What a solver has read, by step."""

    reader: Reader
    label: str
    records: list[PassRecord] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)

    def __call__(self, event: tuple[float, dict[str, Any]]) -> None:
        """Count the reading of a chunk."""
        said = dict(event[1])
        index = said.pop("index")
        step = self.seen[index] = self.seen.get(index, 0) + 1
        if step > len(self.records):
            self.records.append(PassRecord(f"{self.label} read {step}"))
        reading = Reading(ReadCount(**said["count"]), said["memory_peak"], said["worker"])
        self.records[step - 1].add(reading)
        count = reading.count
        self.reader.emit(
            ChunkDone(
                self.records[step - 1].name, count.rows, count.bytes, reading.worker, reading.memory_peak
            )
        )


@contextmanager
def _counted(reader: Reader, label: str) -> Iterator[tuple[str, list[PassRecord]]]:
    """Count what is read within, on the reader's client; dask-glm's warnings of itself are not for users."""
    import dask

    topic, reads = f"{label} {uuid.uuid4().hex}", _Reads(reader, label)
    reader.client.subscribe_topic(topic, reads)
    quiet = {"distributed.admin.large-graph-warning-threshold": "1TB"}
    try:
        with reader.client.as_current(), dask.config.set(quiet), warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning, RuntimeWarning):
                warnings.simplefilter("ignore", category)
            yield topic, reads.records
    finally:
        reader.client.unsubscribe_topic(topic)
