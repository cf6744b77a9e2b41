"""How much of the target each column explains on its own, from the profile alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.report.distributions import explained

if TYPE_CHECKING:
    from headrace.accumulators.columns import ColumnSummary
    from headrace.profiling.profile import ColumnProfile, Profile


def column_importance(profile: Profile) -> dict[str, float]:
    """Return, per column, how much of the target the column explains on its own.

    With classes, it is the share of the target's entropy: numeric and time columns are cut at 20 quantiles,
    categories at the 100 most frequent values, and missing values are a cell of their own. Without classes it is the
    squared correlation with the target, for the columns of the Gram matrix. Empty when there is neither.
    """
    if len(profile.classes) < 2:
        return _squared_correlation(profile)
    labels = sorted(profile.classes)
    return {
        name: explained(_contingency(column, labels))
        for name, column in profile.columns.items()
        if name != profile.target and column.overall.rows
    }


def _squared_correlation(profile: Profile) -> dict[str, float]:
    gram = profile.gram
    if gram is None or profile.target not in gram.names:
        return {}
    squared = gram.correlation()[gram.names.index(profile.target)] ** 2
    return {
        name: float(value)
        for name, value in zip(gram.names, squared, strict=True)
        if name != profile.target and np.isfinite(value)
    }


def _contingency(column: ColumnProfile, labels: list[str]) -> np.ndarray:
    parts = [column.by_class.get(label) for label in labels]
    missing = np.array([[float(part.missing) if part else 0.0 for part in parts]])
    sketch = column.overall.quantiles
    if column.kind in {"numeric", "datetime"} and sketch is not None and sketch.n:
        cuts = np.unique(sketch.quantile(np.linspace(0.0, 1.0, 21)[1:-1]))
        cells = [_cells(part, cuts) if part is not None else np.zeros(cuts.size + 1) for part in parts]
        return np.vstack([np.stack(cells, axis=1), missing])
    values = [value for value, _ in column.top(100)]
    counted = [dict(part.hitters.items()) if part is not None else {} for part in parts]
    rows = [[float(counts.get(value, 0)) for counts in counted] for value in values]
    rest = [
        max(0.0, float(part.valid if part is not None else 0) - sum(row[index] for row in rows))
        for index, part in enumerate(parts)
    ]
    return np.vstack([np.array([*rows, rest]), missing])


def _cells(summary: ColumnSummary, cuts: np.ndarray) -> np.ndarray:
    if summary.quantiles is None or not summary.quantiles.n:
        return np.zeros(cuts.size + 1)
    reached = np.concatenate([[0.0], summary.quantiles.cdf(cuts), [1.0]])
    return np.maximum(np.diff(reached), 0.0) * summary.quantiles.n
