"""Pure: footers and budget to passes, chunks in flight, bytes and projected memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20
PROCESS_BYTES = 280 * MIB
"""Resident size of a worker that has loaded its libraries and holds no data."""

LEADING_BYTES = 320 * MIB
"""Resident size of the process that leads a run, which has besides loaded what it packages models with."""

ALLOCATOR_BYTES = 64 * MIB
"""Freed memory that the allocator keeps for the next chunk: the trim threshold of the workers."""

COPIES_OF_A_CHUNK = 4
"""A decoded chunk, its rows in training order, what the decoder holds beside them, and what lies between."""

TEXT_BYTES = 96
"""What Arrow takes to tell one text from others: an entry of its table, which is up to a quarter full, and room for the text to grow."""

SUMMARY_BYTES = 128 << 10
"""A full summary of one column, in one part of the split and one class: quantiles, frequent values, distinct values."""

EMPTY_SUMMARY_BYTES = 2 << 10
"""A summary of a few values, in one part of the split and one class."""

ROW_SUMMARY_BYTES = 34
"""Bytes that a value adds to a summary until that is full: as a rank, as a frequent value with its count, and as a hash."""

PARTS_OF_SPLIT = 3
MERGED_AT_ONCE = 3
"""Two summaries that are merged, and the third that they become."""

STORED_BYTES = 8
"""Bytes of one stored entry of a prepared row: a float32 and the int32 that says where it stands."""

VALIDATION_ROWS = 200_000
"""Validation rows held in memory at most; a larger part is thinned by hash."""


@dataclass(frozen=True)
class Reads:
    """What every pass of one kind reads."""

    chunks: int
    rows: int
    bytes: int
    """Compressed bytes of the columns that are read."""
    largest: int = 0
    """Bytes of the largest chunk once decoded, in the columns that are read."""
    largest_at: str = ""
    """Which chunk that is."""
    most_rows: int = 0
    """Rows that are prepared of one chunk at most."""
    fetched: int = 0
    """Compressed bytes of one chunk that are held while it is decoded, at most; 0 where files are read in place."""
    texts: int = 0
    """Distinct texts in one column of one chunk, at most."""

    @property
    def at_work(self) -> int:
        """Bytes of the copies of the largest chunk, or of two while texts are told apart, with what a store has sent of it."""
        return (
            max(COPIES_OF_A_CHUNK * self.largest, 2 * self.largest + TEXT_BYTES * self.texts) + self.fetched
        )


@dataclass(frozen=True)
class PlannedPass:
    """One read of the chunks that can hold what the pass looks for."""

    name: str
    chunks: int
    rows: int
    bytes: int
    """Compressed bytes of the columns that are read."""
    seconds: float | None = None
    """Expected time, an estimate from a calibration; None when nothing was read to find out."""


@dataclass(frozen=True)
class Plan:
    """What a run will do, known from the footers alone."""

    rows: int
    chunks: int
    columns: tuple[str, ...]
    passes: tuple[PlannedPass, ...]
    workers: int
    """Processes that hold data."""
    threads: int
    """Threads in each of them."""
    memory_budget: int
    """Bytes that each process may hold."""
    memory_projected: int
    """Bytes that each process is expected to hold at its peak."""
    memory_leading: int = 0
    """Bytes that the process which leads the run is expected to hold at its peak, workers included that are its threads."""
    notes: tuple[str, ...] = ()
    largest_at: str = ""
    """What takes most memory: a chunk, or the summaries of the columns."""
    cached: int = 0
    """Bytes of prepared blocks that later epochs read from disk at best; 0 when none are kept."""

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON document."""
        return asdict(self)

    def require_fit(self) -> None:
        """Refuse a plan that would not fit in memory.

        Raises
        ------
        InputError
            When the projection is above the budget.
        """
        if self.memory_projected > self.memory_budget:
            most = f" ({self.largest_at})" if self.largest_at else ""
            raise InputError(
                f"needs about {self.memory_projected / MIB:.0f} MiB in each worker{most}, and the budget is "
                f"{self.memory_budget / MIB:.0f} MiB",
                where="memory",
                mend="raise `memory:` in the cluster file, use fewer threads a worker, "
                "read fewer columns (`data.drop`), or write the data in smaller row groups",
            )


