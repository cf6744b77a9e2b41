"""The folds of training rows in which they are encoded: the target of a row has no say in what stands for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.engine.order import uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RowHashes:
    """What deals training rows to folds.

    Attributes
    ----------
    keys : ndarray of uint64, shape (rows,)
        Of `headrace.engine.order.row_keys`.
    seed : int
        Of the run.
    """

    keys: NDArray[np.uint64]
    seed: int

    def folds(self, count: int) -> NDArray[np.int64]:
        """Return the fold of each row, from 0 on, shape (rows,)."""
        return (uniform(self.keys, seed=self.seed, salt="encode") * count).astype(np.int64)

    def take(self, rows: NDArray[np.int64]) -> RowHashes:
        """Return those of some rows."""
        return RowHashes(self.keys.take(rows), self.seed)  # half the time of an index
