"""A fitted model with test rows that it can be asked about, as users would give them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from headrace.data.schemas import is_text
from headrace.evaluation.exchanges import Exchange
from headrace.training.candidates import bare, capabilities, in_double
from headrace.training.prepared import Block
from headrace.training.scoring import kind_of, outputs, score_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.evaluation.testrows import HeldOutRows
    from headrace.preparation.compiled import CompiledPreparation
    from headrace.preparation.layout import Layout
    from headrace.training.blocks import Target


@dataclass(frozen=True)
class Asked:
    """A model and some test rows.

    Attributes
    ----------
    model : fitted estimator
        What is packaged: with its calibration and threshold, in float64.
    compiled : CompiledPreparation
        Makes its features, in float64 as the pipeline does.
    table : pyarrow.Table
        The rows, with the columns that the pipeline takes; strings as dictionaries.
    y : ndarray, shape (rows,)
        Labels, or values.
    weight : ndarray, shape (rows,)
    kind : {"binary", "multiclass", "regression"}
    names : tuple of str
        Of what the model says: the second of two classes, every class, or the target.
    classes : tuple
        Labels; empty for regression.
    own : mapping of str to tuple of int
        Places of the features of each column that has no part in those of others.
    """

    model: Any
    compiled: CompiledPreparation
    table: pa.Table
    y: NDArray[Any]
    weight: NDArray[np.float64]
    kind: str
    names: tuple[str, ...]
    classes: tuple[Any, ...] = ()
    own: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: Any,
        compiled: CompiledPreparation,
        layout: Layout,
        target: Target,
        task: str,
        held: HeldOutRows,
    ) -> Self | None:
        """Take the test rows whose columns were kept, with what is known of them; None without any."""
        if held.raw.table is None:
            return None
        known = held.result()
        # The rows whose columns are kept are the first of those whose labels are.
        places = np.searchsorted(known["key"], held.raw.keys)
        table = held.raw.table
        for name in table.column_names:
            if is_text(
                table.schema.field(name).type
            ):  # whose values are looked up once for each distinct one
                table = _with(table, name, table.column(name).dictionary_encode())
        labels, kind = known["label"][places], kind_of(task, len(target.classes))
        y = np.asarray(target.classes)[labels.astype(np.intp)] if target.classes else labels
        names = tuple(str(label) for label in target.classes)
        names = {"binary": names[1:], "regression": (str(target.name),)}.get(kind, names)
        weight = known["weight"][places]
        classes = tuple(target.classes)
        return cls(in_double(model), compiled, table, y, weight, kind, names, classes, own_features(layout))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.table.num_rows)

    @property
    def estimator(self) -> Any:
        """The model without its calibration and threshold."""
        return bare(self.model)

    def first(self, rows: int) -> Self:
        """Return the same with fewer rows, which are drawn at random as all are."""
        return replace(self, table=self.table.slice(0, rows), y=self.y[:rows], weight=self.weight[:rows])

    def features(self, table: pa.Table) -> Any:
        """Prepare rows, shape (rows, features)."""
        return self.compiled.transform(table, np.float64)

    def said(self, X: Any) -> NDArray[Any]:
        """Ask about prepared rows: as `headrace.training.scoring.outputs`."""
        return outputs(self.model, X, kind=self.kind, sparse=capabilities(self.model).sparse)

    def shuffled(self, X: Any, columns: Sequence[str], orders: Iterable[NDArray[Any]]) -> Iterator[Any]:
        """Prepare the rows with the values of some columns dealt out anew, in each of these orders.

        Parameters
        ----------
        X : matrix
            From `features` of the rows as they are.
        columns : sequence of str
        orders : iterable of ndarray of int, shape (rows,)
        """
        if all(name in self.own for name in columns):
            exchange = Exchange.of(X, [place for name in columns for place in self.own[name]])
            yield from (exchange.taking(X, order) for order in orders)
            return
        for order in orders:
            table = self.table
            for name in columns:
                table = _with(table, name, table.column(name).take(pa.array(order)))
            yield self.features(table)

    def fixed(self, X: Any, column: str, points: pa.Array) -> Iterator[Any]:
        """Prepare the rows with a column set to each of some values, in turn; `X` as in `shuffled`."""
        if column in self.own:
            # A row for each point: what is in the other columns does not matter.
            few = self.table.take(pa.array(np.zeros(len(points), np.int64)))
            source, exchange = self.features(_with(few, column, points)), Exchange.of(X, self.own[column])
            yield from (exchange.taking(source, np.full(self.rows, k)) for k in range(len(points)))
            return
        for point in points:
            yield self.features(_with(self.table, column, pa.repeat(point, self.rows)))

    def score(self, said: NDArray[Any], metric: str) -> float | None:
        """Score what was said of the rows; None when the metric is not defined on them."""
        block = Block(np.empty((self.rows, 0), np.float32), self.y, self.weight)
        return score_outputs(said, block, kind=self.kind, classes=self.classes, only=metric).get(metric)


def own_features(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Return the places of the features of each column that has no part in those of others."""
    names = {plan.name for group in layout.groups for plan in group.plans}
    names |= {name for recipe in layout.recipes for name in recipe.columns}
    joint = {name for recipe in layout.recipes if len(recipe.columns) > 1 for name in recipe.columns}
    return {name: layout.features_of(name) for name in names - joint}


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)
