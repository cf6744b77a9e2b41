"""A package made callable: the guard of its inputs, then ONNX Runtime, or scikit-learn where there is no ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import InputError, PackageError
from headrace.packaging.exports.onnx_file import MODEL, OnnxModel
from headrace.profiling.profile import Profile
from headrace.serving.feeds import frame_of
from headrace.serving.guard import Guard
from headrace.serving.options import GuardOptions

if TYPE_CHECKING:
    from headrace.packaging.package import Package
    from headrace.serving.feeds import Feeds
    from headrace.serving.guard import Finding


@dataclass(frozen=True)
class Answer:
    """What a model says of the rows of one request."""

    outputs: np.ndarray[Any, Any]
    """Probabilities, shape (rows, classes), or predictions, shape (rows,)."""
    labels: np.ndarray[Any, Any]
    """Classes, or predictions, shape (rows,)."""
    findings: list[Finding]
    """What the guard has found."""
    rejected: np.ndarray[Any, Any]
    """Rows that get no answer, shape (rows,), bool."""


class Predictor:
    """Answers for one version of a model.

    Parameters
    ----------
    package : Package
        Its hashes have been checked.
    guard : GuardOptions, optional
        What is done with inputs that training has not seen.
    threads : int
        Threads of one call of ONNX Runtime.

    Attributes
    ----------
    runtime : str
        ``onnxruntime`` when the package holds an ONNX file that passed its gate and the runtime is installed,
        else ``scikit-learn``.

    Raises
    ------
    PackageError
        When the model cannot be loaded, or needs a feature function, which a server does not run.
    """

    def __init__(self, package: Package, guard: GuardOptions | None = None, *, threads: int = 1) -> None:
        self.manifest = package.manifest
        self.signature = package.manifest.signature
        self.profile = Profile.from_dict(package.profile)
        self.guard = Guard(self.signature, self.profile, guard or GuardOptions())
        if self.signature.features_function is not None:
            raise PackageError(
                "needs a feature function, which is not served",
                where=package.url,
                mend="write its columns into the data, or use headrace score",
            )
        passed = package.manifest.gates.get("onnx", {}).get("passed", False)
        self._onnx: OnnxModel | None = None
        self._pipeline: Any = None
        if passed and MODEL in package.contents and find_spec("onnxruntime") is not None:
            self._onnx = OnnxModel(package.contents[MODEL], self.signature, threads=threads)
        else:
            self._pipeline = package.model()
        self.runtime = "scikit-learn" if self._onnx is None else "onnxruntime"
        self._classes = np.asarray(self.signature.classes) if self.signature.classes else None

    def answer(self, feeds: Feeds) -> Answer:
        """Answer for rows.

        Parameters
        ----------
        feeds : dict of str to ndarray, shape (rows, 1)
            As `headrace.serving.feeds` makes them.

        Raises
        ------
        InputError
            When there are no rows.
        """
        rows = len(next(iter(feeds.values())))
        if rows == 0:
            raise InputError("there are no rows", mend="give at least one")
        feeds, findings = self.guard.check(feeds)
        rejected = np.zeros(rows, bool)
        for finding in findings:
            if finding.rejected:
                rejected[finding.rows] = True
        outputs = self.outputs(feeds)
        return Answer(outputs, self._labels(outputs), findings, rejected)

    def outputs(self, feeds: Feeds) -> np.ndarray[Any, Any]:
        """Compute what the model says, unguarded: probabilities (rows, classes), or predictions (rows,).

        Raises
        ------
        InputError
            When the pipeline cannot be given such values, as a number that is infinite once it is scaled.
        """
        if self._onnx is not None:
            return self._onnx.run(feeds)
        frame = frame_of(feeds, self.signature.inputs)
        ask = getattr(self._pipeline, "predict_proba", self._pipeline.predict)
        try:
            return np.asarray(ask(frame))
        except ValueError as error:
            first = str(error).partition("\n")[0]
            raise InputError(f"the model cannot be given these rows: {first}", where="body") from error

    def _labels(self, outputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self._classes is None or outputs.ndim == 1:
            return outputs
        labels: np.ndarray[Any, Any] = self._classes[self.signature.codes(outputs)]
        return labels
