"""A scheduler that runs already: its address, and certificates when it is not on this machine."""

from __future__ import annotations

import ipaddress
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from headrace.cluster.certificates import Certificates
from headrace.cluster.workers import RemoteWorkers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed.security import Security


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("10.0.0.1")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AddressCluster(RemoteWorkers):
    """A scheduler and workers that someone else has started and goes on with."""

    kind: Literal["address"] = Field(description="address: a scheduler that runs already")
    address: str = Field(
        pattern=r"^(tcp|tls)://[^/\s]+:\d{1,5}$",
        description="tls://HOST:PORT, or tcp://HOST:PORT without encryption",
    )

    @model_validator(mode="after")
    def _encrypted_or_said_so(self) -> AddressCluster:
        scheme = urlsplit(self.address).scheme
        if scheme == "tls" and not isinstance(self.tls, Certificates):
            raise ValueError("a tls:// address needs certificates; add tls: {directory: DIR}")
        if scheme == "tcp" and isinstance(self.tls, Certificates):
            raise ValueError("a tcp:// address is not encrypted; write tls:// or leave tls out")
        if scheme == "tcp" and self.tls == "auto" and not self.on_this_machine:
            raise ValueError(
                f"{self.address} is on another machine and not encrypted; start it with certificates of "
                "headrace cluster certs and write tls://, or take the risk by tls: off"
            )
        return self

    @property
    def on_this_machine(self) -> bool:
        """Whether the scheduler is on loopback."""
        return is_loopback(urlsplit(self.address).hostname or "")

    @contextmanager
    def deploy(self, security: Security | None) -> Iterator[str]:
        """Yield the address; nothing is started, and nothing ended."""
        del security
        yield self.address
