"""Folds within folds: the rows that a fold learns from are divided as all rows are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.engine.folds import Fold

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.engine.folds import Folds


@dataclass(frozen=True)
class NestedFolds:
    """All folds of another kind, and within each the others, as far as it learns from their rows.

    What is chosen within a fold has not seen the rows that judge it there (Varma and Simon 2006).

    Rows are dealt to the same cells: of k folds by cells, the fold j within fold i learns from all cells but both, and judges
    by cell j. Of time, what lies before a stretch is judged as it was in its own time.
    """

    outer: Folds

    @property
    def columns(self) -> tuple[str, ...]:
        """As of the outer folds."""
        return self.outer.columns

    @property
    def repeats(self) -> int:
        """As of the outer folds."""
        return self.outer.repeats

    @property
    def names(self) -> tuple[str, ...]:
        """As of the outer folds."""
        return self.outer.names

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The outer folds, then those within each."""
        outer = self.outer.folds
        inner = (_within(number, outer, other) for number in range(len(outer)) for other in outer)
        return (*outer, *(fold for fold in inner if fold.train and fold.validation))

    def cells(
        self, table: pa.Table, keys: NDArray[np.uint64], among: NDArray[np.bool_], *, seed: int
    ) -> NDArray[np.uint8]:
        """As of the outer folds."""
        return self.outer.cells(table, keys, among, seed=seed)


def _within(number: int, outer: tuple[Fold, ...], other: Fold) -> Fold:
    """Return a fold as far as another learns from its rows, without any where it does not."""
    known = set(outer[number].train) if other.repeat == outer[number].repeat else set()
    train, validation = (
        tuple(cell for cell in cells if cell in known) for cells in (other.train, other.validation)
    )
    return Fold(f"{other.name} within {outer[number].name}", other.repeat, train, validation, number)
