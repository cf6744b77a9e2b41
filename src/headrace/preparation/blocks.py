"""Blocks of rows that the compiled path writes column by column: dense, or CSR with equally many entries in each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

RowNumbers: TypeAlias = "slice | NDArray[np.int64]"
"""Rows of a table, one behind the other or any."""


@dataclass
class Slot(ABC):
    """One entry of each row, or several neighbours, and the columns that they come from.

    Attributes
    ----------
    feature : int
        Its first feature.
    position : int
        Its (first) place among the entries of a CSR row.
    """

    feature: int
    position: int

    @property
    def features(self) -> list[int]:
        """First feature of each of its entries."""
        return [self.feature]

    def prepare(self, rows: int) -> None:  # noqa: B027 - most need no room
        """Make room for blocks of at most so many rows."""

    @abstractmethod
    def write(self, rows: RowNumbers, block: Block) -> None:
        """Write these rows of the table into a block of that many rows.

        Raises
        ------
        DataError
            When a value is infinite.
        """


class Block(ABC):
    """Rows that are being written."""

    traded: ClassVar[float]
    """What is written of a missing number that has an indicator."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the rows."""

    @abstractmethod
    def column(self, slot: Slot) -> tuple[NDArray[Any], int]:
        """Return a matrix and its column in which the (first) feature of a slot is written."""

    @abstractmethod
    def put(self, slot: Slot, values: NDArray[Any], place: int = 0) -> None:
        """Write the feature of a slot, or that at a place among its neighbours."""

    @abstractmethod
    def put_indicators(self, slot: Slot, indicators: Sequence[int], missing: NDArray[np.bool_]) -> None:
        """Write which numbers are missing, when all of a slot are written.

        Parameters
        ----------
        slot : Slot
        indicators : sequence of int, length numbers
            Feature that indicates that this number is missing; or -1. Those with one come last.
        missing : ndarray of bool, shape (numbers, rows)
        """

    @abstractmethod
    def put_one_hot(self, slot: Slot, features: NDArray[Any], present: Mask | None) -> None:
        """Write a one at a feature of each row; where not `present`, nothing or a zero."""


@dataclass
class Dense(Block):
    """Rows of a dense matrix, shape (rows, features), zeros at first."""

    values: NDArray[Any]
    traded: ClassVar[float] = 0.0

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.values)

    def column(self, slot: Slot) -> tuple[NDArray[Any], int]:
        """Return where the feature of a slot is written."""
        return self.values, slot.feature

    def put(self, slot: Slot, values: NDArray[Any], place: int = 0) -> None:
        """Write the feature of a slot."""
        self.values[:, slot.feature + place] = values

    def put_indicators(
        self,
        slot: Slot,  # noqa: ARG002 - a dense row has no slots
        indicators: Sequence[int],
        missing: NDArray[np.bool_],
    ) -> None:
        """Write the indicators."""
        for indicator, absent in zip(indicators, missing, strict=True):
            if indicator >= 0:
                self.values[:, indicator] = absent

    def put_one_hot(self, slot: Slot, features: NDArray[Any], present: Mask | None) -> None:  # noqa: ARG002 - a dense row has no slots
        """Write a one in each row that is present."""
        rows = np.arange(len(features))
        if present is not None:
            rows, features = rows[present], features[present]
        self.values[rows, features] = 1


@dataclass
class Sparse(Block):
    """Rows of a CSR matrix, shape (rows, entries) both; at first `indices` holds the first feature of each slot."""

    data: NDArray[Any]
    indices: NDArray[Any]
    traded: ClassVar[float] = 1.0

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.data)

    def column(self, slot: Slot) -> tuple[NDArray[Any], int]:
        """Return where the feature of a slot is written."""
        return self.data, slot.position

    def put(self, slot: Slot, values: NDArray[Any], place: int = 0) -> None:
        """Write the feature of a slot."""
        self.data[:, slot.position + place] = values

    def put_indicators(self, slot: Slot, indicators: Sequence[int], missing: NDArray[np.bool_]) -> None:
        """Put indicators in place of missing numbers, and the entries of such rows into the order of their features.

        Numbers come before indicators and each of both in the order of their slots, so the place of an entry follows
        from how many indicators stand before it: no comparison is needed.
        """
        first = next(j for j, indicator in enumerate(indicators) if indicator >= 0)
        rows = np.flatnonzero(missing[first:].any(axis=0))
        away = missing[first:].take(rows, axis=1)
        upto = away.astype(np.intp)
        for before, here in pairwise(upto):  # several times faster than cumsum along the short axis
            np.add(here, before, out=here)
        numbers = np.arange(first, len(missing))[:, None]
        start = rows * self.data.shape[1] + slot.position
        place = np.where(away, upto + (len(missing) - 1 - upto[-1]), numbers - upto)
        place += start
        # Indexing the flat views is several times faster than by row and column.
        flat = self.data.reshape(-1)
        flat[place] = flat.take(start + numbers)
        indicator = np.array(indicators[first:], dtype=self.indices.dtype)[:, None]
        self.indices.reshape(-1)[place] = np.where(
            away, indicator, (slot.feature + numbers).astype(indicator.dtype)
        )

    def put_one_hot(self, slot: Slot, features: NDArray[Any], present: Mask | None) -> None:
        """Write a one in each row, or a zero where it is not present."""
        self.indices[:, slot.position] = features
        self.data[:, slot.position] = 1 if present is None else present
