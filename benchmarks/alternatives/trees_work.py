"""The trees that are grown, and the part of the rows that judges them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

ROUNDS, DEPTH = 100, 6


def test_from(files: Sequence[str]) -> datetime:
    """Return the first moment of the last file: what comes from then on judges."""
    first: datetime = pc.min(pq.read_table(files[-1], columns=["time"])["time"]).as_py()
    return first
