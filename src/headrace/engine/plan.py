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

COPIES_OF_A_CHUNK = 3
"""A decoded chunk, its rows in training order, and what the decoder and the allocator hold beside them."""

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
    notes: tuple[str, ...] = ()
    largest_at: str = ""
    """The chunk that takes most memory."""

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
                "or write the data in smaller row groups",
            )


def make_plan(
    profiled: Reads,
    trained: Reads,
    tested: Reads,
    columns: Sequence[str],
    *,
    row_bytes: int,
    epochs: int,
    workers: int,
    threads: int,
    memory_budget: int,
    notes: Sequence[str] = (),
) -> Plan:
    """Plan the passes of a run: one to profile, one for each epoch, one to test.

    Parameters
    ----------
    profiled, trained, tested : Reads
        What the passes of each kind read.
    columns : sequence of str
        Columns that are read at all.
    row_bytes : int
        Bytes of a prepared row.
    epochs : int
        Epochs at most.
    workers, threads : int
        Processes, and threads in each.
    memory_budget : int
        Bytes that each process may hold.
    notes : sequence of str, optional
        What the user should know of the data.
    """
    reads = [
        ("profile", profiled),
        *((f"epoch {epoch}", trained) for epoch in range(1, epochs + 1)),
        ("test", tested),
    ]
    projected = project_memory(
        (profiled, trained, tested), row_bytes=row_bytes, workers=workers, threads=threads
    )
    return Plan(
        rows=profiled.rows,
        chunks=profiled.chunks,
        columns=tuple(columns),
        passes=tuple(PlannedPass(name, each.chunks, each.rows, each.bytes) for name, each in reads),
        workers=workers,
        threads=threads,
        memory_budget=memory_budget,
        memory_projected=projected,
        notes=tuple(notes),
        largest_at=max((profiled, trained, tested), key=lambda each: each.largest).largest_at,
    )


def project_memory(reads: tuple[Reads, Reads, Reads], *, row_bytes: int, workers: int, threads: int) -> int:
    """Project the peak of one worker in bytes, as a sum that can be checked by eye.

    A process without data; for each thread the copies of a chunk at work; the prepared blocks that wait for their
    turn (at most twice as many as there are threads in all, and they may gather on one worker); and the validation
    rows, once held and once put together.
    """
    _, trained, tested = reads
    waiting = min(trained.chunks, 2 * workers * threads)
    blocks = max(waiting * trained.most_rows, threads * tested.most_rows)
    return (
        PROCESS_BYTES
        + threads * COPIES_OF_A_CHUNK * max(each.largest for each in reads)
        + blocks * row_bytes
        + 2 * min(trained.rows, VALIDATION_ROWS) * row_bytes
    )
