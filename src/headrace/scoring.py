"""Batch scoring from a model and data to a published folder of scores, on workers that are started for it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.compiling import worthwhile
from headrace.data import audit
from headrace.data.dataset import Dataset
from headrace.data.embeddings import made_bytes, made_names
from headrace.data.history import require_history
from headrace.data.pii import require_keys
from headrace.data.storage import exists, is_local, join, list_names, open_filesystem, read_json, write_json
from headrace.engine.embedding import load_encoder
from headrace.engine.events import Note
from headrace.engine.lease import Lease
from headrace.engine.ledger import BEGUN, CLOSED, Ledger
from headrace.engine.passes import Reader
from headrace.engine.past import gather_past, require_order
from headrace.engine.source import source_of
from headrace.errors import InputError
from headrace.packaging.inputs import to_table
from headrace.packaging.package import MANIFEST, read_package, sha256
from headrace.packaging.signing import require_signature
from headrace.packaging.trust import require_function
from headrace.profiling.profile import compact
from headrace.serving.batch import REJECTED, SCORING, Scorer, Written, output_names, score_source
from headrace.serving.loading import Place
from headrace.serving.options import GuardOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.cluster.workers import Workers
    from headrace.data.embeddings import Embedding
    from headrace.data.history import History
    from headrace.engine.events import Subscriber
    from headrace.packaging.signature import Signature
    from headrace.profiling.survey import Survey

SCORES = "_manifest.json"
"""Written last: the scores of a folder are complete once it is there."""
PROFILE = "_profile.json"
"""With an underscore, so that the folder can be read as a dataset."""
PROGRESS = "_progress"


def score(
    model: str,
    data: str,
    output: str,
    *,
    registry: str = "registry",
    features: str | None = None,
    columns: Sequence[str] = (),
    guard: GuardOptions | None = None,
    profiled: bool = True,
    cluster: Workers | None = None,
    resume: bool = False,
    subscribers: Sequence[Subscriber] = (),
) -> dict[str, Any]:
    """Score every row of a dataset, each once, out of core.

    Parameters
    ----------
    model : str
        ``late``, ``late@3``, ``late@champion``, or the folder of a package.
    data : str
        Directory, glob, file or URL of Parquet.
    output : str
        A new or empty folder. Scores appear as ``part-NNNNNN.parquet`` in the order of the data, rejected rows with
        their reasons below ``_rejected``, the profile as ``_profile.json``, and last ``_manifest.json``.
    registry : str
        Folder or URL of the registry.
    features : str, optional
        The feature function that is trusted, ``module:function``, when the model was trained with one.
    columns : sequence of str
        Columns of the data that are kept beside the scores, such as keys.
    guard : GuardOptions, optional
        What is done with values that training has not seen; by default a missing value where training had none
        rejects its row, and the others are scored and counted.
    profiled : bool
        Whether inputs and scores are profiled in the same pass.
    cluster : Workers, optional
        Where the work runs; by default the cores of this machine.
    resume : bool
        Go on with what was ended before its time. Each chunk has one file, and is scored to the same bytes.
    subscribers : sequence of callables, optional
        Told of every event.

    Returns
    -------
    dict
        The manifest: ``model``, ``data``, ``rows`` (``scored``, ``rejected``), ``reasons``, ``found``, ``parts``.

    Raises
    ------
    InputError
        When the data do not have the columns of the model, the output is in use, or what is resumed differs.
    PackageError
        When the package is damaged, names a feature function other than `features`, or is signed by none of the keys
        that the variable ``HEADRACE_TRUSTED_KEYS`` names.
    """
    from headrace.cluster.config import default_cluster

    output = _absolute(output)
    place = Place(model, registry)
    url, version = place.find()
    url = _absolute(url)
    package = read_package(url)
    require_signature(package, version=None if place.is_folder else version)
    require_function(package.manifest.signature.features_function, features, where=url)
    manifest_sha256 = sha256(package.contents[MANIFEST])
    begun = _begun(output, resume=resume)
    dataset = Dataset(data, memory=begun.get("memory") or (cluster or default_cluster()).memory_bytes)
    signature = package.manifest.signature
    require_keys(signature.pii)
    dataset = dataset.treated(signature.pii)
    history, embeddings = _history(signature, dataset), _embeddings(signature, dataset)
    dataset = dataset.widened(made_bytes(embeddings)) if embeddings else dataset
    guard = guard or GuardOptions(missing="reject")
    job = {
        "model": {"version": version, "manifest_sha256": manifest_sha256},
        "data": {"url": data, "fingerprint": dataset.fingerprint, "chunks": len(dataset.chunks)},
        "columns": list(columns),
        "guard": guard.model_dump(),
        "profiled": profiled,
        "memory": dataset.memory,
    }
    _require_same(begun, job, output)
    source = source_of(
        dataset,
        _read(signature, dataset, columns, history, embeddings),
        features=signature.features_function,
        history=history,
        embeddings=embeddings,
    )
    for name in columns:
        if name in output_names(signature):
            raise InputError(f"cannot be kept, for scoring adds a column {name!r}", where="--columns")
        if name not in source.schema.names:
            raise InputError(f"{name!r} does not outlive the feature function", where="--columns")
    to_table(source.schema.empty_table(), signature.inputs)
    if exists(join(output, SCORES)):
        return dict(read_json(join(output, SCORES)))
    rows = dataset.rows
    native = worthwhile(rows, dataset.memory)
    scorer = Scorer(
        url, manifest_sha256, version, output, tuple(columns), guard, profiled, rows, native=native
    )
    progress = join(output, PROGRESS)
    with Lease(progress) as lease:
        ledger = Ledger(progress, guard=lease.check)
        if BEGUN not in ledger.state.facts:
            ledger.append(BEGUN, job)
        for line in (*dataset.notes, *ledger.notes):
            for tell in subscribers:
                tell(Note(line))
        with (cluster or default_cluster(dataset.bytes)).connect() as client:
            reader = Reader(client, subscribers, ledger)
            if source.history is not None:
                looked_back = source_of(dataset, source.history.inputs)
                source = replace(source, past=gather_past(reader, looked_back, source.history))
            survey = score_source(reader, source, scorer)
        lease.check()
        manifest = _publish(output, job, survey)
        ledger.append(CLOSED, {})
    audit.record(
        "scored", version, data=data, output=output, fingerprint=dataset.fingerprint, **manifest["rows"]
    )
    return manifest


def _publish(output: str, job: dict[str, Any], survey: Survey) -> dict[str, Any]:
    written = survey.findings[SCORING]
    assert isinstance(written, Written), "the pass finds what was written"
    if job["profiled"]:
        write_json(join(output, PROFILE), compact(survey.whole).to_dict())
    rejected = sum(part.rows for part in written.parts if part.file.startswith(f"{REJECTED}/"))
    scored = sum(part.rows for part in written.parts) - rejected
    manifest = {
        **job,
        "rows": {"scored": scored, "rejected": rejected},
        "reasons": written.reasons,
        "found": written.found,
        "parts": [vars(part) for part in written.parts],
    }
    write_json(join(output, SCORES), manifest)
    return manifest


def _begun(output: str, *, resume: bool) -> dict[str, Any]:
    """Read what was begun there; nothing when it is a new place."""
    if not resume:
        if list_names(output):
            raise InputError("is not empty", where=output, mend="name a new folder, or go on with --resume")
        return {}
    if exists(join(output, SCORES)):
        return dict(read_json(join(output, SCORES)))
    fact = Ledger(join(output, PROGRESS)).state.facts.get(BEGUN)
    return {} if fact is None else fact.body


def _require_same(begun: dict[str, Any], job: dict[str, Any], output: str) -> None:
    for key, value in job.items():
        if begun and begun.get(key) != value:
            raise InputError(
                f"was begun with another {key}",
                where=output,
                mend="give what it was begun with, or a new folder",
            )


def _history(signature: Signature, dataset: Dataset) -> History | None:
    """Say what is made from the rows before: nothing when the data have all of it."""
    history = signature.history
    if history is None or set(history.names) <= set(dataset.schema.names):
        return None
    absent = [name for name in history.inputs if name not in dataset.schema.names]
    if absent:
        raise InputError(
            f"has no column{'s' if len(absent) > 1 else ''} {', '.join(absent)}, from which inputs of the model are made",
            where=dataset.url,
            mend=f"give also the rows before, with {', '.join(history.inputs)}; or give {', '.join(history.names)}",
        )
    require_history(history, dataset.schema)
    require_order(dataset, history.time)
    return history


def _embeddings(signature: Signature, dataset: Dataset) -> tuple[Embedding, ...]:
    """Say what is made of texts: nothing of what the data have, and by no other model than that of the training."""
    names = dataset.schema.names
    needed = tuple(each for each in signature.embeddings if not set(each.names) <= set(names))
    for each in needed:
        if each.column not in names:
            raise InputError(
                f"has no column {each.column}, of which inputs of the model are made",
                where=dataset.url,
                mend=f"give it, or {each.names[0]} to {each.names[-1]}",
            )
        load_encoder(each.model, each.digest)
    return needed


def _read(
    signature: Signature,
    dataset: Dataset,
    columns: Sequence[str],
    history: History | None,
    embeddings: tuple[Embedding, ...],
) -> list[str]:
    """Name the columns that are read: of the model, or of its feature function, and those that are kept."""
    known = [*dataset.schema.names, *(history.names if history else ()), *made_names(embeddings)]
    if signature.features_function is None:
        needed = [column.name for column in signature.inputs]
    else:
        needed = [column.name for column in signature.raw_inputs] or known
    absent = [name for name in needed if name not in known]
    if absent:
        raise InputError(
            f"has no column{'s' if len(absent) > 1 else ''} {', '.join(absent)}",
            where=dataset.url,
            mend=f"the model reads {', '.join(needed[:20])}",
        )
    return list(dict.fromkeys([*needed, *columns]))


def _absolute(url: str) -> str:
    """Write a local path so that workers find it."""
    filesystem, path = open_filesystem(url)
    return os.fspath(path) if is_local(filesystem) else url
