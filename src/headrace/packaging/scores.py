"""``scores.parquet``: what a model said of some test rows, by which two models are compared on the same ones."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.packaging.package import Package

SCORES = "scores.parquet"


def scores_file(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Write the scored rows of `HeldOutRows.result` as Parquet.

    Codes of classes are whole numbers; what is 1 for every row, as weights often are, takes no room.
    """
    import pyarrow.parquet as pq

    classes = "predicted" in columns
    table = pa.table({
        name: pa.array(values.astype(np.int32) if classes and name in {"label", "predicted"} else values)
        for name, values in columns.items()
    })  # fmt: skip
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_scores(package: Package) -> dict[str, NDArray[Any]] | None:
    """Read the scored test rows of a package.

    Returns
    -------
    dict of str to ndarray, or None
        ``key`` (uint64, increasing), ``label``, ``weight``, ``score`` (float64), and for classes ``predicted``; None
        when the package has none, as those of clusters.

    Raises
    ------
    PackageError
        When the file holds something else.
    """
    import pyarrow.parquet as pq

    if SCORES not in package.contents:
        return None
    try:
        table = pq.read_table(io.BytesIO(package.contents[SCORES]))
        key = table.column("key").cast(pa.uint64()).to_numpy()
        others = {
            name: table.column(name).cast(pa.float64()).to_numpy()
            for name in (
                "label",
                "weight",
                "score",
                *(["predicted"] if "predicted" in table.schema.names else []),
            )
        }
    except (pa.ArrowException, KeyError) as error:
        raise PackageError(f"{SCORES} cannot be read: {error}", where=package.url) from error
    return {"key": key, **others}
