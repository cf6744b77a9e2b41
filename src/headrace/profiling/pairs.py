"""Which columns go together, and how strongly: from a sample of rows, with intervals (pure)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from headrace.accumulators.associations import (
    correlation_ratio,
    cramers_v,
    crosstab,
    jackknife,
    mutual_information,
    ranks,
    spearman,
)
from headrace.accumulators.gram import Gram
from headrace.profiling.explorers import word_code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.profiling.exploration import Exploration
    from headrace.profiling.profile import ColumnProfile, Profile

Measure = Literal["Spearman", "Cramér's V", "correlation ratio"]
LABELS = 30
"""Most frequent values of a column that are told apart; the others count as one more."""
MATRIX_COLUMNS = 32
"""Columns of which all pairs are measured, whatever their kind; of numbers, all pairs are measured."""
STRONGEST = 12
BINS = 10
"""Quantile bins of a number for mutual information."""
_LEAST_ROWS = 100
_LEAST_STRENGTH = 0.1


@dataclass(frozen=True)
class Sampled:
    """One column of the sample, as pairs need it."""

    name: str
    values: NDArray[np.float64] | None
    """Numbers and times, NaN where missing; None for categories."""
    codes: NDArray[np.int64] | None
    """Places in `labels`, -1 where missing; None for numbers."""
    labels: tuple[str, ...] = ()

    @property
    def is_category(self) -> bool:
        """Whether it holds categories."""
        return self.codes is not None


@dataclass(frozen=True)
class Pair:
    """Two columns that go together.

    Attributes
    ----------
    first, second : str
        A category comes before a number.
    measure : {"Spearman", "Cramér's V", "correlation ratio"}
    value : float
    half : float
        Half width of its 95 % interval, from the sample; NaN when there are too few rows.
    rows : int
        Sampled rows that hold both.
    pearson : float or None
        Pearson's correlation, where it was measured.
    pearson_half : float
        Half width of its 95 % interval, by Fisher's transformation; 0 when it is exact, of all rows.
    """

    first: str
    second: str
    measure: Measure
    value: float
    half: float
    rows: int
    pearson: float | None = None
    pearson_half: float = 0.0


@dataclass(frozen=True)
class Tie:
    """How a column goes with the target.

    Attributes
    ----------
    information : float
        Mutual information in bits, numbers cut into ten bins of equal frequency; with `information_half`, half the width of its 95 % interval.
    """

    pair: Pair
    information: float
    information_half: float


@dataclass(frozen=True)
class Pairs:
    """All pairs of the columns that can be paired.

    Attributes
    ----------
    names : tuple of str, length k
        Columns of the matrix, similar ones beside each other.
    values : ndarray of float64, shape (k, k)
        The measure that suits each pair, as measured in the sample; NaN where it is not defined.
    strongest : tuple of Pair
        The strongest pairs, without the target.
    ties : tuple of Tie
        The columns that tell most about the target.
    left_out : int
        Columns that were not in the matrix for want of room.
    rows : int
        Rows of the sample.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    strongest: tuple[Pair, ...]
    ties: tuple[Tie, ...]
    left_out: int
    rows: int

    def result(self) -> dict[str, Any]:
        """Return the pairs as a finite JSON document."""
        return {
            "sample_rows": self.rows,
            "strongest": [_document(pair) for pair in self.strongest],
            "target": [
                {
                    **_document(tie.pair),
                    "mutual_information_bits": round(tie.information, 6),
                    "mutual_information_half_width": _finite(tie.information_half),
                }
                for tie in self.ties
            ],
        }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _document(pair: Pair) -> dict[str, Any]:
    return {
        "columns": [pair.first, pair.second],
        "measure": pair.measure,
        "value": _finite(pair.value),
        "half_width": _finite(pair.half),
        "rows": pair.rows,
        "pearson": _finite(pair.pearson),
        "pearson_half_width": _finite(pair.pearson_half),
    }


def sampled(profile: Profile, exploration: Exploration) -> dict[str, Sampled]:
    """Return the columns that can be paired: neither constant, nor text or keys, nor nested."""
    found = {}
    for name in exploration.names:
        column = profile.columns.get(name)
        if column is None or not column.overall.valid or column.is_constant or column.is_text:
            continue
        held = exploration.column(name)
        as_classes = name == profile.target and len(profile.classes) > 1
        if column.kind == "string":
            found[name] = _words(column, held)
        elif column.kind == "boolean" or as_classes:
            found[name] = _levels(column, held)
        else:
            found[name] = Sampled(name, np.where(np.isfinite(held), held, np.nan), None)
    return found


