"""The general slot: what the compiled path does not know is done by the fitted scikit-learn transformers themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.errors import DataError
from headrace.preparation.lookups import Lookup
from headrace.preparation.reading import read_numbers, read_times, single_array
from headrace.preparation.steps import build_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from headrace.preparation.compiled import Matrix
    from headrace.preparation.crossfit import RowHashes
    from headrace.preparation.recipes import RecipePlan


class GeneralSlot:
    """Recipes run on Arrow tables.

    Parameters
    ----------
    recipes : sequence of RecipePlan
        In the order of their features.
    start : int
        First feature of the first one.
    """

    def __init__(self, recipes: Sequence[RecipePlan], start: int) -> None:
        self._recipes = tuple(recipes)
        self._start = start
        self._lookups = [Lookup.of(plan) for plan in recipes]
        self._pipelines = [
            [] if lookup else [build_recipe(each) for each in (plan, *map(plan.of_fold, range(_folds(plan))))]
            for plan, lookup in zip(recipes, self._lookups, strict=True)
        ]

    def complete(
        self, matrix: Matrix, table: pa.Table, dtype: DTypeLike, training: RowHashes | None = None
    ) -> Matrix:
        """Write the features of all recipes into a matrix that has the others.

        Parameters
        ----------
        matrix : ndarray or csr_matrix, shape (rows, features)
            Of which those of the recipes, at its end, are not written yet.
        table : pyarrow.Table
        dtype : dtype
        training : RowHashes, optional
            Of training rows: encodings by the target are then those of the other folds.

        Raises
        ------
        DataError
            When a column is missing, of another kind, or holds what a transformer refuses.
        """
        parts = [self._transform(number, table, dtype, training) for number in range(len(self._recipes))]
        if isinstance(matrix, np.ndarray):
            start = self._start
            for part in parts:
                dense = part if isinstance(part, np.ndarray) else part.toarray()
                matrix[:, start : start + dense.shape[1]] = dense
                start += dense.shape[1]
            return matrix
        from scipy.sparse import csr_matrix, hstack

        shape = (matrix.shape[0], self._start)
        regular = csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=shape, copy=False)
        stored = [_stored(part) if isinstance(part, np.ndarray) else part for part in parts]
        whole = csr_matrix(hstack([regular, *stored], format="csr", dtype=dtype))
        whole.has_sorted_indices = True
        return whole

    def _transform(self, number: int, table: pa.Table, dtype: DTypeLike, training: RowHashes | None) -> Any:
        plan = self._recipes[number]
        if not table.num_rows:
            empty = np.empty((0, len(plan.names)), dtype=dtype)
            return _stored(empty) if plan.sparse else empty
        lookup = self._lookups[number]
        if lookup is not None:
            (name,) = plan.columns
            dealt = training.folds(lookup.folds) if training is not None and lookup.folds else None
            return lookup.transform(_strings(single_array(table, name), name), dealt).astype(
                dtype, copy=False
            )
        frame = frame_of(table, plan)
        whole, *by_fold = self._pipelines[number]
        if training is None or not by_fold:
            return self._run(whole, plan, frame, dtype)
        folds = training.folds(len(by_fold))
        out = np.empty((len(frame), len(plan.names)), dtype=dtype)
        for fold, pipeline in enumerate(by_fold):
            here = folds == fold
            if here.any():
                out[here] = self._run(pipeline, plan, frame[here], dtype)
        return out

    @staticmethod
    def _run(pipeline: Any, plan: RecipePlan, frame: Any, dtype: DTypeLike) -> Any:
        try:
            return pipeline.transform(frame).astype(dtype, copy=False)
        except ValueError as error:
            raise DataError(
                str(error).partition("\n")[0],
                where=f"column {', '.join(plan.columns)!r}",
                mend="replace such values in a features function, or drop the column (prepare.columns)",
            ) from error


def _folds(plan: RecipePlan) -> int:
    return max((len(step.learnt.get("folds", ())) for step in plan.steps), default=0)


def _stored(dense: NDArray[Any]) -> Any:
    """Return a CSR matrix that stores every entry, zeros as well, so that all rows store equally many."""
    from scipy.sparse import csr_matrix

    rows, width = dense.shape
    indices = np.tile(np.arange(width, dtype=np.int32), rows)
    pointers = np.arange(0, rows * width + 1, max(1, width), dtype=np.int32)[: rows + 1]
    return csr_matrix((dense.reshape(-1), indices, pointers), shape=dense.shape)


def frame_of(table: pa.Table, plan: RecipePlan) -> Any:
    """Make the frame that a recipe's pipeline takes.

    Raises
    ------
    DataError
        When a column is missing or of another kind.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in plan.columns:
        array = single_array(table, name)
        if plan.kind == "string":
            columns[name] = pd.Series(_words(array, name), dtype=object)
            continue
        values, mask = read_times(array, name) if plan.kind == "datetime" else read_numbers(array, name)
        if plan.kind == "datetime":
            kept = values.astype("datetime64[us]")
            missing: Any = np.datetime64("NaT")
        else:
            kept, missing = values.astype(np.float64), np.nan
        columns[name] = kept if mask is None else np.where(mask, missing, kept)
    return pd.DataFrame(columns)


def _strings(array: pa.Array, name: str) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    types = pa.types
    if not (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_null(kind)
    ):
        raise DataError(f"is {kind}, not strings", where=f"column {name!r}", mend="cast it to strings")
    return array


def _words(array: pa.Array, name: str) -> NDArray[Any]:
    array = _strings(array, name)
    words: NDArray[Any] = array.to_numpy(zero_copy_only=False).astype(object)
    if array.null_count:
        words[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return words
