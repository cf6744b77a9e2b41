"""Workers that a Dask Gateway starts for us: it holds the rights on the machines, and we only a password."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from headrace.cluster.address import is_loopback
from headrace.cluster.workers import ScaledWorkers
from headrace.errors import InputError, MissingExtraError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed.security import Security


class GatewayWorkers(ScaledWorkers):
    """Workers of a Dask Gateway, which makes the certificates itself."""

    kind: Literal["gateway"] = Field(description="gateway: workers that a Dask Gateway starts")
    address: str = Field(
        pattern=r"^https?://[^\s]+$", description="URL of the gateway, https://gateway.example.org"
    )
    proxy: str | None = Field(
        default=None,
        pattern=r"^(tls|gateway)://[^/\s]+:\d{1,5}$",
        description="Address of its proxy for schedulers, when that is not the gateway's own",
    )
    auth: Literal["basic", "jupyterhub", "kerberos"] = Field(
        default="basic", description="How the gateway knows who we are"
    )
    user: str | None = Field(default=None, description="User of basic; default: that of this process")
    password_variable: str = Field(
        default="DASK_GATEWAY_PASSWORD",
        pattern=r"^[A-Za-z_]\w*$",
        description="Variable of the environment with the password of basic or the token of jupyterhub; what it holds "
        "is written nowhere",
    )
    options: dict[str, Any] = Field(
        default={},
        description="Options of the gateway's clusters, worker_cores for instance; they must give each worker the "
        "threads and memory of this file",
    )

    @model_validator(mode="after")
    def _keeps_the_password(self) -> GatewayWorkers:
        if self.tls not in {"auto", "off"}:
            raise ValueError("a gateway makes the certificates of its clusters; leave tls out")
        if self.address.startswith("http:") and self.tls == "auto" and not self.on_this_machine:
            raise ValueError(
                f"{self.address} would be sent the password unencrypted; write https://, or take the risk by tls: off"
            )
        return self

    @property
    def on_this_machine(self) -> bool:
        """Whether the gateway is on loopback."""
        return is_loopback(urlsplit(self.address).hostname or "")

    @property
    def brings_certificates(self) -> bool:
        """Whether the certificates come with the cluster."""
        return True

    @contextmanager
    def deploy(self, security: Security | None) -> Iterator[Any]:
        """Ask the gateway for a cluster, and end it at the end."""
        del security
        try:
            from aiohttp import ClientError
            from dask_gateway import Gateway  # type: ignore[import-untyped]  # ships no types
            from dask_gateway.client import (  # type: ignore[import-untyped]  # ships no types
                GatewayClusterError,
                GatewayServerError,
            )
        except ImportError:
            raise MissingExtraError.for_extra("dask-gateway", "gateway") from None
        identity = self.identity()
        with Gateway(self.address, proxy_address=self.proxy, auth=identity, loop=_runner().loop) as gateway:
            try:
                name = gateway.submit(**self.options)
                made = gateway.connect(name, shutdown_on_close=True)
            except (ClientError, GatewayClusterError, GatewayServerError, ValueError) as error:
                raise RunError(
                    f"the gateway starts no cluster ({' '.join(str(error).split())[:300]})",
                    where="kind: gateway",
                    mend=f"check {self.password_variable} and the options that it offers",
                ) from error
            with made as cluster:
                if self.bounds.min == self.bounds.max:
                    cluster.scale(self.bounds.max)
                else:
                    cluster.adapt(minimum=self.bounds.min, maximum=self.bounds.max)
                yield cluster

    def identity(self) -> Any:
        """Make what shows the gateway who we are.

        Raises
        ------
        InputError
            When the variable with the password is not set.
        """
        from dask_gateway.auth import (  # type: ignore[import-untyped]  # ships no types
            BasicAuth,
            JupyterHubAuth,
            KerberosAuth,
        )

        if self.auth == "kerberos":
            return KerberosAuth()
        held = os.environ.get(self.password_variable)
        if held is None:
            raise InputError(
                f"the variable {self.password_variable} is not set",
                where="password_variable",
                mend=f"export {self.password_variable}=...",
            )
        return BasicAuth(self.user, held) if self.auth == "basic" else JupyterHubAuth(held)


@cache
def _runner() -> Any:
    """Run a loop that outlives every gateway: one closes itself again when it is collected, which fails without its loop."""
    from distributed.utils import LoopRunner

    runner: Any = LoopRunner()  # untyped
    runner.start()
    return runner