def _words(column: ColumnProfile, held: NDArray[np.float64]) -> Sampled:
    labels = [str(value) for value, _ in column.top(LABELS)] or [""]  # one that no row has, when none is told
    known = word_code(pa.array(labels, pa.large_string()))
    order = np.argsort(known)
    at = np.minimum(np.searchsorted(known[order], held), len(known) - 1)
    codes = np.where(known[order][at] == held, order[at], len(labels))
    rest = bool((codes == len(labels))[~np.isnan(held)].any())
    return Sampled(
        column.name,
        None,
        np.where(np.isnan(held), -1, codes),
        (*labels, *(("all others",) if rest else ())),
    )


def _levels(column: ColumnProfile, held: NDArray[np.float64]) -> Sampled:
    present = ~np.isnan(held)
    levels = np.unique(held[present])
    codes = np.where(present, np.searchsorted(levels, held), -1)
    words = [
        str(bool(level))
        if column.kind == "boolean"
        else column.shown(int(level) if level % 1 == 0 else level)
        for level in levels
    ]
    return Sampled(column.name, None, codes, tuple(words))


def association(a: Sampled, b: Sampled) -> tuple[Measure, float]:
    """Return the measure that suits two columns, and its value over the rows that hold both."""
    return _measure(a, b, None)


def _measure(a: Sampled, b: Sampled, kept: NDArray[np.bool_] | None) -> tuple[Measure, float]:
    def rows(values: NDArray[Any]) -> NDArray[Any]:
        return values if kept is None else values[kept]

    if a.codes is not None and b.codes is not None:
        return "Cramér's V", cramers_v(crosstab(rows(a.codes), rows(b.codes)))
    if a.codes is not None and b.values is not None:
        return "correlation ratio", correlation_ratio(rows(a.codes), rows(b.values))
    if b.codes is not None:
        return _measure(b, a, kept)
    assert a.values is not None
    assert b.values is not None
    return "Spearman", spearman(rows(a.values), rows(b.values))


def _value(kept: NDArray[np.bool_], a: Sampled, b: Sampled) -> float:
    return _measure(a, b, kept)[1]


def measured(a: Sampled, b: Sampled, exploration: Exploration | None = None) -> Pair:
    """Measure one pair with its interval."""
    if b.is_category and not a.is_category:
        a, b = b, a
    measure, value = association(a, b)
    both = _held(a) & _held(b)
    _, half = jackknife(partial(_value, a=a, b=b), len(both))
    linear: tuple[float | None, float] = (None, 0.0)
    if measure == "Spearman" and exploration is not None and exploration.products is not None:
        linear = _linear(exploration.products, a.name, b.name, exact=exploration.products_exact)
    return Pair(a.name, b.name, measure, value, half, int(np.count_nonzero(both)), *linear)


def _linear(products: Gram, a: str, b: str, *, exact: bool) -> tuple[float | None, float]:
    """Pearson's correlation and the half width of its interval."""
    if not {a, b} <= set(products.names):
        return None, 0.0
    i, j = products.names.index(a), products.names.index(b)
    value, rows = float(products.correlation()[i, j]), float(products.n[i, j])
    if not math.isfinite(value):
        return None, 0.0
    return value, 0.0 if exact or rows <= 3 else 1.96 * (1 - value**2) / math.sqrt(rows - 3)


def _held(column: Sampled) -> NDArray[np.bool_]:
    if column.codes is not None:
        return np.asarray(column.codes >= 0)
    assert column.values is not None
    return ~np.isnan(column.values)


def _binned(column: Sampled) -> NDArray[np.int64]:
    """Codes of a column for mutual information; missing values are a bin of their own."""
    if column.codes is not None:
        return np.where(column.codes >= 0, column.codes, column.codes.max() + 1)
    values = column.values
    assert values is not None
    held = values[~np.isnan(values)]
    cuts = np.unique(np.quantile(held, np.linspace(0, 1, BINS + 1)[1:-1])) if len(held) else held
    return np.where(np.isnan(values), len(cuts) + 1, np.searchsorted(cuts, values, side="left"))


