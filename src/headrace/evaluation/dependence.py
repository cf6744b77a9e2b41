"""Partial dependence and individual conditional expectation: what a model says of test rows as one of their columns changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.leaves import kind_of, plain_numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from headrace.evaluation.asked import Asked

POINTS = 20
"""Points at which a number or a time is set."""
VALUES = 10
"""Values of a category, the most frequent."""
LINES = 50
"""Single rows that are followed."""


@dataclass(frozen=True)
class Dependence:
    """What a model says as one column changes and all others stay.

    Attributes
    ----------
    column : str
    kind : {"numeric", "datetime", "category"}
    grid : tuple of float, str or None
        Values to which the column is set, ascending; of a category the most frequent first, None where it is missing. Times are
        written in ISO 8601.
    outputs : tuple of str
        As `Asked.names`.
    mean : tuple of tuple of float
        Of all rows, weighted: by output and point (Friedman 2001).
    lines : tuple of tuple of float
        Of single rows, by row and point (Goldstein et al. 2015); of one output alone, else empty.
    rows : int
    """

    column: str
    kind: str
    grid: tuple[float | str | None, ...]
    outputs: tuple[str, ...]
    mean: tuple[tuple[float, ...], ...]
    lines: tuple[tuple[float, ...], ...]
    rows: int


def partial_dependence(
    asked: Asked, columns: Iterable[str], told: Mapping[str, Collection[str]] | None = None
) -> tuple[Dependence, ...]:
    """Follow what the model says along each column.

    It is what `sklearn.inspection.partial_dependence` with ``method="brute"`` computes of the pipeline at the same points.

    Parameters
    ----------
    asked : Asked
        The model and the rows.
    columns : iterable of str
        Those that take a single value, and texts, are passed over.
    told : mapping of str to collection of str, optional
        Of columns of text: the values that may be named.
    """
    X = asked.features(asked.table)
    told = told or {}
    return tuple(found for name in columns if (found := _along(asked, X, name, told.get(name))) is not None)


def _along(asked: Asked, X: Any, name: str, told: Collection[str] | None) -> Dependence | None:
    column = asked.table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    column = column.combine_chunks()
    points = points_of(column, told)
    if points is None:
        return None
    kind = {"string": "category", "boolean": "category"}.get(kind_of(column.type), kind_of(column.type))
    said = [np.asarray(asked.said(fixed), np.float64) for fixed in asked.fixed(X, name, points)]
    answers = np.stack([each.reshape(asked.rows, -1) for each in said], axis=2)  # (rows, outputs, points)
    single = len(asked.names) == 1
    return Dependence(
        name,
        kind,
        tuple(_written(point, kind) for point in points),
        asked.names,
        tuple(map(tuple, np.average(answers, axis=0, weights=asked.weight).tolist())),
        tuple(map(tuple, answers[:LINES, 0].tolist())) if single else (),
        asked.rows,
    )


def points_of(column: pa.Array, told: Collection[str] | None = None) -> pa.Array | None:
    """Choose the values at which a column is set, of those that it has: at equal steps of rank between the first and the last hundredth, or the most frequent.

    Returns
    -------
    pyarrow.Array or None
        Of the type of the column; None when there are fewer than two, and of texts, most of which occur once.
    """
    kind = kind_of(column.type)
    if kind in {"numeric", "datetime"}:
        held = column.filter(np.isfinite(_numbers(column)))
        order = np.asarray(pc.sort_indices(held))
        if not len(order):
            return None
        ranks = np.unique(np.round(np.linspace(0.01, 0.99, POINTS) * (len(order) - 1)).astype(np.int64))
        found = held.take(pa.array(order[ranks])).unique()
    else:
        times = {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist()}
        if kind == "string" and 2 * len(times) > len(column):
            return None
        # Values that are equally frequent come in their own order, and what is missing last.
        if told is not None:
            times = {value: count for value, count in times.items() if value is None or value in told}
        ordered = sorted(times, key=lambda value: (-times[value], value is None, value or ""))
        found = pa.array(ordered[:VALUES], type=column.type)
    return found if len(found) > 1 else None


def _numbers(column: pa.Array) -> Any:
    return np.asarray(plain_numbers(column).cast(pa.float64(), safe=False).fill_null(np.nan))


def _written(point: pa.Scalar, kind: str) -> float | str | None:
    if not point.is_valid:
        return None
    if kind == "numeric":
        return float(point.as_py())
    if kind == "datetime":
        return str(point.cast(pa.string()).as_py()) if pa.types.is_date(point.type) else _moment(point)
    return str(point.as_py())


def _moment(point: pa.Scalar) -> str:
    return str(np.datetime64(point.value, point.type.unit))
