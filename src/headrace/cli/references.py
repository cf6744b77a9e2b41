"""How commands are given a model: by reference in a registry, or by the folder of a package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.packaging.package import Package

RegistryFlag = Annotated[
    str, typer.Option("--registry", metavar="URL", help="Folder or URL of the registry.")
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="late, late@3, late@champion, or a package's folder.")
]


def read(model: str, registry: str) -> Package:
    """Read the package that a reference names, hashes checked."""
    return read_named(model, registry)[0]


def read_named(model: str, registry: str) -> tuple[Package, str | None]:
    """Read the package that a reference names, hashes checked; of one in the registry also its version, ``late@3``."""
    from headrace.data.storage import exists, join
    from headrace.packaging.package import read_package
    from headrace.packaging.registry import Registry

    if "/" in model or exists(join(model, "manifest.json")):
        return read_package(model), None
    version = Registry(registry).named(model)
    return read_package(Registry(registry).resolve(version)), version
