"""Rows that are not trained on: values missing where they are needed, and outliers that are removed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from headrace.preparation.forests import ForestRule
from headrace.preparation.reading import read_numbers, single_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class RowRule:
    """Which rows of one column are left out of training; they are still predicted and assessed.

    Attributes
    ----------
    name : str
        The column.
    low, high : float or None
        Rows outside are left out; None: rows without a value are.
    rows : int
        Training rows that it takes, about.
    """

    name: str
    low: float | None = None
    high: float | None = None
    rows: int = 0

    def keeps(self, table: pa.Table) -> NDArray[np.bool_]:
        """Tell which rows stay, shape (rows,)."""
        array = single_array(table, self.name)
        if self.low is None or self.high is None:
            present = array.is_valid().to_numpy(zero_copy_only=False)
            if pa.types.is_floating(array.type):
                values, _ = read_numbers(array, self.name)
                present &= ~np.isnan(values)
            return np.asarray(present)
        values, mask = read_numbers(array, self.name)
        x = values.astype(np.float64)
        # Rows without a value are not outside.
        outside = (x < self.low) | (x > self.high)
        return ~outside if mask is None else ~outside | mask

    @property
    def note(self) -> str:
        """What it does, for people."""
        what = "without a value" if self.low is None else f"outside {self.low:.6g} to {self.high:.6g}"
        return f"{self.name}: about {self.rows:,} training rows {what} are not trained on"

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        return asdict(self)


Rule: TypeAlias = RowRule | ForestRule


def rule_from_dict(document: dict[str, Any]) -> Rule:
    """Rebuild from what the `to_dict` of a rule gave."""
    return ForestRule.from_dict(document) if "contamination" in document else RowRule(**document)


def kept_rows(rules: Sequence[Rule], table: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows no rule takes, shape (rows,)."""
    kept = np.ones(table.num_rows, dtype=bool)
    for rule in rules:
        kept &= rule.keeps(table)
    return kept
