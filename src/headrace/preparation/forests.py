"""Outliers among several numbers at once: an isolation forest of a sample says which rows are not trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array
from headrace.errors import DataError
from headrace.preparation.reading import read_numbers, single_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.preparation.options import IsolationForestOptions
    from headrace.preparation.parted import SampledRows
    from headrace.profiling.profile import ColumnProfile


@dataclass(frozen=True)
class ForestRule:
    """Rows that are easily told from all others are left out of training; they are still predicted and assessed.

    `sklearn.ensemble.IsolationForest` (Liu, Ting and Zhou 2008) grows 100 trees of 256 rows each of the sample, which it holds in
    place of the trees. Sums cannot grow trees, and trees of so few rows need no more than a sample.

    Attributes
    ----------
    columns : tuple of str
        Numbers.
    fill : tuple of float
        What a missing one becomes.
    sample : dict
        Filled rows, shape (rows, columns), as `headrace.accumulators.encoding.encode_array` writes them.
    contamination : float
        Share of the sample that lies outside.
    """

    columns: tuple[str, ...]
    fill: tuple[float, ...]
    sample: dict[str, Any]
    contamination: float

    @cached_property
    def _forest(self) -> Any:
        from sklearn.ensemble import IsolationForest

        return IsolationForest(contamination=self.contamination, random_state=0).fit(
            decode_array(self.sample)
        )

    def keeps(self, table: pa.Table) -> NDArray[np.bool_]:
        """Tell which rows stay, shape (rows,)."""
        if not table.num_rows:
            return np.ones(0, dtype=bool)
        X = np.empty((table.num_rows, len(self.columns)))
        for place, (name, fill) in enumerate(zip(self.columns, self.fill, strict=True)):
            values, mask = read_numbers(single_array(table, name), name)
            X[:, place] = values if mask is None else np.where(mask, np.nan, values)
            X[np.isnan(X[:, place]), place] = fill
        # What the float32 of a tree cannot hold lies outside of all trees, as the largest that it can hold does.
        most = np.finfo(np.float32).max
        return np.asarray(self._forest.predict(np.clip(X, -most, most)) == 1)

    @property
    def note(self) -> str:
        """What it does, for people."""
        rows, _ = self.sample["shape"]
        return (
            f"{', '.join(self.columns)}: about {self.contamination:.2%} of the training rows, those that an isolation forest "
            f"of {rows:,} sampled ones tells most easily from all others, are not trained on"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document."""
        return {**asdict(self), "columns": list(self.columns), "fill": list(self.fill)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(**{**document, "columns": tuple(document["columns"]), "fill": tuple(document["fill"])})


def fit_isolation_forest(
    columns: Sequence[ColumnProfile], options: IsolationForestOptions, sampled: SampledRows
) -> ForestRule:
    """Learn which rows are outliers; missing values are filled with the means of all training rows.

    Parameters
    ----------
    columns : sequence of ColumnProfile
        Numbers with values, at least one.
    options : IsolationForestOptions
    sampled : SampledRows
        Of the training rows, with these columns.

    Raises
    ------
    DataError
        When a value is beyond the float32 of a tree.
    """
    names = tuple(column.name for column in columns)
    fill = tuple(column.overall.moments.mean for column in columns if column.overall.moments is not None)
    rows = sampled.values(names, options.sample)
    rows = np.where(np.isnan(rows), fill, rows)
    with np.errstate(over="ignore"):
        held = np.isfinite(rows.astype(np.float32))
    for place, name in enumerate(names):
        if not held[:, place].all():
            raise DataError(
                "holds values that the float32 of a tree cannot hold",
                where=f"column {name!r}",
                mend="name other columns in prepare.isolation_forest.columns, or drop it (prepare.columns)",
            )
    return ForestRule(names, fill, encode_array(rows), options.contamination)
