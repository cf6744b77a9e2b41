"""Rows that do not parse: where each stood, why, and its text, in Parquet beside the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

MOST_TEXT = 10_000
"""Characters that are kept of a row."""
SCHEMA = pa.schema([
    ("source", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string()),
])  # fmt: skip
KEPT_IN_MEMORY = 10_000


@dataclass(frozen=True)
class BadRow:
    """A row that does not parse."""

    line: int
    """Line of a file, or number of the record in its page or range, from 1."""
    reason: str
    """One line."""
    raw: str
    """Its text."""


@dataclass
class Quarantine:
    """Writes bad rows of one unit, a bounded number of them in memory."""

    path: Path
    """The Parquet file; not made while there is no bad row."""
    source: str
    """Where the rows come from."""
    rows: int = 0
    """Bad rows so far."""
    _kept: list[BadRow] = field(default_factory=list)
    _writer: pq.ParquetWriter | None = None

    def add(self, bad: tuple[BadRow, ...]) -> None:
        """Take bad rows."""
        self.rows += len(bad)
        self._kept += bad
        if len(self._kept) >= KEPT_IN_MEMORY:
            self._flush()

    def close(self) -> None:
        """Write what is left and end the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if not self._kept:
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self.path, SCHEMA, compression="zstd")
        columns = [
            [self.source] * len(self._kept),
            [bad.line for bad in self._kept],
            [bad.reason for bad in self._kept],
            [bad.raw[:MOST_TEXT] for bad in self._kept],
        ]
        self._writer.write_table(pa.table(columns, schema=SCHEMA))
        self._kept.clear()
