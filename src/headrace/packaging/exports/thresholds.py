"""Rows at the exact thresholds of trees."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.packaging.exports.rows import CELLS
from headrace.packaging.exports.splits import trees_of
from headrace.packaging.inputs import to_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.packaging.exports.splits import Split, Tree
    from headrace.packaging.signature import Signature

MOST = 250
"""Splits that are tried, each by at most six rows."""
RESOLVED = 2.0**-10
"""How near to a float32 the float64 beside it are to come, as a share of the distance to the next float32."""
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class _Block:
    """A step of a `ColumnTransformer` that makes one feature of each of its columns."""

    step: Any
    columns: tuple[str, ...]
    start: int
    """Its first feature."""
    ends: NDArray[np.float64]
    """Least and largest number of each column that is tried, shape (2, columns)."""

    def features(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        frame = to_frame(pa.table(list(values.T), names=list(self.columns)))
        with np.errstate(all="ignore"):  # far from the data some overflow, where there is no threshold
            return _dense(self.step.transform(frame)).astype(np.float64)


def threshold_rows(pipeline: Any, signature: Signature, rows: pa.Table, *, seed: int = 0) -> pa.Table:
    """Draw rows that lie at splits of trees.

    Trees of XGBoost and of scikit-learn part rows by the float32 of a feature: `headrace.packaging.exports.splits`. Where
    the feature is a monotone function of a column, halving finds the two neighbouring float64 of the column between which
    the feature reaches the first float32 beyond the border of a split, the two between which it reaches the float32
    before that, and the two between which it passes the border itself. An export that compares with another float32, by
    another sign, or without rounding errs at one of the six. The other columns are those of a row that meets the split
    on its way through the tree.

    Parameters
    ----------
    pipeline : scikit-learn pipeline
        Fitted.
    signature : Signature
        Its columns.
    rows : pyarrow.Table
        From `headrace.packaging.exports.rows.hard_rows`; they are sent through the trees.
    seed : int
        Of the rows that are sent.

    Returns
    -------
    pyarrow.Table
        Of at most `MOST` splits, evenly over trees and features; none of an estimator without such trees, and none of
        features that are no monotone function of one number.
    """
    kinds = {column.name: column.kind for column in signature.inputs}
    blocks = _blocks(pipeline, kinds, rows)
    trees = list(trees_of(pipeline.steps[-1][1]))
    if not blocks or not trees:
        return rows.slice(0, 0)
    most = max(1, min(MOST, CELLS // (6 * rows.num_columns)))
    sent = np.random.default_rng(seed).integers(rows.num_rows, size=most)
    with np.errstate(over="ignore", invalid="ignore"):
        X = _dense(pipeline[:-1].transform(to_frame(rows.take(pa.array(sent))))).astype(np.float32)
    tried = {
        block.start + place
        for block in blocks
        for place, column in enumerate(block.columns)
        if kinds[column] == "numeric"
    }
    met = _met(trees, X, tried)
    context: list[int] = []
    given: list[tuple[str, float]] = []
    for block in blocks:
        for split, numbers in _parted(block, met):
            context += [int(sent[met[split]])] * len(numbers)
            given += [(block.columns[split[0] - block.start], number) for number in numbers]
    return _with(rows.take(pa.array(context, pa.int64())), given)


def _dense(features: Any) -> NDArray[Any]:
    return np.asarray(features.toarray() if hasattr(features, "toarray") else features)


def _blocks(pipeline: Any, kinds: Mapping[str, str], rows: pa.Table) -> list[_Block]:
    if len(pipeline.steps) != 2:
        return []
    numbers = {name for name, kind in kinds.items() if kind in {"numeric", "boolean"}}
    transformer = pipeline.steps[0][1]
    found = []
    for name, step, columns in transformer.transformers_:
        where = transformer.output_indices_[name]
        if 0 < len(columns) == where.stop - where.start and numbers.issuperset(columns):
            # Between numbers that are asked about anyway: scikit-learn refuses what overflows within a pipeline.
            values = np.stack([rows.column(column).to_numpy() for column in columns])
            ends = np.stack([np.nanmin(values, axis=1), np.nanmax(values, axis=1)])
            found.append(_Block(step, tuple(columns), where.start, ends))
    return found


def _met(trees: Sequence[Tree], X: NDArray[np.float32], features: set[int]) -> dict[Split, int]:
    """Send each row through one tree and choose a split on its way; return it with the row."""
    chosen: dict[Split, int] = {}
    often: Counter[int] = Counter()
    for row, tree in enumerate(np.linspace(0, len(trees) - 1, len(X)).astype(int)):
        way = [split for split in trees[tree](X[row]) if split[0] in features and split not in chosen]
        if way:
            split = min(way, key=lambda split: (often[split[0]], split))
            chosen[split] = row
            often[split[0]] += 1
    return chosen


def _parted(block: _Block, splits: Iterable[Split]) -> Iterator[tuple[Split, NDArray[np.float64]]]:
    """Give each split of a block with numbers of its column."""
    own: list[list[Split]] = [[] for _ in block.columns]
    for split in splits:
        if 0 <= split[0] - block.start < len(own):
            own[split[0] - block.start].append(split)
    borders = np.full((max(map(len, own)), len(own)), np.nan)
    for place, held in enumerate(own):
        borders[: len(held), place] = [border for _, border in held]
    if not len(borders):
        return
    limits = _limits(borders)
    neighbours = _halved(block, limits.reshape(-1, len(own))).reshape(-1, *limits.shape)
    for place, held in enumerate(own):
        for number, split in enumerate(held):
            numbers = neighbours[:, :, number, place].ravel()
            yield split, np.unique(numbers[np.isfinite(numbers)])


def _limits(borders: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find what features are compared with at most: two float32 and a float64 of each border.

    Returns
    -------
    ndarray, shape (3, *borders.shape)
        The last float32 that does not part, the next, which does, and the first float64 above the border; NaN in its
        place for a border in the middle of the two, where the order of the arithmetic decides how a feature is rounded.
    """
    near = borders.astype(np.float32)
    last = np.where(near > borders, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float64)
    next_one = np.nextafter(last.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    middling = np.abs(borders - (last + next_one) / 2) <= RESOLVED * (next_one - last)
    return np.stack([last, next_one, np.where(middling, np.nan, np.nextafter(borders, np.inf))])


def _halved(block: _Block, limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the neighbouring float64 of each column between which its feature passes a limit.

    NaN where it does not, or in steps so wide that the order of the arithmetic decides on which side a float32 lies: of
    a standardised number a condition of almost 0.

    Parameters
    ----------
    block : _Block
    limits : ndarray, shape (limits, columns)

    Returns
    -------
    ndarray, shape (2, limits, columns)
    """
    first, last = _numbered(block.ends)
    shape = (-1, *limits.shape)

    def features(numbers: NDArray[np.uint64]) -> NDArray[np.float64]:
        values = _float(np.clip(numbers, first, last))
        return block.features(values.reshape(-1, limits.shape[1])).reshape(shape)

    at = np.zeros(limits.shape, dtype=np.uint64)
    begins = features(at) < limits
    digits = np.arange(1, 16, dtype=np.uint64)[:, None, None]
    for shift in np.arange(60, -1, -4, dtype=np.uint64):  # of one hexadecimal digit after the other
        same = (features(at + (digits << shift)) < limits) == begins
        at += same.sum(axis=0, dtype=np.uint64) << shift
    pair = np.stack([at, at + np.uint64(1)])
    step = np.abs(np.spacing(limits.astype(np.float32)), dtype=np.float64)
    near = np.abs(features(pair) - limits) <= RESOLVED * step
    return np.where(near.all(axis=0), _float(pair), np.nan)


def _numbered(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Give each float64 its place in their order, from 0."""
    bits = values.view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _float(numbers: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Undo `_numbered`."""
    return np.where(numbers & _SIGN, numbers ^ _SIGN, ~numbers).view(np.float64)


def _with(rows: pa.Table, given: Sequence[tuple[str, float]]) -> pa.Table:
    """Put a number into one column of each row."""
    for name in dict.fromkeys(name for name, _ in given):
        values = rows.column(name).to_numpy().copy()
        for place, (column, number) in enumerate(given):
            if column == name:
                values[place] = number
        index = rows.column_names.index(name)
        rows = rows.set_column(index, rows.field(index), pa.array(values, from_pandas=True))
    return rows
