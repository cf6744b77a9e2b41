"""What may be rebuilt from a model file: this loader's own list, never the package's."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from headrace.errors import PackageError
from headrace.packaging.fingerprint import model_digest

# Beyond what skops itself trusts (the estimators of scikit-learn, numpy arrays, plain containers).
TRUSTED = {
    "headrace.preparation.datetimes.DatetimeParts": "the one transformer of ours: parts of a time",
    "numpy.clip": "outlier limits in a FunctionTransformer: bounds values and does nothing else",
    "numpy.nan_to_num": "what a division by 0 gives becomes missing: replaces values and does nothing else",
    "numpy.polynomial.polynomial.polyval": "a number added or multiplied in a derived column: arithmetic alone",
    "numpy.prod": "columns multiplied in a derived column: arithmetic alone",
    "numpy.sum": "columns added in a derived column: arithmetic alone",
    "numpy.ravel": "texts of one column as one sequence, in a FunctionTransformer: does nothing else",
    "scipy._lib.array_api_compat.numpy._aliases.asarray": "what a B-spline makes arrays with",
    "scipy.interpolate._bsplines.BSpline": "the pieces of a SplineTransformer: knots and coefficients",
    "sklearn.impute._iterative.IterativeImputer": "filling by regression: holds linear regressions",
    "sklearn.impute._iterative._ImputerTriplet": "one regression of an IterativeImputer: columns and coefficients",
    "numpy.dtype": "the type of an encoder's output: read with allow_pickle=False",
    "sklearn.calibration._CalibratedClassifier": "calibrated probabilities: an estimator and its curve",
    "sklearn.calibration._SigmoidCalibration": "the logistic curve of a calibration: two numbers",
    "sklearn.utils._bunch.Bunch": "members of an ensemble by name: a dictionary",
    "xgboost.core.Booster": "boosted trees: bytes that XGBoost's own reader takes, without pickle",
    "xgboost.sklearn.XGBClassifier": "boosted trees: parameters and a Booster",
    "xgboost.sklearn.XGBRegressor": "boosted trees: parameters and a Booster",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer": "state of an MLP: arrays and numbers",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer": "state of an MLP: arrays and numbers",
}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
SCHEMA = "schema.json"


def dump_pipeline(pipeline: Any) -> bytes:
    """Write a pipeline as skops, in bytes that depend on the model alone where that is possible.

    skops names objects and files by memory address and stamps the time. Addresses are numbered anew in
    the order in which they appear, and the zip is written sorted and without a time. The result is kept
    only if it loads as the same model; otherwise skops' own bytes are.

    Raises
    ------
    PackageError
        When the pipeline holds what skops cannot write, or what could not be loaded again.
    """
    from headrace import skopsio

    try:
        written = skopsio.dumps(pipeline)
    except Exception as error:
        raise PackageError(
            f"the model cannot be written as skops: {error}",
            where=type(pipeline).__name__,
            mend="use estimators and functions that can be imported by name",
        ) from error
    expected = model_digest(pipeline)
    stable = _stable(written)
    for candidate in (stable, written):
        if model_digest(load_pipeline(candidate, where="pipeline.skops")) == expected:
            return candidate
    raise PackageError(
        "the model does not survive being written and read again",
        where=type(pipeline).__name__,
        mend="keep what it has learnt in public attributes that end with _",
    )


def load_pipeline(data: bytes, *, where: str) -> Any:
    """Rebuild a pipeline from skops bytes; nothing is unpickled.

    Parameters
    ----------
    data : bytes
        The content of a ``.skops`` file.
    where : str
        The file, for errors.

    Raises
    ------
    PackageError
        When it is not skops, is damaged, or names a type that is not trusted.
    """
    from headrace import skopsio

    refused = [name for name in _untrusted(data, where) if name not in TRUSTED]
    if refused:
        raise PackageError(
            f"holds types that are not trusted: {', '.join(refused)}",
            where=where,
            mend="nothing was loaded; train the model with trusted types or load it by hand",
        )
    try:
        return skopsio.loads(data, trusted=list(TRUSTED))
    except Exception as error:
        raise PackageError(f"cannot be loaded: {type(error).__name__}: {error}", where=where) from error


def require_function(named: str | None, trusted: str | None, *, where: str) -> None:
    """Hold the feature function that a package names against the one that its reader trusts.

    Whatever is imported by a name that the package chose is code that the package chose: ``subprocess:call`` on a frame
    would run a program that the names of its columns spell.

    Raises
    ------
    PackageError
        When the package names one, and the reader has not named the same.
    """
    if named is not None and named != trusted:
        raise PackageError(
            f"calls the function {named!r} of your machine before it predicts",
            where=where,
            mend=f"if you trust that code, name it: hr.load(..., features={named!r}), or headrace score --features {named}",
        )


def needed_trust(data: bytes) -> list[str]:
    """Types in skops bytes that a reader must name to ``skops.io.load(trusted=...)``."""
    return _untrusted(data, "pipeline.skops")


def _untrusted(data: bytes, where: str) -> list[str]:
    from headrace import skopsio

    try:
        return list(skopsio.get_untrusted_types(data=data))
    except Exception as error:  # a hostile file can make the parser fail in any way
        raise PackageError(
            f"is not a skops file: {type(error).__name__}: {error}",
            where=where,
            mend="nothing was loaded; publish the model anew",
        ) from error


def _stable(written: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(written)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    numbers: dict[Any, int] = {}
    files: dict[str, str] = {}
    schema = _renumber(json.loads(members.pop(SCHEMA)), numbers, files, frozenset(members))
    if set(files) != set(members):
        return written
    renamed = {files[name]: content for name, content in members.items()}
    renamed[SCHEMA] = json.dumps(schema, separators=(",", ":")).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(renamed):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), renamed[name])
    return target.getvalue()


def _renumber(node: Any, numbers: dict[Any, int], files: dict[str, str], members: frozenset[str]) -> Any:
    if isinstance(node, list):
        return [_renumber(item, numbers, files, members) for item in node]
    if not isinstance(node, dict):
        return node
    renewed: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__" and isinstance(value, int):
            # whether equal constants are one object differs between processes and means nothing
            seen: Any = object() if node.get("__loader__") == "JsonNode" else value
            renewed[key] = numbers.setdefault(seen, len(numbers) + 1)
        elif key == "file" and isinstance(value, str) and value in members:
            suffix = value[value.rindex(".") :]
            renewed[key] = files.setdefault(value, f"{len(files):04d}{suffix}")
        else:
            renewed[key] = _renumber(value, numbers, files, members)
    return renewed
