"""The table of the exact linear models, 60 columns with means, scales and correlations of their own, and what is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

COLUMNS = tuple(f"x{j:02}" for j in range(60))
TARGET, TIME = "y", "time"
FOLDS, GROUP, FILE = 5, 250_000, 1_000_000
ALPHAS = tuple(float(10.0**power) for power in range(-3, 5))
BYTES_A_ROW = 8 * (len(COLUMNS) + 2)


def make(data: Path, rows: int) -> None:
    """Write the rows a row group at a time; a file that is there already stays."""
    rng = np.random.default_rng(0)
    width = len(COLUMNS)
    mixing = np.eye(width) + 0.2 * rng.normal(size=(width, width))
    scale, mean = 10.0 ** rng.uniform(-2, 2, width), rng.normal(size=width)
    coefficients = rng.normal(size=width)
    numbers = [(name, pa.float64()) for name in (*COLUMNS, TARGET)]
    schema = pa.schema([*numbers, (TIME, pa.timestamp("s"))])
    data.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, rows, FILE)):
        path = data / f"part-{number:04}.parquet"
        if path.exists():
            continue
        aside, rng = path.with_suffix(".unfinished"), np.random.default_rng([1, number])
        # Random numbers do not shrink: encoding and compression would cost time alone.
        with pq.ParquetWriter(aside, schema, compression="none", use_dictionary=False) as writer:
            for start in range(first, min(first + FILE, rows), GROUP):
                count = min(GROUP, rows - start)
                Z = rng.normal(size=(count, width)) @ mixing
                y = Z @ coefficients + 10 * rng.normal(size=count)
                Z += mean
                Z *= scale
                seconds = np.arange(start, start + count).astype("datetime64[s]")
                writer.write_table(pa.table([*np.asfortranarray(Z).T, y, seconds], schema=schema))
        aside.rename(path)


def test_from(rows: int) -> datetime:
    """Return the time of the first row that is tested, the last hundredth of them; time counts the rows."""
    first: datetime = np.datetime64(rows - rows // 100, "s").item()
    return first
