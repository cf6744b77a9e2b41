"""Package: pipeline, profile, card and manifest of hashes; loads without unpickling."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from headrace.data import storage
from headrace.data.directories import aside
from headrace.errors import PackageError, StorageError
from headrace.packaging.card import headline, render_card
from headrace.packaging.fingerprint import model_digest
from headrace.packaging.signature import Signature, finite
from headrace.packaging.trust import dump_pipeline, load_pipeline, needed_trust

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
MANIFEST = "manifest.json"
PIPELINE = "pipeline.skops"
PROFILE = "profile.json"
CARD = "card.md"
SIGNATURE = "manifest.sig"  # of the registry's note, or of the manifest, and so in no hash of it
VERSION = "version.json"  # the registry's own note; it holds the manifest's hash instead of being in it
_BESIDE = {MANIFEST, SIGNATURE, VERSION}
"""What is in a package and not in its manifest."""
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class FileHash:
    """One file of a package: its SHA-256 (hexadecimal) and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a package holds, and the hash of every file in it.

    Attributes
    ----------
    format : int
        Version of this layout.
    created : str
        UTC time, ISO format.
    model_sha256 : str
        Hash of what was learnt (`fingerprint.model_digest`).
    files : dict of str to FileHash
        Every file but the manifest.
    signature : Signature
        What the model takes and gives.
    metrics : dict
        The assessment on the test data, as a document.
    metric : dict, optional
        ``name`` and ``value`` of the metric that stands for the model.
    provenance : dict
        Data fingerprint, versions, seed, workflow hash.
    gates : dict
        Results of export gates, by kind of file.
    """

    created: str
    model_sha256: str
    files: dict[str, FileHash]
    signature: Signature
    metrics: dict[str, Any]
    metric: dict[str, Any] | None
    provenance: dict[str, Any]
    gates: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "format": self.format,
            "created": self.created,
            "model_sha256": self.model_sha256,
            "metric": self.metric,
            "files": {name: asdict(held) for name, held in self.files.items()},
            "signature": self.signature.to_dict(),
            "metrics": self.metrics,
            "provenance": self.provenance,
            "gates": self.gates,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any], *, where: str = MANIFEST) -> Self:
        """Rebuild from `to_dict`.

        Raises
        ------
        PackageError
            When the document is not a manifest, or of a later format.
        """
        try:
            if document["format"] != FORMAT:
                raise PackageError(
                    f"has format {document['format']!r}, this version reads {FORMAT}",
                    where=where,
                    mend="upgrade headrace",
                )
            files = {name: FileHash(**held) for name, held in document["files"].items()}
            for name in files:
                if not _FILE_NAME.fullmatch(name) or name in _BESIDE:
                    raise PackageError(f"names a file {name!r} that cannot be in a package", where=where)
            return cls(
                created=document["created"],
                model_sha256=document["model_sha256"],
                files=files,
                signature=Signature.from_dict(document["signature"]),
                metrics=document["metrics"],
                metric=document["metric"],
                provenance=document["provenance"],
                gates=document["gates"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise PackageError(f"is not a manifest: {type(error).__name__}: {error}", where=where) from error


@dataclass(frozen=True)
class Package:
    """A package whose hashes have been checked.

    Attributes
    ----------
    url : str
        Where it was read.
    manifest : Manifest
        What it holds.
    contents : dict of str to bytes
        Its files, the manifest, and the registry's note and a signature if there are any: the very bytes that were
        checked.
    """

    url: str
    manifest: Manifest
    contents: dict[str, bytes] = field(repr=False)

    def model(self) -> Any:
        """Rebuild the fitted scikit-learn pipeline.

        Raises
        ------
        PackageError
            When the pipeline holds a type that this loader does not trust.
        """
        return load_pipeline(self.contents[PIPELINE], where=storage.join(self.url, PIPELINE))

    @property
    def profile(self) -> dict[str, Any]:
        """The profile of the training data, as a document."""
        document: dict[str, Any] = json.loads(self.contents[PROFILE])
        return document

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return self.contents[CARD].decode()


def write_package(
    directory: Path | str,
    *,
    pipeline: Any,
    signature: Signature,
    profile: dict[str, Any] | bytes,
    metrics: dict[str, Any],
    provenance: dict[str, Any],
    card: dict[str, Any],
    exports: Mapping[str, bytes] | None = None,
    gates: Mapping[str, dict[str, Any]] | None = None,
) -> Manifest:
    """Write a package; it appears whole or not at all.

    Parameters
    ----------
    directory : path or URL
        A folder that does not exist yet, or is empty.
    pipeline : scikit-learn estimator
        Fitted.
    signature : Signature
        What it takes and gives.
    profile : dict or bytes
        The profile of the training data (`Profile.to_dict`), or its JSON text; kept as it is.
    metrics : dict
        The assessment (`Assessment.to_dict`); see `card.render_card` for what the card reads of it.
    provenance : dict
        Data fingerprint, versions, seed, workflow hash.
    card : dict
        What the card says beyond that; see `card.render_card`.
    exports : mapping of str to bytes, optional
        Further files of the model that have passed their gate, such as ``model.onnx``.
    gates : mapping of str to dict, optional
        What the gate of each kind of file has found.

    Returns
    -------
    Manifest
        As written.

    Raises
    ------
    PackageError
        When the pipeline cannot be written, or loaded again by this module's rules.
    StorageError
        When the folder exists with content or cannot be written.
    """
    metrics, provenance = finite(metrics), finite(provenance)
    model_sha256 = model_digest(pipeline)
    model = dump_pipeline(pipeline)
    page = render_card(
        card,
        signature=signature,
        metrics=metrics,
        provenance=provenance,
        model_sha256=model_sha256,
        trusted=needed_trust(model),
        gates=gates,
    )
    contents = {
        PIPELINE: model,
        PROFILE: profile if isinstance(profile, bytes) else _json(profile),
        CARD: page.encode(),
        **(exports or {}),
    }
    deciding = headline(metrics, card.get("metric"))
    manifest = Manifest(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        model_sha256=model_sha256,
        files={name: FileHash(sha256(content), len(content)) for name, content in contents.items()},
        signature=signature,
        metrics=metrics,
        metric=None if deciding is None else {"name": deciding[0], "value": deciding[1]},
        provenance=provenance,
        gates=dict(gates or {}),
    )
    with aside(str(directory)) as place:
        for name, content in {**contents, MANIFEST: _json(manifest.to_dict())}.items():
            (place / name).write_bytes(content)
    return manifest


def read_package(url: str | Path) -> Package:
    """Read a package and check every hash; nothing in it is run or rebuilt.

    Parameters
    ----------
    url : path or URL
        The folder of the package.

    Raises
    ------
    PackageError
        When there is no package, or a file of it is changed, missing or additional.
    """
    url = str(url)
    contents = read_contents(url)
    manifest = read_manifest(url, contents[MANIFEST])
    if VERSION in contents:
        _check_note(storage.join(url, VERSION), contents[VERSION], contents[MANIFEST])
    for name in sorted(set(contents) - set(manifest.files) - _BESIDE):
        raise _damaged(url, name, "is not in the manifest of the package")
    for name, held in manifest.files.items():
        if name not in contents:
            raise _damaged(url, name, "is in the manifest and missing")
        if len(contents[name]) != held.bytes or sha256(contents[name]) != held.sha256:
            raise _damaged(url, name, "was changed: its hash is not the one in the manifest")
    for name in (PIPELINE, PROFILE, CARD):
        if name not in manifest.files:
            raise _damaged(url, name, "is missing in the manifest")
    return Package(
        url=url,
        manifest=manifest,
        contents=contents,
    )


def read_contents(url: str) -> dict[str, bytes]:
    """Read every file of a package, unchecked.

    Raises
    ------
    PackageError
        When there is no manifest, or something that is no file.
    """
    names = storage.list_names(url)
    if MANIFEST not in names:
        raise PackageError(
            "is not a model package: there is no manifest.json",
            where=url,
            mend="give the folder of a package, or the name of a model in a registry",
        )
    contents = {}
    for name in names:
        try:
            contents[name] = storage.read_bytes(storage.join(url, name))
        except StorageError as error:
            raise _damaged(url, name, f"cannot be read ({error.what})") from error
    return contents


def read_manifest(url: str, content: bytes | None = None) -> Manifest:
    """Read the manifest of a package alone, without checking files."""
    where = storage.join(url, MANIFEST)
    content = storage.read_bytes(where) if content is None else content
    try:
        document = json.loads(content)
    except ValueError as error:
        raise PackageError(f"is not JSON: {error}", where=where) from error
    return Manifest.from_dict(document, where=where)


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _check_note(where: str, note: bytes, manifest: bytes) -> None:
    try:
        expected = json.loads(note)["manifest_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise PackageError(f"is not a registry's note: {error}", where=where) from error
    if expected != sha256(manifest):
        raise PackageError(
            "manifest.json was changed after the version was published",
            where=where,
            mend="nothing was loaded; publish the model anew",
        )


def _damaged(url: str, name: str, what: str) -> PackageError:
    return PackageError(
        f"{name} {what}", where=storage.join(url, name), mend="nothing was loaded; publish the model anew"
    )


def sha256(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
