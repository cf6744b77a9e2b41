"""A model asked about many rows in the fastest way that passed its gate, some rows at a time."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.packaging.exports.onnx_file import MODEL, OnnxModel
from headrace.packaging.inputs import to_frame
from headrace.serving.prepared import PREPARATION, PreparedModel

if TYPE_CHECKING:
    from headrace.packaging.exports.gate import Export
    from headrace.packaging.package import Package

CELLS = 1 << 20
"""Values of inputs that are asked about at once: what is made of 500,000 rows in one piece ended workers of 1 GiB."""

MANY = 500_000
"""Rows below which ONNX Runtime has answered before scikit-learn is loaded: with skops that is three seconds of a core."""


class PipelineModel:
    """The scikit-learn pipeline itself.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted.
    """

    def __init__(self, pipeline: Any) -> None:
        self.says = "probabilities" if hasattr(pipeline, "predict_proba") else "prediction"
        self._ask = getattr(pipeline, "predict_proba", pipeline.predict)

    def ask(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Compute what the pipeline says of conformed rows."""
        held = {
            field.name: column.cast(field.type.value_type) if pa.types.is_dictionary(field.type) else column
            for field, column in zip(table.schema, table.columns, strict=True)
        }
        return np.asarray(self._ask(to_frame(pa.table(held))))


def model_of(package: Package, *, rows: int, native: bool) -> Export:
    """Take the fastest way to ask a model: ONNX Runtime about few rows, many prepared as in training, or its pipeline.

    Parameters
    ----------
    package : Package
        Its hashes have been checked.
    rows : int
        About how many it will be asked.
    native : bool
        Whether loops are compiled, where numba is installed: the same numbers.

    Raises
    ------
    PackageError
        When the model cannot be loaded.
    """
    passed = {form for form, found in package.manifest.gates.items() if found.get("passed")}
    onnx = "onnx" in passed and MODEL in package.contents and find_spec("onnxruntime") is not None
    prepared = "preparation" in passed and PREPARATION in package.contents
    if prepared and not (onnx and rows < MANY):
        return PreparedModel(package.contents[PREPARATION], package.model(), native=native)
    return (
        OnnxModel(package.contents[MODEL], package.manifest.signature)
        if onnx
        else PipelineModel(package.model())
    )


def ask(model: Export, table: pa.Table) -> np.ndarray[Any, Any]:
    """Ask a model about conformed rows, at least one, so that what is made on the way takes bounded memory."""
    step = max(1, CELLS // max(1, table.num_columns))
    parts = [model.ask(table.slice(start, step)) for start in range(0, table.num_rows, step)]
    return np.concatenate(parts)
