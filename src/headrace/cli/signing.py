"""Commands about signatures: models keygen, sign."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.output import say
from headrace.cli.references import ModelArgument, RegistryFlag, read

TrustedFlag = Annotated[
    str | None,
    typer.Option(
        "--trusted-keys",
        metavar="FILE",
        help="Public keys (PEM): refuse a model that none has signed; default: $HEADRACE_TRUSTED_KEYS.",
    ),
]


def add_to(models: typer.Typer) -> None:
    """Add the commands to those about models."""
    models.command()(keygen)
    models.command()(sign)


def keygen(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file for the private key.")],
) -> None:
    """Make a key pair to sign models with: FILE, which stays with you, and FILE.pub, for who shall trust it.

    Example: headrace models keygen signing.pem
    """
    from headrace.packaging.signing import new_key_pair

    say(new_key_pair(file))


def sign(
    model: ModelArgument,
    key: Annotated[str, typer.Option("--key", metavar="FILE", help="The private key (PEM).")],
    registry: RegistryFlag = "registry",
) -> None:
    """Sign a version of a model.

    Example: headrace models sign late@3 --key signing.pem
    """
    from headrace.packaging.signing import sign as sign_package

    say(sign_package(read(model, registry), key))
