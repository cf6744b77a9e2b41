"""Exports of a package on demand: one file written, or all that it holds verified again."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from headrace.data.storage import join, write_bytes
from headrace.errors import InputError, MissingExtraError, PackageError
from headrace.packaging.exports.gate import compare, export_onnx, gate_rows
from headrace.packaging.exports.onnx_file import MODEL, OnnxModel
from headrace.packaging.package import PIPELINE
from headrace.profiling.profile import Profile

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.packaging.package import Package
    from headrace.packaging.signature import Signature

FORMATS = ("onnx", "skops", "pickle")
MOST_INPUTS = 2_000
"""Columns beyond which ONNX is written on demand only: the runtime looks for the name of each input among all, and so
takes longer for a row than scikit-learn (2,000 columns: 67 and 89 ms, 4,000: 287 and 140, 10,000: 1,066 and 243)."""


@dataclass(frozen=True)
class Exports:
    """What a package holds beside the pipeline."""

    files: dict[str, bytes]
    gates: dict[str, dict[str, Any]]
    """What the gate has found, by format; also of one that was refused."""
    notes: tuple[str, ...]
    """Why a format is not there."""


def exports_of(
    pipeline: Any, signature: Signature, profile: Profile, sample: pa.Table | None = None
) -> Exports:
    """Write a pipeline in every format whose extra is installed and which passes its gate; of very many columns in none.

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
    """
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        return Exports({}, {}, ())
    if len(signature.inputs) > MOST_INPUTS:
        why = f"of {len(signature.inputs):,} columns scikit-learn is the faster"
        return Exports({}, {}, (f"the package has no {MODEL}: {why}; headrace models export writes it",))
    try:
        content, result = export_onnx(pipeline, signature, profile, sample)
    except MissingExtraError:
        return Exports({}, {}, ())
    gates = {"onnx": result.to_dict()}
    if content is None:
        why = result.reason or f"differs from the pipeline by {result.largest_difference:.3g}"
        return Exports({}, gates, (f"the package has no {MODEL}: {why}",))
    return Exports({MODEL: content}, gates, ())


def export_file(
    package: Package, directory: str, form: str, *, allow_pickle: bool = False
) -> tuple[str, dict[str, Any] | None]:
    """Write a model in one format.

    Parameters
    ----------
    package : Package
        The model.
    directory : str
        Where the file is written.
    form : {"onnx", "skops", "pickle"}
        The format.
    allow_pickle : bool
        Whether a file may be written that runs code when it is loaded.

    Returns
    -------
    path : str
        The file.
    result : dict or None
        What the gate has found, of formats that have one.

    Raises
    ------
    InputError
        When the format is unknown, or a pickle is not allowed.
    PackageError
        When the export differs from the pipeline; the worst row is named, and nothing is written.
    """
    if form == "skops":
        return _written(directory, PIPELINE, package.contents[PIPELINE]), None
    if form == "pickle":
        if not allow_pickle:
            raise InputError(
                "a pickle runs code when it is loaded",
                where="--format pickle",
                mend="export skops or onnx, or add --allow-pickle",
            )
        return _written(directory, "model.pkl", pickle.dumps(package.model())), None
    if form != "onnx":
        raise InputError(f"{form!r} is no format", where="--format", mend=f"use one of {', '.join(FORMATS)}")
    if MODEL in package.contents:
        return _written(directory, MODEL, package.contents[MODEL]), package.manifest.gates.get("onnx")
    content, result = export_onnx(
        package.model(), package.manifest.signature, Profile.from_dict(package.profile)
    )
    if content is None:
        why = result.reason or (
            f"differs from the pipeline by {result.largest_difference:.3g}, worst at {result.worst}"
        )
        raise PackageError(why, where="onnx", mend="nothing was written; export skops")
    return _written(directory, MODEL, content), result.to_dict()


def verify_package(package: Package) -> dict[str, dict[str, Any]]:
    """Hold each exported file of a package against its pipeline again.

    Returns
    -------
    dict of str to dict
        By format; empty when the package holds none beside the pipeline.
    """
    if MODEL not in package.contents:
        return {}
    signature = package.manifest.signature
    rows, drawn = gate_rows(Profile.from_dict(package.profile), signature)
    precision = package.manifest.gates.get("onnx", {}).get("precision", "float64")
    model = OnnxModel(package.contents[MODEL], signature)
    return {"onnx": compare(package.model(), model, rows, precision, drawn).to_dict()}


def _written(directory: str, name: str, content: bytes) -> str:
    path = join(directory, name)
    write_bytes(path, content)
    return path
