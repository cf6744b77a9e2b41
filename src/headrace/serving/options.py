"""Options of serving: what is done with inputs that training has not seen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headrace.options import Options

Policy = Literal["reject", "clip", "flag"]


class GuardOptions(Options):
    """What is done with a value that training has not seen.

    ``reject`` refuses the row; ``flag`` answers and says so; ``clip`` answers for the nearest value that training has
    seen (the end of the range, or a missing value in place of an unseen category), and says so.
    """

    range: Policy = Field(default="flag", description="A number or time outside of the range of training.")
    category: Policy = Field(default="flag", description="A category that training has not seen.")
    missing: Literal["reject", "flag"] = Field(
        default="flag", description="A missing value in a column that had none in training."
    )


class LimitOptions(Options):
    """What one server process takes at most."""

    body_bytes: int = Field(default=16 << 20, ge=1024, description="Bytes of a body.")
    rows: int = Field(default=10_000, ge=1, description="Rows of a request.")
    seconds: float = Field(
        default=10.0, gt=0, description="Time in which headers, body and answer must each be done."
    )
    concurrent: int = Field(default=256, ge=1, description="Requests under way; more are told to come again.")


class ServeOptions(Options):
    """How a model is served."""

    model: str = Field(description="late, late@3, late@champion, or a package's folder.")
    registry: str = Field(default="registry", description="Folder or URL of the registry.")
    challenger: str | None = Field(default=None, description="A second model, named as the first.")
    share: float = Field(
        default=0.0, ge=0, le=1, description="Share of the requests that the challenger answers."
    )
    shadow: bool = Field(default=False, description="Ask the challenger too, and give its answers to nobody.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes.")
    keys: str | None = Field(default=None, description="File of API keys.")
    no_keys: bool = Field(default=False, description="Answer anyone, also off loopback.")
    guard: GuardOptions = Field(default=GuardOptions(), description="Values that training has not seen.")
    limits: LimitOptions = Field(default=LimitOptions(), description="What is taken at most.")
    reload_seconds: float = Field(
        default=5.0,
        ge=0,
        description="How often the registry is asked whether the alias has moved; 0: never.",
    )
    log: Literal["requests", "errors"] = Field(default="requests", description="What is logged.")
    log_values: bool = Field(default=False, description="Log the values of the features too.")
    trusted_keys: str | None = Field(
        default=None, description="PEM file of public keys: a model that none of them has signed is refused."
    )
    tls_certificate: str | None = Field(default=None, description="PEM file of the certificate chain.")
    tls_key: str | None = Field(default=None, description="PEM file of its private key.")
