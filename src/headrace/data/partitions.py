"""One chunk as a partition of a Dask DataFrame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.data.reading import read_chunk, to_pandas, wanted_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from headrace.data.chunks import Chunk


@dataclass(frozen=True)
class ReadPartition:
    """Reads one chunk as a partition; `columns` has no default, so that Dask always passes it."""

    schema: pa.Schema
    dictionary: bool

    def __call__(self, chunk: Chunk, columns: Sequence[str]) -> pd.DataFrame:
        """Read these columns of a chunk."""
        import pandas as pd

        table = read_chunk(chunk, self.schema, list(columns), dictionary=self.dictionary)
        if not table.column_names:  # what Dask asks for when it counts rows
            return pd.DataFrame(index=pd.RangeIndex(table.num_rows))
        return to_pandas(table)

    def empty(self) -> pd.DataFrame:
        """Return the partition without rows."""
        fields = [
            pa.field(field.name, wanted_type(field.type, dictionary=self.dictionary)) for field in self.schema
        ]
        return to_pandas(pa.schema(fields).empty_table())
