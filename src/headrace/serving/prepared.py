"""A preparation as JSON beside the pipeline, so that many rows are prepared as in training: compiled, from Arrow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError
from headrace.packaging.exports.files import Candidate
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.packaging.package import Package

PREPARATION = "preparation.json"


def write_preparation(preparation: Preparation) -> bytes:
    """Write what becomes of the columns; which rows are not trained on is of no matter to who is scored."""
    return replace(preparation, dropped=(), rules=()).to_json().encode()


def read_preparation(package: Package) -> Preparation | None:
    """Read what the pipeline of a package begins with; None when it was written without."""
    content = package.contents.get(PREPARATION)
    return None if content is None else Preparation.from_json(content.decode())


def candidates(pipeline: Any, content: bytes | None) -> dict[str, Candidate]:
    """Say what is held against a pipeline by the gate: its preparation, unless it is not there or cannot be compared."""
    if content is None:
        return {}
    try:
        return {"preparation": Candidate(PREPARATION, content, PreparedModel(content, pipeline))}
    except PackageError:  # which is asked by its pipeline, and nothing is lost
        return {}


class PreparedModel:
    """The estimator of a pipeline, asked about rows that the compiled path has prepared.

    Parameters
    ----------
    content : bytes
        From `write_preparation`.
    pipeline : sklearn.pipeline.Pipeline
        Fitted: the transformer of that preparation, and what follows it.
    native : bool
        Whether rows are written by compiled loops, where numba is installed: the same numbers.

    Attributes
    ----------
    says : {"probabilities", "prediction"}

    Raises
    ------
    PackageError
        When what is said would be labels, which `headrace.packaging.exports.gate` cannot compare.
    """

    def __init__(self, content: bytes, pipeline: Any, *, native: bool = False) -> None:
        self._compiled = CompiledPreparation(Preparation.from_json(content.decode()), native=native)
        self._dense = not pipeline.steps[0][1].sparse_output_
        self._estimator = pipeline[1:]
        self.says = "probabilities" if hasattr(pipeline, "predict_proba") else "prediction"
        if self.says == "prediction" and hasattr(pipeline, "classes_"):
            raise PackageError("the estimator gives no probabilities", where=PREPARATION)

    def ask(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Compute what the model says of conformed rows; text may come dictionary-encoded, which is the fast way.

        Returns
        -------
        ndarray
            Probabilities, shape (rows, classes), or predictions, shape (rows,).
        """
        X = self._compiled.transform(table, np.float64)
        if self._dense and not isinstance(X, np.ndarray):
            X = X.toarray()
        ask = self._estimator.predict_proba if self.says == "probabilities" else self._estimator.predict
        return np.asarray(ask(X))
