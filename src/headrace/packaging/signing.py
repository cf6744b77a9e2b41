"""Signatures: who vouches for a package, by an Ed25519 signature of its manifest, or of its name and number in a registry."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.data.storage import create, join
from headrace.errors import InputError, MissingExtraError, PackageError
from headrace.packaging.package import MANIFEST, SIGNATURE, VERSION

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from headrace.packaging.package import Package

VARIABLE = "HEADRACE_TRUSTED_KEYS"
_MEND = "give a PEM file as headrace models keygen makes it"
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


def new_key_pair(path: str) -> str:
    """Make a key pair: `path` holds the private key, which its owner alone can read, and ``path.pub`` the public one.

    Returns
    -------
    str
        The file of the public key.

    Raises
    ------
    InputError
        When a file is there already, or cannot be written.
    MissingExtraError
        Without the extra ``sign``.
    """
    _require()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for file, content, mode in ((path, private, 0o600), (f"{path}.pub", public, 0o644)):
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(content)
        except OSError as error:
            raise InputError(
                f"cannot be written: {error.strerror}", where=file, mend="name a new file"
            ) from error
    return f"{path}.pub"


def sign(package: Package, key_file: str) -> str:
    """Sign a package, and with it the hash of every file; the signature is put beside it.

    Of a version in a registry ``version.json`` is signed, which holds its name, its number and the hash of the manifest;
    else the manifest. The signature is the 64 bytes that ``openssl pkeyutl -verify -rawin`` takes.

    Parameters
    ----------
    package : Package
        Its hashes have been checked.
    key_file : str
        PEM file of the private key.

    Returns
    -------
    str
        The URL of the signature.

    Raises
    ------
    InputError
        When the key cannot be used, or the package is signed already.
    MissingExtraError
        Without the extra ``sign``.
    """
    place = join(package.url, SIGNATURE)
    if not create(place, _private_key(key_file).sign(_signed(package))):
        raise InputError("is signed already", where=package.url, mend="a version is signed once")
    return place


def require_signature(package: Package, trusted: str | None = None, *, version: str | None = None) -> bool:
    """Hold a package against the keys that its reader trusts.

    Parameters
    ----------
    package : Package
        The package.
    trusted : str, optional
        PEM file of public keys, one or more; by default the one that the variable ``HEADRACE_TRUSTED_KEYS`` names.
    version : str, optional
        As which version of a registry it was read, ``late@3``: it must have been signed as that.

    Returns
    -------
    bool
        True when one of the keys has signed it; False when no keys are named, so that nothing was checked.

    Raises
    ------
    PackageError
        When it is not signed, by none of the keys, or as another version.
    InputError
        When the keys cannot be read.
    MissingExtraError
        Without the extra ``sign``.
    """
    trusted = trusted or os.environ.get(VARIABLE)
    if not trusted:
        return False
    keys = _public_keys(trusted)
    from cryptography.exceptions import InvalidSignature

    signature = package.contents.get(SIGNATURE)
    if signature is None:
        raise PackageError(
            "is not signed, and unsigned models are refused here",
            where=package.url,
            mend="nothing was loaded; sign it with headrace models sign",
        )
    for key in keys:
        try:
            key.verify(signature, _signed(package))
        except InvalidSignature:
            continue
        _require_version(package, version)
        return True
    raise PackageError(
        f"is signed by none of the keys in {trusted}",
        where=package.url,
        mend="nothing was loaded; add the public key of who signed it, if you trust them",
    )


def _signed(package: Package) -> bytes:
    """Return what is signed: the registry's note, which holds the hash of the manifest, or the manifest itself."""
    return package.contents.get(VERSION, package.contents[MANIFEST])


def _require_version(package: Package, version: str | None) -> None:
    if version is None:
        return
    signed_as = "a package outside of a registry"
    if VERSION in package.contents:
        note = json.loads(package.contents[VERSION])
        signed_as = f"{note['name']}@{note['version']}"
    if signed_as != version:
        raise PackageError(
            f"is signed as {signed_as}, and lies here as {version}",
            where=package.url,
            mend="nothing was loaded; sign the version in the registry that it shall be loaded from",
        )


def _private_key(path: str) -> Ed25519PrivateKey:
    _require()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise InputError("is no private key", where=path, mend=_MEND) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("is no Ed25519 key", where=path, mend=_MEND)
    return key


def _public_keys(path: str) -> list[Ed25519PublicKey]:
    _require()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys = []
    for block in _PUBLIC.findall(_read(path)):
        try:
            key = load_pem_public_key(block)
        except ValueError as error:
            raise InputError("holds a damaged public key", where=path, mend=_MEND) from error
        if not isinstance(key, Ed25519PublicKey):
            raise InputError("holds a key that is no Ed25519 key", where=path, mend=_MEND)
        keys.append(key)
    if not keys:
        raise InputError("holds no public key", where=path, mend=_MEND)
    return keys


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path, mend=_MEND) from error


def _require() -> None:
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise MissingExtraError.for_extra("cryptography", "sign")
