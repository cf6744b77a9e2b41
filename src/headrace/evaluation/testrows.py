"""Rows of the test part that are kept: what the best candidate said of them, and a few as they came."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.rowsample import RowSample
from headrace.data.schemas import is_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORED_ROWS = 50_000
"""Most rows of which label, score and weight are kept."""
RAW_ROWS = 5_000
"""Most rows of which the columns are kept as they came."""
RAW_CELLS = 1_000_000
"""Most values of these rows: of very many columns fewer rows are kept, for each chunk has its own until they are merged."""
RAW_BYTES = 8 << 20
"""Most bytes of their strings, but for the last of them: of long texts fewer rows are kept."""


def raw_rows(columns: int) -> int:
    """Say of how many rows so many columns are kept.

    Examples
    --------
    >>> raw_rows(20), raw_rows(10_000)
    (5000, 100)
    """
    return min(RAW_ROWS, max(1, RAW_CELLS // max(1, columns)))


class RawRows:
    """The rows of Arrow tables with the smallest keys (bottom-k sampling without replacement).

    Held are the first `size` of them, and of these only as many as begin within `RAW_BYTES` of strings: whether a row is held by
    the whole follows from the rows with smaller keys, and so it was held by every part.

    Parameters
    ----------
    size : int
        Most rows held.

    Attributes
    ----------
    keys : ndarray of uint64, shape (held,)
        Keys of the rows, which differ from each other, in increasing order.
    table : pyarrow.Table or None
        The rows, without dictionaries; None before the first.
    """

    def __init__(self, size: int = RAW_ROWS) -> None:
        self.size = size
        self.keys: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self.table: pa.Table | None = None

    def update(self, keys: NDArray[np.uint64], table: pa.Table) -> None:
        """Add rows.

        Parameters
        ----------
        keys : ndarray of uint64, shape (n,)
            Row keys.
        table : pyarrow.Table
            Their columns, the same at every call.
        """
        if len(keys) == 0:
            return
        picked = np.argsort(keys, kind="stable")[: self.size]
        self._take(keys[picked], _bounded(_plain(table.take(pa.array(picked)))))

    def merge(self, other: Self) -> Self:
        """Return the sample of both sets of rows."""
        merged = type(self)(self.size)
        merged.keys, merged.table = self.keys, self.table
        if other.table is not None:
            merged._take(other.keys, other.table)  # noqa: SLF001 - of its own class
        return merged

    def result(self) -> pa.Table | None:
        """Return `table`."""
        return self.table

    def first(self, rows: int) -> pa.Table | None:
        """Return fewer of the rows, which are a sample as well."""
        return None if self.table is None else self.table.slice(0, rows)

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document; the rows as base64 of an Arrow stream."""
        rows = None
        if self.table is not None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, self.table.schema) as writer:
                writer.write_table(self.table.combine_chunks())
            rows = base64.b64encode(sink.getvalue()).decode("ascii")
        return {"size": self.size, "keys": encode_array(self.keys), "rows": rows}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        read = cls(state["size"])
        read.keys = decode_array(state["keys"])
        if state["rows"] is not None:
            read.table = pa.ipc.open_stream(base64.b64decode(state["rows"])).read_all()
        return read

    def _take(self, keys: NDArray[np.uint64], table: pa.Table) -> None:
        keys = keys[: table.num_rows]
        if self.table is None:
            self.keys, self.table = keys, table
            return
        both = np.concatenate([self.keys, keys])
        kept = np.argsort(both, kind="stable")[: self.size]
        self.table = _bounded(pa.concat_tables([self.table, table]).take(pa.array(kept)).combine_chunks())
        self.keys = both[kept[: self.table.num_rows]]


class HeldOutRows:
    """What is kept of the test rows: label, weight and score of many, the columns of a few.

    Both are the rows with the smallest keys, so that two models that were tested on the same rows keep the same ones.

    Parameters
    ----------
    task : str
        classification, regression or clustering; clusters have no label, and their scores are not kept.
    scored, raw : int, optional
        Most rows of either kind.

    Attributes
    ----------
    scores : RowSample
        Columns ``label`` (code of the class, or the value), ``weight``, ``score`` (probability of the second of two
        classes, of the true one of more, or the prediction), and for classes ``predicted`` (a code).
    raw : RawRows
        Columns that the pipeline reads.
    """

    def __init__(self, task: str, scored: int = SCORED_ROWS, raw: int = RAW_ROWS) -> None:
        self.task = task
        self.scores = RowSample(4 if task == "classification" else 3, 0 if task == "clustering" else scored)
        self.raw = RawRows(raw)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `scores`."""
        return ("label", "weight", "score", "predicted")[: self.scores.values.shape[1]]

    def update(
        self,
        keys: NDArray[np.uint64],
        table: pa.Table,
        truth: NDArray[Any] | None = None,
        said: NDArray[Any] | None = None,
        weight: NDArray[np.float64] | None = None,
        *,
        threshold: float = 0.5,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        keys : ndarray of uint64, shape (n,)
            Row keys.
        table : pyarrow.Table
            The columns that the pipeline reads.
        truth : ndarray, shape (n,), optional
            Codes of classes, or values; none for clusters.
        said : ndarray, shape (n,) or (n, classes), optional
            Probability of the second class, of each class, or predictions.
        weight : ndarray of float, shape (n,), optional
            Row weights; 1 when left out.
        threshold : float, optional
            Of two classes the second is predicted when its probability is at least this.
        """
        self.raw.update(keys, table)
        if truth is None or said is None:
            return
        picked = self.scores.picks(keys)
        truth, said = truth[picked], said[picked]
        columns = [truth, np.ones(len(picked)) if weight is None else weight[picked]]
        if said.ndim == 2:
            columns += [said[np.arange(len(said)), truth], said.argmax(axis=1)]
        elif self.task == "classification":
            columns += [said, said >= threshold]
        else:
            columns.append(said)
        values = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
        self.scores.update(keys[picked], values)

    def merge(self, other: Self) -> Self:
        """Return what is kept of both sets of rows."""
        merged = type(self)(self.task)
        merged.scores, merged.raw = self.scores.merge(other.scores), self.raw.merge(other.raw)
        return merged

    def result(self) -> dict[str, NDArray[Any]]:
        """Return ``key`` and the `columns` of the scored rows, each of shape (held,)."""
        columns = zip(self.columns, self.scores.values.T, strict=True)
        return {"key": self.scores.keys, **{name: np.ascontiguousarray(values) for name, values in columns}}

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {"task": self.task, "scores": self.scores.state(), "raw": self.raw.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        read = cls(state["task"])
        read.scores = RowSample.from_state(state["scores"])
        read.raw = RawRows.from_state(state["raw"])
        return read


def _bounded(table: pa.Table) -> pa.Table:
    """Cut a table after the row that passes `RAW_BYTES` of strings."""
    lengths = [
        np.asarray(pc.binary_length(column).fill_null(0), np.int64)
        for column in table.columns
        if is_text(column.type)
    ]
    if not lengths:
        return table
    total = np.cumsum(np.sum(lengths, axis=0))
    rows = int(np.searchsorted(total, RAW_BYTES)) + 1
    return table if rows >= table.num_rows else table.slice(0, rows).combine_chunks()


def _plain(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries, which differ from chunk to chunk."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table.replace_schema_metadata(None).combine_chunks()
