"""The trees that are grown, and the part of the rows that judges them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

ROUNDS, DEPTH, TESTED = 100, 6, 0.05


def test_from(files: Sequence[str]) -> datetime:
    """Return the moment from which on rows judge: the last twentieth of them, or the last of very many files."""
    times = pq.read_table(files[-1], columns=["time"])["time"].to_numpy().astype("datetime64[ms]")
    first: datetime = np.quantile(times, max(0.0, 1 - TESTED * len(files)), method="nearest").item()
    return first
