"""A mirror: one version of a model shown in MLflow, as a run with its files and as a registered version."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import InputError, MissingExtraError, StorageError
from headrace.packaging.package import MANIFEST, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

    from headrace.packaging.package import Package

MANIFEST_TAG = "headrace.manifest_sha256"
FOLDER = "model"
_LONGEST = 500
"""Characters of a parameter; servers refuse some above."""


@dataclass(frozen=True)
class Mirrored:
    """Where MLflow shows it."""

    experiment: str
    run_id: str
    version: str
    """Of the registered model, as MLflow counts."""


def mirror(package: Package, name: str, version: str, uri: str) -> Mirrored:
    """Show a version in MLflow: parameters of the estimator, metrics with their intervals, tags, and every file.

    What is registered there points to the files of the run. The registry of headrace stays the one that decides.

    Parameters
    ----------
    package : Package
        Its hashes have been checked.
    name : str
        Of the experiment and of the registered model.
    version : str
        As the registry of headrace names it: ``late@3``.
    uri : str
        Of the tracking server.

    Raises
    ------
    InputError
        When the server shows this version already.
    StorageError
        When the server cannot be asked or refuses.
    MissingExtraError
        Without the extra ``mlflow``.
    """
    if find_spec("mlflow") is None:
        raise MissingExtraError.for_extra("mlflow-skinny", "mlflow")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return _mirrored(MlflowClient(tracking_uri=uri, registry_uri=uri), package, name, version, uri)
    except MlflowException as error:
        raise StorageError(f"MLflow refuses: {error}", where=uri) from error


def _mirrored(client: MlflowClient, package: Package, name: str, version: str, uri: str) -> Mirrored:
    from mlflow.entities import Metric, Param, RunTag

    digest = sha256(package.contents[MANIFEST])
    held = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if held is None else held.experiment_id
    # A run that was broken off is marked as failed, and is made anew.
    known = client.search_runs(
        [experiment], f"tags.`{MANIFEST_TAG}` = '{digest}' and attributes.status = 'FINISHED'"
    )
    if known:
        raise InputError(f"shows {version} already, as run {known[0].info.run_id}", where=uri)
    manifest = package.manifest
    at = int(dt.datetime.fromisoformat(manifest.created).timestamp() * 1000)
    tags = {
        MANIFEST_TAG: digest,
        "headrace.version": version,
        "headrace.model_sha256": manifest.model_sha256,
        "headrace.task": manifest.signature.task,
    }
    run = client.create_run(experiment, start_time=at, run_name=version, tags=tags).info
    try:
        client.log_batch(
            run.run_id,
            metrics=[Metric(key, value, at, 0) for key, value in _metrics(manifest.metrics)],
            params=[Param(key, value) for key, value in _parameters(package)],
            tags=[RunTag(key, value) for key, value in _provenance(manifest.provenance)],
        )
        with tempfile.TemporaryDirectory() as place:
            for file, content in package.contents.items():
                Path(place, file).write_bytes(content)
            client.log_artifacts(run.run_id, place, FOLDER)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        source = f"{run.artifact_uri}/{FOLDER}"
        registered = client.create_model_version(name, source, run.run_id, tags=tags)
    except BaseException:
        client.set_terminated(run.run_id, "FAILED")
        raise
    client.set_terminated(run.run_id)
    return Mirrored(name, run.run_id, str(registered.version))


def _metrics(document: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, measured in document.get("metrics", {}).items():
        for part in ("value", "low", "high"):
            value = measured.get(part)
            if isinstance(value, (int, float)) and math.isfinite(value):
                yield (name if part == "value" else f"{name}.{part}"), float(value)


def _parameters(package: Package) -> Iterator[tuple[str, str]]:
    """Yield the estimator, and its settings that are no objects."""
    estimator = package.model()[-1]
    yield "estimator", f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    for name, value in estimator.get_params(deep=False).items():
        if value is None or isinstance(value, (bool, int, float, str, tuple)):
            yield name, str(value)[:_LONGEST]


def _provenance(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", str(held)[:_LONGEST]) for key, held in value.items())
        else:
            yield name, str(value)[:_LONGEST]