def make_plan(
    profiled: Reads,
    trained: Reads,
    tested: Reads,
    columns: Sequence[str],
    *,
    row_bytes: int,
    epochs: Sequence[str],
    workers: int,
    threads: int,
    memory_budget: int,
    notes: Sequence[str] = (),
    copies: int = 1,
    classes: int = 2,
    parts: int = PARTS_OF_SPLIT,
    slabs: Sequence[tuple[str, Reads]] = (),
    beside: Reads | None = None,
    width: int = 0,
    judged: int = VALIDATION_ROWS,
    cache: int = 0,
    looked_back: Reads | None = None,
    learnt_again: int = 0,
    found: int = 0,
    fitted: int = 0,
    loaded: int = 0,
    grown: int = 0,
    led: int = 0,
    in_process: bool = False,
) -> Plan:
    """Plan the passes of a run: one to look back where columns are made so, one to profile, one for each epoch, one to test.

    Parameters
    ----------
    profiled, trained, tested : Reads
        What the passes of each kind read.
    columns : sequence of str
        Columns that are read at all.
    row_bytes : int
        Bytes of a prepared row.
    epochs : sequence of str
        Names of the epochs, as many as there may be.
    copies : int, optional
        How often the rows of a chunk are prepared: for each fold that prepares them in its own way.
    classes : int, optional
        Classes of the target that a column is summed up for; 1 when it has none.
    parts : int, optional
        Parts of the split, or cells of folds, that a column is summed up for.
    slabs : sequence of pairs, optional
        Passes that profile, by name, when there are too many columns for one; `profiled` is the largest of them.
    beside : Reads, optional
        What finders read that look at more columns than one of these passes.
    width : int, optional
        Columns that are profiled at once; all by default.
    judged : int, optional
        Validation rows that are held at most.
    cache : int, optional
        Bytes of disk for prepared blocks; 0 when none are kept.
    looked_back : Reads, optional
        What is read to know what came before each chunk.
    learnt_again : int, optional
        Bytes of what the preparation learns of a chunk in a pass of its own; 0 when it needs none.
    found : int, optional
        Bytes of what preparation and checks find in the pass of the profile, beside it.
    fitted : int, optional
        Bytes of what a fitted preparation holds by value.
    loaded : int, optional
        Bytes that language models take of a process, with what they compute with, and compiled loops.
    grown : int, optional
        Bytes that a worker holds while boosted trees grow, when no chunk is read.
    led : int, optional
        Bytes of what the process that leads the run holds.
    in_process : bool, optional
        Whether the workers are threads of that process.
    workers, threads : int
        Processes, and threads in each.
    memory_budget : int
        Bytes that each process may hold.
    notes : sequence of str, optional
        What the user should know of the data.
    """
    reads = [
        *([("history", looked_back)] if looked_back else []),
        *(slabs or [("profile", profiled)]),
        *([("profile rows", beside)] if beside else []),
        *([("prepare", trained)] if learnt_again else []),
        *((epoch, trained) for epoch in epochs),
        ("test", tested),
    ]
    every = (profiled, trained, tested)
    width, groups = width or len(columns), parts * classes
    projected = project_memory(
        every, row_bytes=row_bytes, workers=workers, threads=threads, copies=copies,
        columns=width, groups=groups, judged=judged, learnt_again=learnt_again, found=found, fitted=fitted, grown=grown,
    ) + loaded  # fmt: skip
    summaries = summary_memory(profiled, width, groups, workers=workers, threads=threads)
    largest = max(every, key=lambda each: each.largest)
    most = largest.largest_at
    if summaries > max(threads * COPIES_OF_A_CHUNK * largest.largest, projected // 4):
        most = f"most of it for the summaries of {width:,} columns, {summaries / MIB:,.0f} MiB"
    again = learnt_again * merged_at_once(trained, workers=workers, threads=threads)
    if again > max(summaries, projected // 4):
        most = f"most of it for products of tokens, {again / MIB:,.0f} MiB"
    findings = found * (merged_at_once(profiled, workers=workers, threads=threads) + threads)
    if findings > max(summaries, again, projected // 4):
        most = f"most of it for what is found beside the profile, {findings / MIB:,.0f} MiB"
    if grown > projected // 2:
        most = (
            f"{grown / MIB:,.0f} MiB for what boosted trees hold of each row while they grow, "
            "which more `train.lanes` on more workers share"
        )
    cached = trained.rows * row_bytes if cache and len(epochs) > 1 else 0
    kept = [] if not cached else [_cache_note(cached, cache)]
    return Plan(
        rows=profiled.rows,
        chunks=profiled.chunks,
        columns=tuple(columns),
        passes=tuple(PlannedPass(name, each.chunks, each.rows, each.bytes) for name, each in reads),
        workers=workers,
        threads=threads,
        memory_budget=memory_budget,
        memory_projected=projected,
        memory_leading=led + (projected if in_process else LEADING_BYTES + ALLOCATOR_BYTES),
        notes=(*notes, *kept),
        largest_at=most,
        cached=cached,
    )


def _cache_note(cached: int, limit: int) -> str:
    said = f"prepared blocks, about {cached / MIB:,.0f} MiB over all machines, are kept on disk: epochs after the first "
    if cached <= limit:
        return said + "read these in place of the data"
    return said + f"read what fits of them in the {limit / MIB:,.0f} MiB that `disk:` allows each machine"


def look_ahead(copies: int) -> int:
    """Say how many prepared blocks may wait for each thread: fewer when each is several, which also take longer to use."""
    return 2 if copies == 1 else 1


def project_memory(
    reads: tuple[Reads, Reads, Reads],
    *,
    row_bytes: int,
    workers: int,
    threads: int,
    copies: int = 1,
    columns: int = 0,
    groups: int = 2 * PARTS_OF_SPLIT,
    judged: int = VALIDATION_ROWS,
    learnt_again: int = 0,
    found: int = 0,
    fitted: int = 0,
    grown: int = 0,
) -> int:
    """Project the peak of one worker in bytes, as a sum that can be checked by eye.

    A process without data; what the allocator keeps; and what boosted trees hold while they grow, or the largest of three, each with
    the copies of a chunk at work for each thread, and the bytes of it that a store has sent: the
    summaries of a profile (`summary_memory`) with what preparation and checks find beside it (of which a merge holds one more, before it
    is cut to its bound), what a preparation learns in a pass of its own, or, in training, the prepared blocks that wait for their turn
    (at most twice as many as there are threads in all, or as many when folds prepare them in their own way, and they may
    gather on one worker), once for each such fold, with the validation rows, once held and once put together, and what each fitted preparation holds by value.
    """
    profiled, trained, tested = reads
    waiting = min(trained.chunks, look_ahead(copies) * workers * threads)
    blocks = max(waiting * trained.most_rows * copies, threads * tested.most_rows)
    training = blocks * row_bytes + 2 * min(trained.rows, judged) * row_bytes + copies * fitted
    again = learnt_again * merged_at_once(trained, workers=workers, threads=threads)
    summaries = summary_memory(profiled, columns, groups, workers=workers, threads=threads)
    findings = found * (merged_at_once(profiled, workers=workers, threads=threads) + threads)
    return (
        PROCESS_BYTES
        + ALLOCATOR_BYTES
        + max(
            threads * profiled.at_work + summaries + findings,
            threads * max(trained.at_work, tested.at_work) + max(training, again),
            grown,
        )
    )


def summary_memory(profiled: Reads, columns: int, groups: int, *, workers: int, threads: int) -> int:
    """Bytes of the summaries that one worker holds while the columns are profiled.

    A summary has, for each column, a part for each class and part of the split.
    """
    held = merged_at_once(profiled, workers=workers, threads=threads)
    return columns * held * summary_bytes(groups, profiled.rows)


def summary_bytes(groups: int, rows: int) -> int:
    """Bytes of the summary of one column: few rows do not fill it."""
    return min(groups * SUMMARY_BYTES, groups * EMPTY_SUMMARY_BYTES + ROW_SUMMARY_BYTES * rows)


def validation_limit(row_bytes: int, memory: int) -> int:
    """Say how many validation rows may be held: of very wide ones, what an eighth of the memory budget takes.

    Examples
    --------
    >>> validation_limit(200, 1 << 30), validation_limit(80_000, 2 << 30)
    (200000, 3355)
    """
    return min(VALIDATION_ROWS, max(1, memory // 8 // row_bytes))


def merged_at_once(reads: Reads, *, workers: int, threads: int) -> int:
    """Count the states of a pass that one worker holds.

    Each thread merges two into a third; besides, the tree of merges waits with one for each power of two of chunks, spread over the
    workers.
    """
    waiting = -(-max(0, reads.chunks - 1).bit_length() // workers)
    return min(MERGED_AT_ONCE * threads + waiting, 2 * reads.chunks)
