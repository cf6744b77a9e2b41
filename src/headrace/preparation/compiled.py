"""The same arithmetic as the fitted transformer, from Arrow to dense or CSR blocks, fast; equal by test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from headrace.engine import rooms
from headrace.preparation.blocks import Dense, Sparse
from headrace.preparation.general import GeneralSlot
from headrace.preparation.native import compiled_loops
from headrace.preparation.regular import regular_csr, take_rows
from headrace.preparation.rules import kept_rows
from headrace.preparation.writers import writers
from headrace.preparation.writing import Writing

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray
    from scipy.sparse import csr_matrix

    from headrace.preparation.crossfit import RowHashes
    from headrace.preparation.fitted import Preparation
    from headrace.preparation.layout import Layout

    Matrix: TypeAlias = NDArray[Any] | csr_matrix


class CompiledPreparation:
    """What `build_transformer` does, on Arrow tables.

    Values are computed in float64 whatever the input and output types are. A CSR row always stores `nnz_per_row` entries in ascending
    order of features, some of which may be zeros (of categories that have no feature, and indicators that are not traded for the number).

    Parameters
    ----------
    p : Preparation
    native : bool
        Whether rows are written by compiled loops, where numba is installed: the same numbers.

    Attributes
    ----------
    width : int
        Features.
    sparse : bool
        Whether `transform` gives CSR.
    nnz_per_row : int
        Entries that each CSR row stores.
    """

    def __init__(self, p: Preparation, *, native: bool = False) -> None:
        self._preparation = p
        self._native = native
        self.width = p.layout.width
        self.sparse = p.layout.sparse
        self.nnz_per_row = p.layout.nnz_per_row
        recipes = p.layout.recipes
        self._general = GeneralSlot(recipes, p.layout.regular_width) if recipes else None

    @property
    def features_in(self) -> tuple[str, ...]:
        """Columns that are read."""
        return self._preparation.features_in

    @property
    def layout(self) -> Layout:
        """Its features in order."""
        return self._preparation.layout

    def features_of(self, column: str) -> tuple[int, ...]:
        """Places of the features that are made of one column and of no other."""
        return self._preparation.layout.features_of(column)

    def keeps(self, table: pa.Table) -> NDArray[np.bool_] | None:
        """Tell which rows may be trained on, shape (rows,); None: all may."""
        rules = self._preparation.rules
        return kept_rows(rules, table) if rules else None

    def transform(
        self,
        table: pa.Table,
        dtype: DTypeLike = np.float32,
        *,
        rows: NDArray[np.int64] | None = None,
        order: NDArray[np.int64] | None = None,
        training: RowHashes | None = None,
    ) -> Matrix:
        """Prepare rows.

        Parameters
        ----------
        table : pyarrow.Table
            With the columns `Preparation.features_in`, in any order and among others; strings best as
            ``dictionary<int32>``, whose values are looked up once for each distinct one.
        dtype : dtype
            float32 or float64.
        rows : ndarray of int, optional
            Which rows of the table, in ascending order; by default all.
        order : ndarray of int, optional
            A permutation of these: the row that comes first, and so on; by default as in the table.
        training : RowHashes, optional
            Of rows that are trained on: each is encoded by the targets of the other folds alone.

        Returns
        -------
        ndarray, shape (rows, width), or csr_matrix of that shape
            Indices are int32, or int64 beyond 2**31 entries.

        Raises
        ------
        DataError
            When a column is missing, of another kind, or holds infinities, which scikit-learn refuses as well.
        """
        loops = compiled_loops() if self._native else None
        # Compiled loops read any rows and put them in their places; numpy is faster on what lies in order.
        straight = loops is not None and self._general is None
        if rows is not None and not straight:
            table, rows = table.take(pa.array(rows)), None
        slots = writers(self._preparation.layout, table, loops)
        work = Writing(slots, table.num_rows, rows, order if straight else None, loops)
        # Sums of squares overflow in the look for infinities, and 1e39 in float32: as numbers, not as warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            transform = self._transform_sparse if self.sparse else self._transform_dense
            matrix = transform(work, np.dtype(dtype))
        if self._general is not None:
            # A division by 0 in a derived column is a missing value.
            with np.errstate(all="ignore"):
                matrix = self._general.complete(matrix, table, dtype, training)
        return matrix if order is None or straight else take_rows(matrix, order)

    def _transform_dense(self, work: Writing, dtype: np.dtype[Any]) -> NDArray[Any]:
        dense = rooms.empty((work.count, self.width), dtype)

        def empty(values: NDArray[Any]) -> Dense:
            values[:] = 0
            return Dense(values)

        work.fill((dense,), empty)
        return dense

    def _transform_sparse(self, work: Writing, dtype: np.dtype[Any]) -> csr_matrix:
        from scipy.sparse import csr_matrix

        rows, entries = work.count, self.nnz_per_row
        if not entries:
            return csr_matrix((rows, self.width), dtype=dtype)
        index_type = np.dtype(np.int32 if rows * entries < 2**31 else np.int64)
        data = rooms.empty((rows, entries), dtype)
        indices = rooms.empty((rows, entries), index_type)
        features = np.array([feature for slot in work.slots for feature in slot.features], dtype=index_type)

        def empty(data: NDArray[Any], indices: NDArray[Any]) -> Sparse:
            indices[:] = features
            return Sparse(data, indices)

        work.fill((data, indices), empty)
        matrix = regular_csr(data, indices, self.width)
        matrix.has_sorted_indices = True
        matrix.has_canonical_format = True
        return matrix
