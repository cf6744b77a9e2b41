"""What each column adds to single predictions of boosted trees: SHAP values, which XGBoost computes itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.accumulators.leaves import kind_of, plain_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.evaluation.asked import Asked

DRAWN_COLUMNS = 12
DRAWN_ROWS = 300


@dataclass(frozen=True)
class ColumnContribution:
    """What one column adds to the predictions.

    Attributes
    ----------
    column : str
    size : float
        Mean of what it adds, without its sign, over rows and outputs.
    by_output : tuple of float
        The same, of each output.
    points : tuple of (float, float or None)
        Of some rows, what it adds and where its value stands among those of all rows, from 0 to 1; None where it is missing or has no
        order. Of a few columns, of one output alone.
    """

    column: str
    size: float
    by_output: tuple[float, ...]
    points: tuple[tuple[float, float | None], ...] = ()


@dataclass(frozen=True)
class Contributions:
    """What each column adds to the margins, such as log odds, before any calibration."""

    rows: int
    base: tuple[float, ...]
    """What is said before anything is known of a row, by output."""
    outputs: tuple[str, ...]
    columns: tuple[ColumnContribution, ...]
    """The largest first."""


def has_contributions(estimator: Any) -> bool:
    """Whether an estimator is boosted trees of XGBoost."""
    return type(estimator).__module__.startswith("xgboost") and hasattr(estimator, "get_booster")


def contributions(asked: Asked, origins: Sequence[str]) -> Contributions:
    """Sum up the SHAP values (Lundberg et al. 2020) of the features of each column, over test rows.

    Parameters
    ----------
    asked : Asked
        A model for which `has_contributions` is true, and the rows.
    origins : sequence of str
        The column of each feature.
    """
    values = shap_values(asked.estimator, asked.features(asked.table))  # (rows, outputs, features + 1)
    names = list(dict.fromkeys(origins))
    member = np.zeros((len(origins), len(names)))
    member[np.arange(len(origins)), [names.index(origin) for origin in origins]] = 1.0
    summed = values[..., :-1] @ member  # (rows, outputs, columns)
    sizes = np.average(np.abs(summed), axis=0, weights=asked.weight)
    order = np.argsort(-sizes.mean(axis=0), kind="stable")
    single = summed.shape[1] == 1
    found = []
    for rank, place in enumerate(order):
        points: tuple[tuple[float, float | None], ...] = ()
        if single and rank < DRAWN_COLUMNS:
            stands = _stands(asked.table, names[place])[:DRAWN_ROWS]
            points = tuple(zip(np.round(summed[:DRAWN_ROWS, 0, place], 6).tolist(), stands, strict=True))
        by_output = tuple(sizes[:, place].tolist())
        found.append(ColumnContribution(names[place], float(sizes[:, place].mean()), by_output, points))
    return Contributions(asked.rows, tuple(values[0, :, -1].tolist()), asked.names, tuple(found))


def shap_values(estimator: Any, X: Any) -> NDArray[np.float64]:
    """Return what each feature adds to the margin of each row, and last the base, shape (rows, outputs, features + 1)."""
    import xgboost

    dense = X if isinstance(X, np.ndarray) else X.toarray()
    booster = estimator.get_booster()
    found = booster.predict(xgboost.DMatrix(dense), pred_contribs=True, strict_shape=True)
    return np.asarray(found, np.float64)


def _stands(table: pa.Table, name: str) -> list[float | None]:
    """Tell where each value stands among all, from 0 to 1; None for what has no order, or is missing."""
    if name not in table.column_names or kind_of(table.schema.field(name).type) not in {
        "numeric",
        "datetime",
    }:
        return [None] * table.num_rows
    numbers = plain_numbers(table.column(name).combine_chunks()).cast("float64", safe=False)
    values = np.asarray(numbers.fill_null(np.nan))
    ordered = np.sort(values[~np.isnan(values)])
    middle = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    share = middle / max(1, len(ordered))
    return [None if np.isnan(value) else round(float(at), 3) for value, at in zip(values, share, strict=True)]
