"""Certificates between client, scheduler and workers: made for a run, read from files, refused when expired."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from pydantic import Field

from headrace.errors import InputError, MissingExtraError
from headrace.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.x509 import Certificate
    from distributed.security import Security

AUTHORITY, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
VALID_DAYS = 30
CLOCK_SKEW = timedelta(hours=2)
"""So much earlier a certificate is valid: clocks of machines differ."""


class Certificates(Options):
    """Files that prove who belongs to a cluster."""

    directory: str = Field(
        description="Holds ca.pem, cert.pem and key.pem, as headrace cluster certs makes them"
    )

    def file(self, name: str) -> str:
        """Path of one of the files."""
        return str(Path(self.directory).expanduser() / name)

    def security(self) -> Security:
        """Read the files for ``distributed``.

        Raises
        ------
        InputError
            When one is missing or no certificate, is not valid now, or is not of this authority.
        """
        for name in (AUTHORITY, CERTIFICATE, KEY):
            if not Path(self.file(name)).is_file():
                raise InputError(
                    "no such file",
                    where=self.file(name),
                    mend=f"make it: headrace cluster certs {self.directory}",
                )
        _require_good(self)
        return security_of(self.file(AUTHORITY), self.file(CERTIFICATE), self.file(KEY))


def security_of(authority: str, certificate: str, key: str) -> Security:
    """Use one certificate for client, scheduler and workers; each is a path or the text itself."""
    from distributed.security import Security

    make: Any = Security  # untyped
    secured: Security = make(
        require_encryption=True,
        tls_ca_file=authority,
        **{f"tls_{role}_cert": certificate for role in ("client", "scheduler", "worker")},
        **{f"tls_{role}_key": key for role in ("client", "scheduler", "worker")},
    )
    return secured


def temporary_security() -> Security:
    """Make certificates that exist in memory only, valid also by clocks that are late.

    Raises
    ------
    MissingExtraError
        When cryptography is not installed.
    """
    made = _made(VALID_DAYS)
    return security_of(*(made[name].decode() for name in (AUTHORITY, CERTIFICATE, KEY)))


def settings_at(folder: str) -> dict[str, Any]:
    """Dask settings by which scheduler and workers find the files in a folder on their machine."""
    roles = ("scheduler", "worker")
    return {
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.ca-file": f"{folder}/{AUTHORITY}",
        **{f"distributed.comm.tls.{role}.cert": f"{folder}/{CERTIFICATE}" for role in roles},
        **{f"distributed.comm.tls.{role}.key": f"{folder}/{KEY}" for role in roles},
    }


@contextmanager
def as_files(security: Security, parent: str) -> Iterator[Security]:
    """Give the same certificates as files in a new directory below `parent`, readable by their owner alone.

    Raises
    ------
    InputError
        When they cannot be written there.
    """
    place = Path(parent).expanduser() / f".headrace-{secrets.token_hex(8)}"
    try:
        try:
            place.mkdir(mode=0o700)
            for name, text in texts_of(security).items():
                _write_private(place / name, text.encode())
        except OSError as error:
            raise InputError(f"certificates cannot be written ({error.strerror})", where=parent) from None
        yield security_of(*(str(place / name) for name in (AUTHORITY, CERTIFICATE, KEY)))
    finally:
        rmtree(place, ignore_errors=True)


def texts_of(security: Security) -> dict[str, str]:
    """Read certificates that are given as their paths or as themselves, by the names of their files."""
    given: Any = security  # untyped
    values = {AUTHORITY: given.tls_ca_file, CERTIFICATE: given.tls_worker_cert, KEY: given.tls_worker_key}
    return {name: value if "\n" in value else Path(value).read_text() for name, value in values.items()}


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)


def write_certificates(directory: str, *, days: float = VALID_DAYS) -> list[str]:
    """Make an authority and a certificate signed by it, for every member of a cluster; the authority's key is not kept.

    Whoever holds the directory may join the cluster and run code on it: the key can be read by its owner alone.

    Parameters
    ----------
    directory : str
        Made if missing; no file in it is replaced.
    days : float
        How long they are valid.

    Returns
    -------
    list of str
        The paths written.

    Raises
    ------
    InputError
        When one of the files is there already, or none can be written.
    MissingExtraError
        When cryptography is not installed.
    """
    files = _made(days)
    place = Path(directory).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in files:
            if (place / file).exists():
                raise InputError("is there already", where=str(place / file), mend="name another directory")
        for file, content in files.items():
            _write_private(place / file, content)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=directory) from None
    return [str(place / file) for file in files]


def _made(days: float) -> dict[str, bytes]:
    """Make an authority, a certificate signed by it, and the key of the latter, by the names of their files."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError:
        raise MissingExtraError.for_extra("cryptography", "sign") from None

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    begin = min(now, now + timedelta(days=days)) - CLOCK_SKEW
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
              "encipher_only", "decipher_only")  # fmt: skip

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, authority: bool) -> bytes:
        # Python 3.13 reads certificates by the letter of RFC 5280: keys are named, and told what they are for.
        use = x509.KeyUsage(
            digital_signature=not authority, key_cert_sign=authority, **dict.fromkeys(others, False)
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name("headrace authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
            .add_extension(use, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
        )  # fmt: skip
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    return {
        AUTHORITY: signed(name("headrace authority"), authority_key.public_key(), authority=True),
        CERTIFICATE: signed(name("headrace cluster"), key.public_key(), authority=False),
        KEY: key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }


def _require_good(files: Certificates) -> None:
    """Refuse certificates of which a connection would fail without saying why."""
    try:
        from cryptography import x509
    except ImportError:
        return  # the connection will tell
    anew = f"remove the files there and make new ones: headrace cluster certs {files.directory}"
    found = []
    now = datetime.now(UTC)
    for path in (files.file(AUTHORITY), files.file(CERTIFICATE)):
        try:
            certificates = x509.load_pem_x509_certificates(Path(path).read_bytes())
        except ValueError:
            raise InputError("is not a certificate (PEM)", where=path, mend=anew) from None
        begin, end = certificates[0].not_valid_before_utc, certificates[0].not_valid_after_utc
        if end < now:
            raise InputError(f"the certificate expired on {_moment(end)}", where=path, mend=anew)
        if now < begin:
            raise InputError(
                f"the certificate is not valid before {_moment(begin)}, and here it is {_moment(now)}",
                where=path,
                mend=f"set the clock of this machine, or {anew}",
            )
        found.append(certificates)
    authorities, (certificate, *between) = found
    if not any(_is_issued(certificate, by) for by in (*authorities, *between)):
        raise InputError(
            f"the certificate is not signed by the authority in {AUTHORITY}",
            where=files.file(CERTIFICATE),
            mend=anew,
        )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _is_issued(certificate: Certificate, by: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
