"""A pipeline written as an ONNX file, and run from one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import MissingExtraError, PackageError
from headrace.packaging.exports.times import MISSING_TIME

if TYPE_CHECKING:
    from headrace.packaging.exports.estimators import Precision
    from headrace.packaging.exports.graph import Sort
    from headrace.packaging.signature import Signature

MODEL = "model.onnx"
CELLS = 1 << 17
"""Values that the runtime is asked about at once: of 387 features of 60,000 rows its tensors took more than a gigabyte."""
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def write_onnx(pipeline: Any, signature: Signature, precision: Precision = "float64") -> bytes:
    """Write a pipeline of a `ColumnTransformer` and an estimator as ONNX.

    The file has an input of shape (rows, 1) for each column of the signature: float64 for numbers and booleans (NaN
    where one is missing), strings (`steps.MISSING_STRING` where one is missing), int64 microseconds since 1970 for
    times (`times.MISSING_TIME`). It has one output: ``probabilities`` of shape (rows, classes) in the order of
    ``signature.classes``, or ``prediction`` of shape (rows,).

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted.
    signature : Signature
        What it takes and gives.
    precision : {"float64", "float32"}
        Of the estimator's arithmetic; features are always computed in float64.

    Raises
    ------
    MissingExtraError
        Without the extra ``onnx``.
    PackageError
        When a step or the estimator has no converter.
    """
    _require("onnx", "skl2onnx")
    from onnx import TensorProto

    from headrace.packaging.exports.estimators import add_estimator
    from headrace.packaging.exports.graph import Graph, Value
    from headrace.packaging.exports.steps import add_transformer, column_transformer

    if signature.features_function is not None:
        raise PackageError("a feature function in Python cannot be written", where="ONNX")
    graph = Graph()
    columns = {column.name: graph.input(column.name, sort_of(column.kind)) for column in signature.inputs}
    (_, first), *others = pipeline.steps
    value = column_transformer(graph, first, columns)
    for _, step in others[:-1]:
        value = add_transformer(graph, step, value)
    features = Value(value.name, value.sort, others[-1][1].n_features_in_)
    output = add_estimator(graph, others[-1][1], features, precision)
    kinds = {"float64": TensorProto.DOUBLE, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    shape = ["rows", output.width] if output.says == "probabilities" else ["rows"]
    return graph.model({output.says: (output.name, kinds[output.kind], shape)})


class OnnxModel:
    """An ONNX file of `write_onnx`, ready to be asked.

    Parameters
    ----------
    content : bytes
        The file.
    signature : Signature
        Of the package that it lies in.
    threads : int
        Threads of one call.

    Raises
    ------
    MissingExtraError
        Without the extra ``onnx``.
    PackageError
        When the runtime cannot load it.
    """

    def __init__(self, content: bytes, signature: Signature, *, threads: int = 1) -> None:
        _require("onnxruntime")
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A file may say that its weights lie in files beside it, which would let a hostile one read ours: nothing lies
        # beneath the null device.
        options.add_session_config_entry(_WEIGHTS_FOLDER, os.devnull)
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has a dozen error classes that share no base
            raise PackageError(f"cannot be loaded: {error}", where=MODEL) from error
        self.says: str = self._session.get_outputs()[0].name
        self._sorts = {column.name: sort_of(column.kind) for column in signature.inputs}

    def ask(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Compute what the model says of rows, at least one, some at a time.

        Parameters
        ----------
        table : pyarrow.Table
            As `headrace.packaging.inputs.to_table` makes it.

        Returns
        -------
        ndarray
            Probabilities, shape (rows, classes), or predictions, shape (rows,).
        """
        feeds = {name: feed(table.column(name), sort) for name, sort in self._sorts.items()}
        step = max(1, CELLS // max(1, len(feeds)))
        return np.concatenate(
            [
                self.run({name: tensor[start : start + step] for name, tensor in feeds.items()})
                for start in range(0, table.num_rows, step)
            ]
        )

    def run(self, feeds: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Compute what the model says of tensors of shape (rows, 1), as `feed` makes them."""
        said: np.ndarray[Any, Any] = self._session.run([self.says], feeds)[0]
        return said


def feed(column: pa.ChunkedArray, sort: Sort) -> np.ndarray[Any, Any]:
    """Turn one conformed column into the tensor that the file takes, shape (rows, 1)."""
    from headrace.packaging.exports.steps import MISSING_STRING

    if sort == "strings" and pa.types.is_dictionary(column.type):
        return _texts(column, MISSING_STRING)
    if sort == "strings":
        filled = pc.fill_null(column, MISSING_STRING) if column.null_count else column
        return np.array(filled.to_pylist(), dtype=object).reshape(-1, 1)
    if sort == "times":
        times = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        filled = pc.fill_null(times, MISSING_TIME) if column.null_count else times
        return np.asarray(filled.to_numpy()).reshape(-1, 1)
    return np.asarray(column.to_numpy(), dtype=np.float64).reshape(-1, 1)


def _texts(column: pa.ChunkedArray, missing: str) -> np.ndarray[Any, Any]:
    """Make each distinct text a Python string once."""
    column = column.unify_dictionaries()
    parts = []
    for piece in column.chunks:
        known = np.array([*piece.dictionary.to_pylist(), missing], dtype=object)
        known[known == None] = missing  # noqa: E711 - compared element by element
        codes = piece.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
        parts.append(known[codes])
    texts = np.concatenate(parts) if parts else np.empty(0, dtype=object)
    return texts.reshape(-1, 1)


def sort_of(kind: str) -> Sort:
    """Say which sort of tensor a column of this kind becomes."""
    sorts: dict[str, Sort] = {
        "numeric": "numbers",
        "boolean": "numbers",
        "string": "strings",
        "datetime": "times",
    }
    if kind not in sorts:
        raise PackageError(f"a column of kind {kind!r} cannot be an input", where="ONNX")
    return sorts[kind]


def _require(*modules: str) -> None:
    from importlib.util import find_spec

    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError.for_extra(module, "onnx")
