"""Linear models of every penalty and fold from one pass: products by cell, merged to those of each fold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators import merge_tree
from headrace.accumulators.crossproducts import CrossProducts
from headrace.engine.commits import Form
from headrace.engine.events import Note
from headrace.profiling.remembering import remembering
from headrace.training.exact_families import FAMILIES
from headrace.training.sweeps import Sweep, merge_parts, packed, under, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator

    from headrace.engine.folds import Fold
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.sweeps import Rows, RowsOf

WIDE = 3_000
"""Features from which products, 8 d^2 bytes a cell, and their algebra, d^3, are worth a warning."""


@dataclass(frozen=True)
class CellProducts:
    """Products of the rows of each cell, the sets of rows that no fold tells apart.

    Attributes
    ----------
    repeats : tuple of tuple of CrossProducts
        By repeat and cell: of features and, for regression, the target as the last column; of classification a group
        for each class. Every repeat holds all rows.
    """

    repeats: tuple[tuple[CrossProducts, ...], ...]

    @classmethod
    def of(cls, rows: Rows, cells: int, classes: int) -> Self:
        """Measure the rows of a chunk.

        Parameters
        ----------
        rows : Rows
        cells : int
            Cells of one repeat.
        classes : int
            Number of classes; 0 for regression.
        """
        X = rows.X if classes else _with_target(rows.X, rows.y)
        return cls(
            tuple(
                tuple(_products(X, rows, np.flatnonzero(codes == cell), classes) for cell in range(cells))
                for codes in rows.cells
            )
        )

    def merge(self, other: Self) -> Self:
        """Return the products of both."""
        pairs = zip(self.repeats, other.repeats, strict=True)
        return type(self)(
            tuple(
                tuple(mine.merge(theirs) for mine, theirs in zip(left, right, strict=True))
                for left, right in pairs
            )
        )

    def over(self, cells: Iterable[int], repeat: int = 0) -> CrossProducts:
        """Return the products of some cells together, by merging: nothing is subtracted."""
        return merge_tree([self.repeats[repeat][cell] for cell in cells], CrossProducts.merge)

    def training(self, fold: Fold) -> CrossProducts:
        """Return the products of the rows that a fold learns from."""
        return self.over(fold.train, fold.repeat)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything held, as plain arrays."""
        return {
            f"{repeat}.{cell}.{name}": array
            for repeat, cells in enumerate(self.repeats)
            for cell, products in enumerate(cells)
            for name, array in products.arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from `arrays`."""
        names = [name.split(".") for name in arrays]
        repeats = 1 + max(int(repeat) for repeat, _, _ in names)
        cells = 1 + max(int(cell) for _, cell, _ in names)
        return cls(
            tuple(
                tuple(CrossProducts.from_arrays(under(under(arrays, repeat), cell)) for cell in range(cells))
                for repeat in range(repeats)
            )
        )


def _products(X: Any, rows: Rows, here: NDArray[np.intp], classes: int) -> CrossProducts:
    taken = slice(None) if len(here) == X.shape[0] else here
    return CrossProducts.of(
        X[taken],
        None if rows.weight is None else rows.weight[taken],
        rows.y[taken].astype(np.intp) if classes else None,
        max(1, classes),
    )


def dump_products(found: tuple[CellProducts, ...]) -> list[bytes]:
    """Write products as a numpy archive of plain arrays."""
    return [
        packed({f"{part}.{name}": a for part, each in enumerate(found) for name, a in each.arrays().items()})
    ]


def load_products(pieces: list[bytes]) -> tuple[CellProducts, ...]:
    """Rebuild from `dump_products`; nothing is unpickled."""
    (piece,) = pieces
    arrays = unpacked(piece)
    parts = 1 + max(int(name.partition(".")[0]) for name in arrays)
    return tuple(CellProducts.from_arrays(under(arrays, part)) for part in range(parts))


@dataclass(frozen=True)
class Measurement:
    """Rows whose products are wanted."""

    rows_of: RowsOf
    cells: int
    """Cells of one repeat."""
    width: int
    """Features."""
    repeats: int = 1
    made_of: tuple[Any, ...] | None = None
    """What decides which rows these are, where their products may be kept."""

    @property
    def bytes(self) -> int:
        """Of its products."""
        return 8 * (self.width + 1) ** 2 * self.cells * self.repeats


def measure_products(
    reader: Reader,
    source: Source,
    wanted: Sequence[Measurement],
    *,
    classes: int,
    name: str = "exact",
    remembered: str | None = None,
) -> tuple[CellProducts, ...]:
    """Measure the products of every cell in one pass.

    Parameters
    ----------
    reader : Reader
        Runs the pass and counts it.
    source : Source
        The chunks.
    wanted : sequence of Measurement
        Rows as they are prepared in one way each.
    classes : int
        Number of classes; 0 for regression.
    name : str
        The pass, for people and for the ledger.
    remembered : str, optional
        URL of the products of chunks that were measured before: those that have not changed are not read. Nothing is kept
        there that is larger than the chunks.
    """
    widest = max(each.width for each in wanted)
    if widest > WIDE:
        size = sum(each.bytes for each in wanted) / 2**20
        reader.emit(
            Note(f"cross products of {widest:,} features take {size:,.0f} MiB for each chunk in flight")
        )
    parts = tuple(
        (each.rows_of, partial(CellProducts.of, cells=each.cells, classes=classes)) for each in wanted
    )
    form = Form(dump_products, load_products)
    made_of = [each.made_of for each in wanted]
    larger = sum(each.bytes for each in wanted) * len(source.chunks) > source.bytes if remembered else False
    kept = None if larger or None in made_of else remembered
    update = remembering(Sweep(parts), source, kept, form, made_of)
    found: tuple[CellProducts, ...] = reader.reduce(source, update, merge_parts, name=name, form=form)
    return found


def fit_exact(
    estimator: BaseEstimator, products: CrossProducts, *, path: str, classes: ArrayLike = ()
) -> BaseEstimator:
    """Fit an estimator to the rows whose products these are, as scikit-learn would to the rows themselves.

    Parameters
    ----------
    estimator : estimator
        Unfitted; it is fitted in place.
    products : CrossProducts
        As in `CellProducts`.
    path : str
        Import path that names its family.
    classes : array_like, optional
        Labels of the groups, ascending.
    """
    return FAMILIES[path].fit(estimator, products, np.asarray(classes))


def linear_terms(estimator: Any) -> tuple[NDArray[np.float64], float]:
    """Return coefficients on the features and the intercept, also of a regression on principal components."""
    steps = getattr(estimator, "steps", None)
    if steps is None:
        return np.ravel(estimator.coef_), float(np.ravel(estimator.intercept_)[0])
    (_, reduction), (_, model) = steps
    coefficients = np.ravel(model.coef_) @ reduction.components_
    return coefficients, float(np.ravel(model.intercept_)[0] - reduction.mean_ @ coefficients)


def _with_target(X: Any, y: NDArray[Any]) -> Any:
    target = y.astype(np.float64)[:, None]
    if isinstance(X, np.ndarray):
        return np.concatenate([X, target], axis=1, dtype=np.float64)
    from scipy import sparse

    return sparse.hstack([X, sparse.csr_matrix(target)], format="csr")
