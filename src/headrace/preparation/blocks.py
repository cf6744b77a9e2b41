"""Blocks of rows that the compiled path writes column by column: dense, or CSR with equally many entries in each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


@dataclass
class Slot(ABC):
    """One entry of each row, and the column that it comes from.

    Attributes
    ----------
    feature : int
        Its first feature.
    position : int
        Its place among the entries of a CSR row.
    """

    feature: int
    position: int

    @abstractmethod
    def write(self, start: int, stop: int, block: Block) -> None:
        """Write rows from `start` to `stop` of the table into a block of that many rows.

        Raises
        ------
        DataError
            When a value is infinite.
        """


class Block(ABC):
    """Rows that are being written."""

    @abstractmethod
    def put(self, slot: Slot, values: NDArray[Any]) -> None:
        """Write the feature of a slot."""

    @abstractmethod
    def put_trading(self, slot: Slot, indicator: int, values: NDArray[Any], missing: Mask) -> None:
        """Write a number that is 0 where it is missing, and the feature that indicates this; may overwrite `values`."""

    @abstractmethod
    def put_one_hot(self, slot: Slot, features: NDArray[Any], present: Mask | None) -> None:
        """Write a one at a feature of each row; where not `present`, nothing or a zero."""


@dataclass
class Dense(Block):
    """Rows of a dense matrix, shape (rows, features), zeros at first."""

    values: NDArray[Any]

    def put(self, slot: Slot, values: NDArray[Any]) -> None:
        """Write the feature of a slot."""
        self.values[:, slot.feature] = values

    def put_trading(self, slot: Slot, indicator: int, values: NDArray[Any], missing: Mask) -> None:
        """Write a number and its indicator."""
        self.values[:, slot.feature] = values
        self.values[:, indicator] = missing

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
    traded: Mask | None = None
    """Rows in which an indicator stands in the place of its number."""

    def put(self, slot: Slot, values: NDArray[Any]) -> None:
        """Write the feature of a slot."""
        self.data[:, slot.position] = values

    def put_trading(self, slot: Slot, indicator: int, values: NDArray[Any], missing: Mask) -> None:
        """Write a number, or its indicator where it is missing: the number would be 0 there."""
        np.copyto(values, 1.0, where=missing)
        self.put(slot, values)
        np.copyto(self.indices[:, slot.position], indicator, where=missing)
        self.traded = missing.copy() if self.traded is None else self.traded | missing

    def put_one_hot(self, slot: Slot, features: NDArray[Any], present: Mask | None) -> None:
        """Write a one in each row, or a zero where it is not present."""
        self.indices[:, slot.position] = features
        self.data[:, slot.position] = 1 if present is None else present

    def sort(self, trading: Sequence[Slot]) -> None:
        """Bring the entries of each row into the order of their features.

        Numbers come before indicators and each of both in the order of their slots, so the place of an entry follows from how many
        indicators stand before it: no comparison is needed.

        Parameters
        ----------
        trading : sequence of Slot
            Those in whose place an indicator may stand; neighbours.
        """
        if self.traded is None:
            return
        entries = self.data.shape[1]
        # Indexing the flat views is several times faster than by row and column.
        data, indices = self.data.reshape(-1), self.indices.reshape(-1)
        row = np.flatnonzero(self.traded) * entries
        held = [(indices[row + slot.position], data[row + slot.position]) for slot in trading]
        moved = [index != slot.feature for (index, _), slot in zip(held, trading, strict=True)]
        first_indicator = row + trading[0].position + len(trading) - np.sum(moved, axis=0)
        before = np.zeros(len(row), dtype=np.int64)
        for slot, (index, value), away in zip(trading, held, moved, strict=True):
            place = np.where(away, first_indicator + before, row + slot.position - before)
            indices[place] = index
            data[place] = value
            before += away
