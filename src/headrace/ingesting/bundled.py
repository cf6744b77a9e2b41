"""The datasets that scikit-learn ships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.ingesting.batches import conform
from headrace.ingesting.columns import ColumnPlan, Layout
from headrace.ingesting.firstlook import declared_plan
from headrace.ingesting.sources import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.ingesting.batches import Batch
    from headrace.ingesting.options import BundledSource
    from headrace.ingesting.sources import Work


class BundledData:
    """One dataset; see `headrace.ingesting.sources.Source`."""

    whole = True

    def __init__(self, source: BundledSource, work: Work) -> None:
        self._name = source.name
        self._work = work

    def units(self) -> list[Unit]:
        """One unit, the same for one version of scikit-learn."""
        import sklearn

        return [Unit(self._name, sklearn.__version__, f"sklearn.datasets.load_{self._name}")]

    def look(self, units: Sequence[Unit]) -> Layout:  # noqa: ARG002 the protocol's
        """Take the types that the data have."""
        declared = self._work.file.columns
        return Layout(
            tuple(
                declared_plan(field.name, declared[field.name])
                if field.name in declared
                else ColumnPlan(field.name, field.type)
                for field in self._table().schema
                if field.name not in self._work.file.drop
            )
        )

    def read(self, unit: Unit, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        """Give the whole of it; the largest has 1,797 rows."""
        facts |= {"scikit_learn": unit.stamp}
        yield conform(self._table(), layout, first=1)

    def watermark(self) -> Any:
        """There is none."""
        return None

    def _table(self) -> pa.Table:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{self._name}")(as_frame=True)
        table = pa.Table.from_pandas(bunch.frame, preserve_index=False).replace_schema_metadata(None)
        return table.rename_columns(
            [name.strip().replace(" (cm)", "_cm").replace(" ", "_") for name in table.column_names]
        )
