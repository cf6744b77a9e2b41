"""Pure: footers and budget to passes, chunks in flight, bytes and projected memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.data.dataset import Chunk

MIB = 1 << 20
PROCESS_BYTES = 300 * MIB
"""Resident size of a worker that has loaded its libraries and holds no data."""

COPIES_OF_A_CHUNK = 3
"""A decoded chunk, its rows in training order, and what the decoder and the allocator hold beside them."""

PREPARED_BYTES_PER_COLUMN = 12
"""Bytes a row that a column takes in a prepared block: a stored entry of 8 bytes, half as much again for indicators."""

VALIDATION_ROWS = 200_000
"""Validation rows held in memory at most; a larger part is thinned by hash."""


@dataclass(frozen=True)
class PlannedPass:
    """One read of every chunk."""

    name: str
    chunks: int
    rows: int
    bytes: int
    """Compressed bytes of the columns that are read."""


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
            raise InputError(
                f"needs about {self.memory_projected / MIB:.0f} MiB in each worker, and the budget is "
                f"{self.memory_budget / MIB:.0f} MiB",
                where="memory",
                mend="raise `memory:` in the cluster file, use fewer threads a worker, "
                "or write the data in smaller row groups",
            )


def make_plan(
    chunks: Sequence[Chunk],
    columns: Sequence[str],
    *,
    column_bytes: int,
    epochs: int,
    workers: int,
    threads: int,
    memory_budget: int,
    notes: Sequence[str] = (),
) -> Plan:
    """Plan the passes of a run: one to profile, one for each epoch, one to test.

    Parameters
    ----------
    chunks : sequence of Chunk
        All chunks of the dataset.
    columns : sequence of str
        Columns that are read.
    column_bytes : int
        Their compressed size.
    epochs : int
        Epochs at most.
    workers, threads : int
        Processes, and threads in each.
    memory_budget : int
        Bytes that each process may hold.
    notes : sequence of str, optional
        What the user should know of the data.
    """
    rows = sum(chunk.rows for chunk in chunks)
    names = ["profile", *(f"epoch {epoch}" for epoch in range(1, epochs + 1)), "test"]
    return Plan(
        rows=rows,
        chunks=len(chunks),
        columns=tuple(columns),
        passes=tuple(PlannedPass(name, len(chunks), rows, column_bytes) for name in names),
        workers=workers,
        threads=threads,
        memory_budget=memory_budget,
        memory_projected=project_memory(chunks, len(columns), workers=workers, threads=threads),
        notes=tuple(notes),
    )


def project_memory(chunks: Sequence[Chunk], columns: int, *, workers: int, threads: int) -> int:
    """Project the peak of one worker in bytes, as a sum that can be checked by eye.

    A process without data, for each thread a chunk at work, the prepared blocks that wait for their turn (at most
    twice as many as there are threads in all, and they may gather on one worker), and the validation rows, once
    held and once put together.
    """
    largest = max((chunk.memory for chunk in chunks), default=0)
    most_rows = max((chunk.rows for chunk in chunks), default=0)
    rows = sum(chunk.rows for chunk in chunks)
    row_bytes = PREPARED_BYTES_PER_COLUMN * columns
    waiting = min(len(chunks), 2 * workers * threads)
    return (
        PROCESS_BYTES
        + threads * COPIES_OF_A_CHUNK * largest
        + waiting * most_rows * row_bytes
        + 2 * min(rows, VALIDATION_ROWS) * row_bytes
    )
