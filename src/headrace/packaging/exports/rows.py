"""Rows that are hard on an export, drawn from the profile of the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.packaging.inputs import time_type

if TYPE_CHECKING:
    from headrace.packaging.signature import InputColumn, Signature
    from headrace.profiling.profile import ColumnProfile, Profile

QUANTILES = np.linspace(0, 1, 21)
MIXED = 256
CELLS = 4_000_000
"""Values of the rows that try edges one by one; of very many columns several are tried in one row."""
STRANGE = ("", " ", "ä", "日本語", "\u200b", "a\x00b", "missing", "nan", "None", "x" * 1000, "'\"<&>")
"""Texts that have broken converters: empty, blank, not ASCII, with a zero character, words for missing, long, quoted."""


def hard_rows(profile: Profile, signature: Signature, *, seed: int = 0) -> pa.Table:
    """Draw rows that try each column's edges.

    One row for each edge of a column, the others at their middle (of very many columns, several at an edge): quantiles and their float neighbours, extremes and
    far beyond, zero, missing; frequent and rare categories, unseen ones, strange texts; first and last times, leap
    days and times before 1970. Then rows that mix edges of all columns at random, and one in which all is missing.

    Parameters
    ----------
    profile : Profile
        Of the training rows.
    signature : Signature
        The columns.
    seed : int
        Of the mixed rows.

    Returns
    -------
    pyarrow.Table
        With the columns of the signature.
    """
    edges = {column.name: _edges(profile.columns.get(column.name), column) for column in signature.inputs}
    starts, tried = _places([len(values) for values in edges.values()])
    rng = np.random.default_rng(seed)
    arrays = []
    for column, start in zip(signature.inputs, starts, strict=True):
        values = edges[column.name]
        held = [values[0]] * tried
        held[start : start + len(values)] = values
        held += [values[place] for place in rng.integers(len(values), size=MIXED)]
        arrays.append(pa.array([*held, None], type=_type(column), from_pandas=True))
    return pa.table(arrays, names=list(edges))


def _places(sizes: list[int]) -> tuple[list[int], int]:
    """Say at which row the edges of each column begin, and how many rows that takes."""
    together = max(1, -(-sum(sizes) * len(sizes) // CELLS))
    starts, rows = [], 0
    for first in range(0, len(sizes), together):
        group = sizes[first : first + together]
        starts += [rows] * len(group)
        rows += max(group)
    return starts, rows


def _type(column: InputColumn) -> pa.DataType:
    if column.kind == "string":
        return pa.large_string()
    return time_type(column.type) if column.kind == "datetime" else pa.float64()


def _edges(profile: ColumnProfile | None, column: InputColumn) -> list[Any]:
    """Values to try, that of an ordinary row first."""
    if column.kind == "string":
        held = [] if profile is None else [str(value) for value, _ in profile.overall.hitters.items()]
        known = held[:200] or [str(value) for value in column.categories or ["a"]]
        return [*known, *STRANGE, f"{known[0]}~unseen", None]
    if column.kind == "datetime":
        return _times(profile, column)
    if column.kind == "boolean":
        return [0.0, 1.0, None]
    return _numbers(profile)


def _numbers(profile: ColumnProfile | None) -> list[Any]:
    found = [] if profile is None else np.unique(profile.quantile(QUANTILES)).tolist()
    found = [value for value in found if np.isfinite(value)]
    middle = found[len(found) // 2] if found else 0.0
    low, high = (found[0], found[-1]) if found else (0.0, 0.0)
    near = [float(np.nextafter(value, way)) for value in found for way in (-np.inf, np.inf)]
    # A number that is used as a code has its categories here.
    codes = [] if profile is None else [float(value) for value, _ in profile.overall.hitters.items()[:50]]
    reach = max(high - low, abs(high), 1.0)
    far = [low - reach, high + reach, low - 1e6 * reach, high + 1e6 * reach]
    return [middle, *found, *near, *codes, *far, 0.0, -0.0, None]


def _times(profile: ColumnProfile | None, column: InputColumn) -> list[Any]:
    wanted = time_type(column.type)
    found: list[Any] = []
    if profile is not None:
        ticks = profile.quantile(QUANTILES)
        # Dates are counted in days, and conformed to seconds.
        scale = 86_400 if column.type.startswith("date32") else 1
        found = [int(tick) * scale for tick in ticks if np.isfinite(tick)]
    moments = ["1969-12-31T23:59:59", "1970-01-01T00:00:00", "2000-02-29T12:00:00", "2100-03-01T00:00:00"]
    moments += ["1900-02-28T23:59:59", "2024-12-31T23:00:00", "1600-01-01T00:00:00"]
    if wanted.unit == "ns":
        moments.pop()  # before the first moment that nanoseconds reach
    known = pa.array(found, pa.int64()).cast(pa.timestamp(wanted.unit)).cast(wanted)
    fixed = pa.array(np.array(moments, dtype=f"datetime64[{wanted.unit}]")).cast(wanted)
    values = pa.concat_arrays([known, fixed]).to_pylist()
    return [values[len(found) // 2], *values, None]
