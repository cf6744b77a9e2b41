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
from headrace.packaging.exports.pmml_elements import PMML
from headrace.packaging.exports.pmml_evaluator import PmmlModel
from headrace.packaging.exports.pmml_file import write_pmml
from headrace.packaging.package import PIPELINE
from headrace.profiling.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from headrace.packaging.exports.gate import Export, GateResult
    from headrace.packaging.package import Package
    from headrace.packaging.signature import Signature
    from headrace.preparation.fitted import Preparation

FORMATS = ("onnx", "pmml", "skops", "pickle")
MOST_INPUTS = 2_000
"""Columns beyond which ONNX is written on demand only: the runtime looks for the name of each input among all, and so
takes longer for a row than scikit-learn (2,000 columns: 67 and 89 ms, 4,000: 287 and 140, 10,000: 1,066 and 243)."""


@dataclass(frozen=True)
class Candidate:
    """A file that may go into a package once it has passed its gate."""

    name: str
    content: bytes
    model: Export
    """What it says, to be compared."""


@dataclass(frozen=True)
class Exports:
    """What a package holds beside the pipeline."""

    files: dict[str, bytes]
    gates: dict[str, dict[str, Any]]
    """What the gate has found, by format; also of one that was refused."""
    notes: tuple[str, ...]
    """Why a format is not there."""


def exports_of(
    pipeline: Any,
    signature: Signature,
    profile: Profile,
    sample: pa.Table | None = None,
    further: Mapping[str, Candidate] | None = None,
) -> Exports:
    """Write a pipeline in every format whose extra is installed and which passes its gate; of very many columns not as ONNX.

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
    further : mapping of str to Candidate, optional
        Other files that go into the package when they pass the gate, by format.
    """
    made = [_onnx(pipeline, signature, profile, sample)]
    for form, candidate in (further or {}).items():
        made.append(_passed(form, candidate, pipeline, signature, profile, sample))
    return Exports(
        {name: content for each in made for name, content in each.files.items()},
        {form: found for each in made for form, found in each.gates.items()},
        tuple(note for each in made for note in each.notes),
    )


def _passed(
    form: str,
    candidate: Candidate,
    pipeline: Any,
    signature: Signature,
    profile: Profile,
    sample: pa.Table | None,
) -> Exports:
    rows = gate_rows(pipeline, signature, profile, sample)
    result = compare(pipeline, candidate.model, rows, "float64", kind=form)
    if not result.passed:
        why = f"differs from the pipeline by {result.largest_difference:.3g}"
        return Exports({}, {form: result.to_dict()}, (f"the package has no {candidate.name}: {why}",))
    return Exports({candidate.name: candidate.content}, {form: result.to_dict()}, ())


def _onnx(pipeline: Any, signature: Signature, profile: Profile, sample: pa.Table | None) -> Exports:
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
    package: Package,
    directory: str,
    form: str,
    *,
    allow_pickle: bool = False,
    preparation: Preparation | None = None,
) -> tuple[str, dict[str, Any] | None]:
    """Write a model in one format.

    Parameters
    ----------
    package : Package
        The model.
    directory : str
        Where the file is written.
    form : {"onnx", "pmml", "skops", "pickle"}
        The format.
    allow_pickle : bool
        Whether a file may be written that runs code when it is loaded.
    preparation : Preparation, optional
        That the pipeline begins with; PMML is written of it.

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
    if form not in {"onnx", "pmml"}:
        raise InputError(f"{form!r} is no format", where="--format", mend=f"use one of {', '.join(FORMATS)}")
    if form == "onnx" and MODEL in package.contents:
        return _written(directory, MODEL, package.contents[MODEL]), package.manifest.gates.get(form)
    signature, profile = package.manifest.signature, Profile.from_dict(package.profile)
    content, result = (
        export_onnx(package.model(), signature, profile)
        if form == "onnx"
        else _export_pmml(package, signature, profile, preparation)
    )
    if content is None or not result.passed:
        why = result.reason or (
            f"differs from the pipeline by {result.largest_difference:.3g}, worst at {result.worst}"
        )
        raise PackageError(why, where=form, mend="nothing was written; export skops")
    return _written(directory, MODEL if form == "onnx" else PMML, content), result.to_dict()


def _export_pmml(
    package: Package, signature: Signature, profile: Profile, preparation: Preparation | None
) -> tuple[bytes, GateResult]:
    if preparation is None:
        raise PackageError(
            "holds no preparation, of which PMML is written",
            where=package.url,
            mend="run the workflow again with this version of headrace",
        )
    pipeline = package.model()
    content, precision = write_pmml(pipeline, preparation, signature)
    rows = gate_rows(pipeline, signature, profile)
    return content, compare(pipeline, PmmlModel(content, signature), rows, precision, kind="pmml")


def verify_package(
    package: Package, further: Mapping[str, Candidate] | None = None
) -> dict[str, dict[str, Any]]:
    """Hold each exported file of a package against its pipeline again.

    Parameters
    ----------
    package : Package
        Its hashes have been checked.
    further : mapping of str to Candidate, optional
        Files of the package beside ``model.onnx`` that have a gate, by format.

    Returns
    -------
    dict of str to dict
        By format; empty when the package holds none beside the pipeline.
    """
    signature = package.manifest.signature
    held = {form: candidate.model for form, candidate in (further or {}).items()}
    if MODEL in package.contents:
        held = {"onnx": OnnxModel(package.contents[MODEL], signature), **held}
    if not held:
        return {}
    pipeline = package.model()
    rows = gate_rows(pipeline, signature, Profile.from_dict(package.profile))
    found = {}
    for form, model in held.items():
        precision = package.manifest.gates.get(form, {}).get("precision", "float64")
        found[form] = compare(pipeline, model, rows, precision, kind=form).to_dict()
    return found


def _written(directory: str, name: str, content: bytes) -> str:
    path = join(directory, name)
    write_bytes(path, content)
    return path
