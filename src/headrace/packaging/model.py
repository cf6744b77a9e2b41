"""Model: a package made callable on frames of any library."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data import storage
from headrace.data.features import apply_function
from headrace.data.pii import treat
from headrace.errors import InputError
from headrace.packaging.inputs import to_arrow_frame, to_frame, to_table, whole_table
from headrace.packaging.package import MANIFEST, read_package
from headrace.packaging.registry import Registry
from headrace.packaging.signing import require_signature
from headrace.packaging.trust import require_function

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.packaging.package import Manifest, Package
    from headrace.packaging.signature import Signature


class Model:
    """A model that can be asked.

    It takes a pandas or polars frame, an Arrow table or batch, anything with ``__arrow_c_stream__``, a
    list of rows (dicts) or a dict of columns. Columns are checked against the signature: a missing one is
    refused, others are ignored, values are converted where nothing is lost.

    Parameters
    ----------
    package : Package
        As `read_package` gives it, hashes checked.
    features : str, optional
        The feature function that is trusted, ``module:function``, when the model was trained with one.

    Raises
    ------
    PackageError
        When the package holds types that are not trusted, or names a feature function other than `features`.

    Attributes
    ----------
    url : str
        Where the package is.
    manifest : Manifest
        What the package holds.
    pipeline : scikit-learn pipeline
        The fitted model itself.
    """

    def __init__(self, package: Package, *, features: str | None = None) -> None:
        self.url = package.url
        self.manifest: Manifest = package.manifest
        require_function(self.signature.features_function, features, where=self.url)
        self.pipeline = package.model()
        self._labels = _labels(self.pipeline, self.signature)

    def __repr__(self) -> str:
        return f"Model({self.url!r}, {self.signature.task}, model_sha256={self.manifest.model_sha256[:12]!r})"

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self.manifest.signature

    def predict(self, data: Any) -> np.ndarray[Any, Any]:
        """Predict labels, values or cluster numbers.

        Parameters
        ----------
        data : frame, list of dict, or dict of sequences
            The rows to predict.

        Returns
        -------
        ndarray of shape (n_rows,)

        Raises
        ------
        InputError
            When a column is missing or a value is of the wrong kind; the column is named.
        """
        frame = self.frame(data)
        if not len(frame):
            return np.empty(0, dtype=np.int64 if self._labels is None else self._labels.dtype)
        predicted = self._ask(self.pipeline.predict, frame)
        return predicted if self._labels is None else self._labels[predicted.astype(np.intp)]

    def predict_proba(self, data: Any) -> np.ndarray[Any, Any]:
        """Predict the probability of each class.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Columns in the order of ``signature.classes``.

        Raises
        ------
        InputError
            As `predict`; also when the model gives no probabilities.
        """
        if not hasattr(self.pipeline, "predict_proba"):
            raise InputError(
                f"this {self.signature.task} model gives no probabilities", where=self.url, mend="use predict"
            )
        frame = self.frame(data)
        if not len(frame):
            return np.empty((0, len(self.signature.classes)))
        return self._ask(self.pipeline.predict_proba, frame)

    def frame(self, data: Any) -> Any:
        """Make the pandas frame that `pipeline` reads, after the feature function if there is one."""
        signature = self.signature
        if signature.features_function is None:
            return to_frame(treat(to_table(data, signature.inputs), signature.pii))
        raw = to_arrow_frame(treat(whole_table(data, signature.raw_inputs), signature.pii))
        made = apply_function(raw, signature.features_function)
        return to_frame(to_table(made, signature.inputs))

    def _ask(self, method: Callable[[Any], Any], frame: Any) -> np.ndarray[Any, Any]:
        try:
            # A division by 0 in a derived column is a missing value, and nothing to warn of.
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(method(frame))
        except ValueError as error:  # such as NaN in a column that was never missing, or an infinity
            first = str(error).partition("\n")[0]
            raise InputError(f"the model cannot be given these rows: {first}", where=self.url) from error

    def _repr_html_(self) -> str:
        manifest = self.manifest
        metric = manifest.metric
        rows = [
            ("Task", self.signature.task),
            ("Target", self.signature.target or ""),
            ("Inputs", ", ".join(column.name for column in self.signature.inputs)),
            ("Classes", ", ".join(str(label) for label in self.signature.classes)),
            ("Metric", f"{metric['name']} {metric['value']:.4g}" if metric else ""),
            ("Created", manifest.created),
            ("Model hash", manifest.model_sha256),
            ("Package", self.url),
        ]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in rows
            if value
        )
        return f"<table><caption>headrace model</caption>{cells}</table>"


def load(reference: str | Path, registry: str | Path = "registry", *, features: str | None = None) -> Model:
    """Load a model by name from a registry, or from the folder of a package.

    Parameters
    ----------
    reference : str or path
        ``late`` (its champion), ``late@3``, ``late@challenger``, ``late@latest``; or a path or URL of a
        package such as ``runs/1/model``.
    registry : str or path
        Folder or URL of the registry.
    features : str, optional
        The feature function of the model, ``module:function``, if it has one: no package can make this call code that
        you have not named.

    Returns
    -------
    Model
        Ready to predict.

    Raises
    ------
    InputError
        When there is no such model.
    PackageError
        When the package is damaged, holds types or names a function that are not trusted, or is signed by none of the
        keys that the variable ``HEADRACE_TRUSTED_KEYS`` names; nothing is then loaded.
    """
    text = str(reference)
    if "/" in text or storage.exists(storage.join(text, MANIFEST)):
        package, version = read_package(text), None
    else:
        versions = Registry(registry)
        version = versions.named(text)
        package = read_package(versions.resolve(version))
    require_signature(package, version=version)
    return Model(package, features=features)


def _labels(pipeline: Any, signature: Signature) -> np.ndarray[Any, Any] | None:
    """Labels by code, when the pipeline was fitted on codes rather than on the labels themselves."""
    if not signature.classes:
        return None
    held = np.asarray(getattr(pipeline, "classes_", signature.classes)).tolist()
    if held == list(signature.classes) or held != list(range(len(signature.classes))):
        return None
    return np.asarray(signature.classes)
