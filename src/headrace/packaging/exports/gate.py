"""The gate: an export is held against the scikit-learn pipeline, row by row, and refused where they differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import PackageError
from headrace.packaging.exports.onnx_file import OnnxModel, write_onnx
from headrace.packaging.exports.rows import hard_rows
from headrace.packaging.exports.thresholds import threshold_rows
from headrace.packaging.inputs import to_frame, to_table
from headrace.packaging.signature import finite

if TYPE_CHECKING:
    from headrace.packaging.exports.estimators import Precision
    from headrace.packaging.signature import Signature
    from headrace.profiling.profile import Profile

TOLERANCE: dict[Precision, float] = {"float64": 1e-9, "float32": 1e-4}
"""Largest difference of a probability, or of a prediction as a share of its size where that is above 1."""


class Export(Protocol):
    """A model in another form than its pipeline, ready to be asked."""

    says: str
    """``probabilities`` or ``prediction``."""

    def ask(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Compute what it says of conformed rows: probabilities, shape (rows, classes), or predictions, shape (rows,)."""
        ...


@dataclass(frozen=True)
class GateRows:
    """What a pipeline and its exports are asked about."""

    table: pa.Table
    """Rows, conformed to the signature: those drawn from the profile, at thresholds of trees, and of the test data."""
    drawn: int
    """How many are not of the test data."""
    at_thresholds: int
    """Those of them that lie at thresholds of trees."""


@dataclass(frozen=True)
class GateResult:
    """What the gate has found."""

    kind: str
    """A format, such as ``onnx``."""
    precision: str
    passed: bool
    rows: int
    """Rows compared."""
    drawn: int
    """Those of them that were drawn from the profile, and at thresholds; the others are rows of the test data."""
    at_thresholds: int
    """Those drawn that lie at thresholds of trees."""
    largest_difference: float
    tolerance: float
    worst: dict[str, Any] | None
    """The row with the largest difference, and what either said of it; of a row of the test data its place only, as
    a manifest goes where data may not."""
    reason: str = ""
    """Why nothing could be compared."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return dict(finite(asdict(self)))


def compare(
    pipeline: Any, model: Export, rows: GateRows, precision: Precision, *, kind: str = "onnx"
) -> GateResult:
    """Ask a pipeline and its export about the same rows.

    Parameters
    ----------
    pipeline : scikit-learn pipeline
        Fitted.
    model : Export
        Its export.
    rows : GateRows
    precision : {"float64", "float32"}
        Of the export.
    kind : str
        The format.
    """
    table = rows.table
    frame = to_frame(table)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = pipeline.predict_proba(frame) if model.says == "probabilities" else pipeline.predict(frame)
        said = model.ask(table)
    expected = np.asarray(expected, dtype=np.float64).reshape(len(frame), -1)
    said = said.astype(np.float64).reshape(len(frame), -1)
    if said.shape != expected.shape:
        raise PackageError(f"gives {said.shape[1]} numbers a row, not {expected.shape[1]}", where=model.says)
    size = np.maximum(1.0, np.abs(expected)) if model.says == "prediction" else 1.0
    with np.errstate(invalid="ignore"):
        difference = np.abs(said - expected) / size
    # Equal infinities and NaN on both sides are no difference; on one side they are the largest.
    same = (said == expected) | (np.isnan(said) & np.isnan(expected))
    difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference)).max(axis=1)
    at = int(difference.argmax())
    largest = float(difference[at])
    passed = largest <= TOLERANCE[precision]
    named = {"row": table.slice(at, 1).to_pylist()[0]} if at < rows.drawn else {"test_row": at - rows.drawn}
    worst = {
        **named,
        "expected": expected[at].tolist(),
        "said": said[at].tolist(),
    }
    return GateResult(
        kind,
        precision,
        passed,
        table.num_rows,
        rows.drawn,
        rows.at_thresholds,
        largest,
        TOLERANCE[precision],
        None if largest == 0 else worst,
    )


def gate_rows(
    pipeline: Any, signature: Signature, profile: Profile, sample: pa.Table | None = None
) -> GateRows:
    """Put rows drawn from the profile, rows at thresholds of the pipeline's trees, and rows of the test data together."""
    hard = to_table(hard_rows(profile, signature), signature.inputs)
    parted = threshold_rows(pipeline, signature, hard)
    drawn = pa.concat_tables([hard, parted])
    if sample is None or sample.num_rows == 0:
        return GateRows(drawn, drawn.num_rows, parted.num_rows)
    rows = to_table(sample, signature.inputs)
    # scikit-learn takes no infinity, so that there is nothing to compare
    finite = np.ones(rows.num_rows, dtype=bool)
    for field in rows.schema:
        if pa.types.is_floating(field.type):
            finite &= np.asarray(pc.fill_null(pc.is_finite(rows.column(field.name)), True))
    table = pa.concat_tables([drawn, rows.filter(pa.array(finite))])
    return GateRows(table, drawn.num_rows, parted.num_rows)


def export_onnx(
    pipeline: Any, signature: Signature, profile: Profile, sample: pa.Table | None = None
) -> tuple[bytes | None, GateResult]:
    """Write a pipeline as ONNX and hold it against the pipeline.

    Parameters
    ----------
    pipeline : scikit-learn pipeline
        Fitted.
    signature : Signature
        What it takes and gives.
    profile : Profile
        Of the training rows.
    sample : pyarrow.Table, optional
        Rows of the test data.

    Returns
    -------
    content : bytes or None
        The file, in float64, or in float32 where the runtime has no float64; None when neither passed.
    result : GateResult
        Of the file, or of the best try.

    Raises
    ------
    MissingExtraError
        Without the extra ``onnx``.
    """
    rows = gate_rows(pipeline, signature, profile, sample)
    results = []
    precisions: tuple[Precision, ...] = ("float64", "float32")
    for precision in precisions:
        try:
            content = write_onnx(pipeline, signature, precision)
            result = compare(pipeline, OnnxModel(content, signature), rows, precision)
        except PackageError as error:
            result = GateResult(
                "onnx", precision, False, 0, 0, 0, 0.0, TOLERANCE[precision], None, reason=str(error)
            )
        else:
            if result.passed:
                return content, result
        results.append(result)
    return None, min(results, key=lambda result: (result.rows == 0, result.largest_difference))
