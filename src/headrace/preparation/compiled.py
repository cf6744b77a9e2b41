"""The same arithmetic as the fitted transformer, from Arrow to dense or CSR blocks, fast; equal by test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from headrace.preparation.blocks import Dense, Sparse
from headrace.preparation.columns import writers
from headrace.preparation.general import GeneralSlot
from headrace.preparation.rules import kept_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import DTypeLike, NDArray
    from scipy.sparse import csr_matrix

    from headrace.preparation.blocks import Slot
    from headrace.preparation.crossfit import RowHashes
    from headrace.preparation.fitted import Preparation

    Matrix: TypeAlias = NDArray[Any] | csr_matrix

BLOCK = 8192
"""Rows written at a time: the entries of so many rows stay in the second-level cache while columns are written across them."""

_ENTRIES = 1 << 18
"""Entries of a block, when it has not the least number of rows: the room of 10,000 numbers takes 20 MB."""
_LEAST = 256


class CompiledPreparation:
    """What `build_transformer` does, on Arrow tables.

    Values are computed in float64 whatever the input and output types are. A CSR row always stores `nnz_per_row` entries in ascending
    order of features, some of which may be zeros (of categories that have no feature, and indicators that are not traded for the number).

    Parameters
    ----------
    p : Preparation

    Attributes
    ----------
    width : int
        Features.
    sparse : bool
        Whether `transform` gives CSR.
    nnz_per_row : int
        Entries that each CSR row stores.
    """

    def __init__(self, p: Preparation) -> None:
        self._preparation = p
        self.width = p.layout.width
        self.sparse = p.layout.sparse
        self.nnz_per_row = p.layout.nnz_per_row
        recipes = p.layout.recipes
        self._general = GeneralSlot(recipes, p.layout.regular_width) if recipes else None

    @property
    def features_in(self) -> tuple[str, ...]:
        """Columns that are read."""
        return self._preparation.features_in

    def features_of(self, column: str) -> tuple[int, ...]:
        """Places of the features that are made of one column and of no other."""
        return self._preparation.layout.features_of(column)

    def keeps(self, table: pa.Table) -> NDArray[np.bool_] | None:
        """Tell which rows may be trained on, shape (rows,); None: all may."""
        rules = self._preparation.rules
        return kept_rows(rules, table) if rules else None

    def transform(
        self, table: pa.Table, dtype: DTypeLike = np.float32, *, training: RowHashes | None = None
    ) -> Matrix:
        """Prepare rows.

        Parameters
        ----------
        table : pyarrow.Table
            With the columns `Preparation.features_in`, in any order and among others; strings best as
            ``dictionary<int32>``, whose values are looked up once for each distinct one.
        dtype : dtype
            float32 or float64.
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
        slots = writers(self._preparation.layout, table)
        # Sums of squares overflow in the look for infinities, and 1e39 in float32: as numbers, not as warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            transform = self._transform_sparse if self.sparse else self._transform_dense
            matrix = transform(slots, table.num_rows, np.dtype(dtype))
        if self._general is None:
            return matrix
        # A division by 0 in a derived column is a missing value.
        with np.errstate(all="ignore"):
            return self._general.complete(matrix, table, dtype, training)

    def _prepare(self, slots: list[Slot], rows: int) -> int:
        """Make room in slots for a block, and return its rows: fewer when they are wide."""
        entries = sum(len(slot.features) for slot in slots)
        step = max(1, min(rows, BLOCK, max(_LEAST, _ENTRIES // max(1, entries))))
        for slot in slots:
            slot.prepare(step)
        return step

    def _transform_dense(self, slots: list[Slot], rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        dense = np.zeros((rows, self.width), dtype=dtype)
        step = self._prepare(slots, rows)
        for start in range(0, rows, step):
            block = Dense(dense[start : start + step])
            for slot in slots:
                slot.write(start, start + len(block.values), block)
        return dense

    def _transform_sparse(self, slots: list[Slot], rows: int, dtype: np.dtype[Any]) -> csr_matrix:
        from scipy.sparse import csr_matrix

        entries = self.nnz_per_row
        if not entries:
            return csr_matrix((rows, self.width), dtype=dtype)
        index_type = np.dtype(np.int32 if rows * entries < 2**31 else np.int64)
        data = np.empty((rows, entries), dtype=dtype)
        indices = np.empty((rows, entries), dtype=index_type)
        step = self._prepare(slots, rows)
        features = np.array([feature for slot in slots for feature in slot.features], dtype=index_type)
        features = np.tile(features, (step, 1))
        for start in range(0, rows, step):
            block = Sparse(data[start : start + step], indices[start : start + step])
            block.indices[:] = features[: len(block.indices)]
            for slot in slots:
                slot.write(start, start + len(block.indices), block)
        indptr = np.arange(0, (rows + 1) * entries, entries, dtype=index_type)
        shape = (rows, self.width)
        matrix = csr_matrix((data.reshape(-1), indices.reshape(-1), indptr), shape=shape, copy=False)
        matrix.has_sorted_indices = True
        matrix.has_canonical_format = True
        return matrix
