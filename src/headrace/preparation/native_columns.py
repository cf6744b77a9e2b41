"""The commonest slots by compiled loops: they read any rows of a column, and hold no Python lock meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.preparation.blocks import Sparse
from headrace.preparation.columns import Codes, Numbers
from headrace.preparation.loops import SOME_INFINITE, SOME_MISSING

if TYPE_CHECKING:
    from headrace.preparation.blocks import Block, RowNumbers
    from headrace.preparation.native import Loops

_NOTHING = np.empty(0, dtype=np.bool_)
"""A mask when nothing is missing."""


@dataclass
class NativeNumbers(Numbers):
    """Numbers, column by column by a compiled loop."""

    loops: Loops

    def write(self, rows: RowNumbers, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        trades = False
        matrix, first = block.column(self)
        for j, plan in enumerate(self.plans):
            low = -math.inf if plan.low is None else plan.low
            high = math.inf if plan.high is None else plan.high
            mask = self.masks[j]
            met = self.loops.write_numbers(
                rows, self.values[j], _NOTHING if mask is None else mask,
                float(plan.center), float(plan.spread), float(low), float(high), float(self.filled(j, block)),
                matrix, first + j, self.missing[j],
            )  # fmt: skip
            if met & SOME_INFINITE:
                raise self.infinite(j)
            trades = trades or bool(met & SOME_MISSING and self.indicators[j] >= 0)
        if trades and isinstance(block, Sparse):
            self.loops.trade_places(
                self.missing,
                np.array(self.indicators),
                self.feature,
                self.position,
                block.data,
                block.indices,
            )
        elif trades:
            block.put_indicators(self, self.indicators, self.missing[:, : len(block)])


@dataclass
class NativeCodes(Codes):
    """Strings to one-hot features of CSR rows by a compiled loop."""

    loops: Loops = field(kw_only=True)

    def write(self, rows: RowNumbers, block: Block) -> None:
        """Write rows, as `Slot.write`."""
        if not isinstance(block, Sparse):
            super().write(rows, block)
            return
        present = np.ones(len(self.targets), dtype=np.bool_) if self.present is None else self.present
        mask = _NOTHING if self.mask is None else self.mask
        self.loops.write_one_hot(
            rows, self.codes, mask, self.targets, present, self.position, block.data, block.indices
        )
