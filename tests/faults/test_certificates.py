"""Certificates that are too old, too new, or of others: one line that names the file and how to make new ones."""

from __future__ import annotations

import shutil
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from tests.cluster.test_address import flags
from tests.faults.conftest import complaint, require_same

from headrace.cli import run as headrace
from headrace.cluster import certificates
from headrace.cluster.certificates import (
    AUTHORITY,
    CERTIFICATE,
    temporary_security,
    texts_of,
    write_certificates,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Site


def write_old(directory: str) -> None:
    write_certificates(directory, days=-1)


def write_new(directory: str) -> None:
    """Make them as a machine does whose clock is three hours ahead."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # of the base, not of this class
            return datetime.now(tz) + timedelta(hours=3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "datetime", Ahead)
        write_certificates(directory)


def write_mixed(directory: str) -> None:
    write_certificates(directory)
    write_certificates(f"{directory}/other")
    shutil.copy(f"{directory}/other/{AUTHORITY}", directory)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_old, "ca.pem: the certificate expired on "),
        (write_new, "ca.pem: the certificate is not valid before "),
        (write_mixed, "cert.pem: the certificate is not signed by the authority in ca.pem; "),
    ],
)
def test_certificates_that_cannot_serve_are_refused_before_connecting(
    write: Callable[[str], None],
    said: str,
    site: Site,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("certs")
    file = site.cluster_file(scheme="tls", tls={"directory": "certs"})
    for words in (["submit", "w.yaml"], ["run", "w.yaml", "--run", "run"]):
        assert headrace([*words, "--cluster", file]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"headrace: certs/{said}")
        assert told.endswith("make new ones: headrace cluster certs certs\n")
        assert told.count("\n") == 1
    assert not (site.place / "runs").exists()


def test_certificates_made_for_a_run_are_valid_by_a_clock_that_is_an_hour_late() -> None:
    texts = texts_of(temporary_security())
    for name in (AUTHORITY, CERTIFICATE):
        begin = x509.load_pem_x509_certificate(texts[name].encode()).not_valid_before_utc
        assert begin <= datetime.now(UTC) - timedelta(hours=1)


def test_certificates_are_taken_by_the_strict_rules_that_later_pythons_have() -> None:
    security: Any = temporary_security()
    client = security.get_connection_args("client")["ssl_context"]
    server = security.get_listen_args("scheduler")["ssl_context"]
    for context in (client, server):
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    for end in (*ends, *ends):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    ends[0].write(b"word")
    assert ends[1].read() == b"word"


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # waits for other processes, on a machine that may be busy
def test_certificates_of_another_authority_are_one_line_and_the_run_goes_on_with_the_right_ones(
    site: Site, whole: dict[str, Any]
) -> None:
    ours, theirs = site.place / "ours", site.place / "theirs"
    for directory in (ours, theirs):
        write_certificates(str(directory))
    site.scheduler(*flags(ours), scheme="tls")
    site.worker("one", *flags(ours), scheme="tls")
    site.cluster_file(scheme="tls", tls={"directory": "theirs"})
    said = complaint(site.lead())
    assert "headrace: theirs/ca.pem: scheduler and client do not trust each other's certificates" in said
    assert "headrace cluster certs" in said
    site.cluster_file(scheme="tls", tls={"directory": "ours"})
    require_same(site.lead("--resume", "run"), whole)
