"""The search that both programs do: where it lies, its folds, and the rows that neither learns from."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from work import NUMERIC, ROWS_A_BATCH, TARGET, TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

FOLD, FOLDS, CANDIDATES = "fold", 3, 32
SPACE = {
    "alpha": {"low": 1.0e-7, "high": 1.0e-3, "log": True},
    "eta0": {"low": 1.0e-3, "high": 1.0e-1, "log": True},
    "penalty": ["l2", "elasticnet"],
}
TESTED = 0.01
"""Share of the last file that neither program sees; headrace assesses its winner by it, which is not timed."""


def run_of(data: Path) -> Path:
    """Return where the run of headrace on these data lies, whose leaderboard names the settings."""
    return data.with_name(f"{data.name}-search") / "run"


def with_folds(source: Path, data: Path) -> None:
    """Write clicks once more with the number of a fold in each row, so that both programs read the same folds."""
    rng = np.random.default_rng(0)
    aside = data.with_name(f"{data.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for path in sorted(source.rglob("*.parquet")):
        file = pq.ParquetFile(path)
        columns = [*NUMERIC, *TEXT, "time", TARGET]
        schema = pa.schema([*(file.schema_arrow.field(name) for name in columns), (FOLD, pa.int8())])
        with pq.ParquetWriter(aside / path.name, schema) as writer:
            for batch in file.iter_batches(ROWS_A_BATCH, columns=columns):
                folds = rng.integers(0, FOLDS, batch.num_rows, dtype=np.int8)
                table = pa.Table.from_batches([batch]).append_column(schema.field(FOLD), pa.array(folds))
                writer.write_table(table.select(schema.names), row_group_size=ROWS_A_BATCH)
    aside.rename(data)


def test_from(files: Sequence[str]) -> datetime:
    """Return the moment from which on rows are tested."""
    times = pq.read_table(files[-1], columns=["time"])["time"].to_numpy()
    first: datetime = np.quantile(times.astype("datetime64[ms]"), 1 - TESTED, method="nearest").item()
    return first