def _information(kept: NDArray[np.bool_], a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    return mutual_information(crosstab(a[kept], b[kept])) / math.log(2)


def find_pairs(profile: Profile, exploration: Exploration) -> Pairs:
    """Measure the pairs of all columns that can be paired.

    Parameters
    ----------
    profile : Profile
    exploration : Exploration
        Of the same rows, or the same part of them.

    Returns
    -------
    Pairs
        Empty of fewer than 100 sampled rows.
    """
    columns = sampled(profile, exploration)
    rows = exploration.sample_rows
    if rows < _LEAST_ROWS or len(columns) < 2:
        return Pairs((), np.zeros((0, 0)), (), (), 0, rows)
    target = columns.get(profile.target or "")
    ties = () if target is None else _ties(target, columns, exploration)
    wanted = [tie.pair.first if tie.pair.first != profile.target else tie.pair.second for tie in ties]
    numbers = [name for name, column in columns.items() if not column.is_category]
    ranked = _ranked([columns[name] for name in numbers])
    first = ([profile.target] if target is not None else []) + wanted
    shown = list(dict.fromkeys([*(name for name in first if name), *columns]))[:MATRIX_COLUMNS]
    matrix = _matrix([columns[name] for name in shown], ranked, numbers)
    order = _order(np.abs(matrix))
    strongest = _strongest(shown, matrix, ranked, numbers, profile.target)
    return Pairs(
        tuple(shown[i] for i in order),
        matrix[np.ix_(order, order)],
        tuple(measured(columns[a], columns[b], exploration) for a, b in strongest),
        ties,
        len(columns) - len(shown),
        rows,
    )


def _ranked(columns: list[Sampled]) -> NDArray[np.float64]:
    """Spearman's correlation of numbers, each ranked among its own rows: exact where nothing is missing."""
    if len(columns) < 2:
        return np.full((len(columns), len(columns)), np.nan)
    X = np.stack([ranks(column.values) for column in columns if column.values is not None], axis=1)
    return Gram.of([column.name for column in columns], X).correlation()


def _matrix(columns: list[Sampled], ranked: NDArray[np.float64], numbers: list[str]) -> NDArray[np.float64]:
    k = len(columns)
    found = np.full((k, k), np.nan)
    at = {name: i for i, name in enumerate(numbers)}
    for i, j in itertools.combinations(range(k), 2):
        a, b = columns[i], columns[j]
        if a.is_category or b.is_category:
            value = association(a, b)[1]
        else:
            value = float(ranked[at[a.name], at[b.name]])
        found[i, j] = found[j, i] = value
    np.fill_diagonal(found, 1.0)
    return found


def _order(strength: NDArray[np.float64]) -> list[int]:
    """Put similar columns beside each other: a walk that always goes to the strongest tie that is left."""
    filled = np.nan_to_num(strength)
    order = [0]
    left = set(range(1, len(filled)))
    while left:
        best = max(sorted(left), key=lambda i: (filled[order[-1], i], filled[order, i].max()))
        order.append(best)
        left.remove(best)
    return order


def _strongest(
    shown: list[str],
    matrix: NDArray[np.float64],
    ranked: NDArray[np.float64],
    numbers: list[str],
    target: str | None,
) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], float] = {}

    def add(names: Iterable[str], values: NDArray[np.float64]) -> None:
        held = list(names)
        strength = np.abs(np.nan_to_num(values))
        above = np.argwhere(np.triu(strength >= _LEAST_STRENGTH, 1))
        for i, j in above:
            if target not in (held[i], held[j]):
                a, b = sorted((held[i], held[j]))
                found[(a, b)] = float(strength[i, j])

    add(shown, matrix)
    add(numbers, ranked)
    return sorted(found, key=lambda pair: (-found[pair], pair))[:STRONGEST]


def _ties(target: Sampled, columns: dict[str, Sampled], exploration: Exploration) -> tuple[Tie, ...]:
    goal = _binned(target)
    rest = [column for column in columns.values() if column.name != target.name]
    every = np.ones(len(goal), dtype=bool)
    binned = {column.name: _binned(column) for column in rest}
    told = {name: _information(every, codes, goal) for name, codes in binned.items()}
    best = sorted(rest, key=lambda column: -told[column.name])[:STRONGEST]
    found = []
    for column in best:
        value, half = jackknife(partial(_information, a=binned[column.name], b=goal), len(goal))
        if value > 0:
            found.append(Tie(measured(column, target, exploration), value, half))
    return tuple(found)
