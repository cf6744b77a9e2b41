"""Commands about the registry: models list, models show."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.output import JsonFlag, print_json, say

RegistryFlag = Annotated[
    str, typer.Option("--registry", metavar="URL", help="Folder or URL of the registry.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    models = typer.Typer(help="Models by name and version.", rich_markup_mode=None)
    models.command("list")(list_models)
    models.command("show")(show)
    app.add_typer(models, name="models")


def list_models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One model; all when left out.")
    ] = None,
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """List models and versions, the newest first.

    Example: headrace models list
    """
    from headrace.packaging.registry import Registry

    rows = Registry(registry).describe(name)
    if json:
        print_json({"registry": registry, "models": rows})
    elif not rows:
        say(f"{registry}: no models; publish one with: headrace run WORKFLOW")
    else:
        from headrace.cli.output import console
        from headrace.cli.tables import models_table

        console().print(models_table(rows))


def show(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="late, late@3, late@champion, or a package's folder.")
    ],
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Show a model's card; with --json its manifest.

    Example: headrace models show late@champion
    """
    from headrace.data.storage import exists, join
    from headrace.packaging.package import read_package
    from headrace.packaging.registry import Registry

    is_folder = "/" in model or exists(join(model, "manifest.json"))
    url = model if is_folder else Registry(registry).resolve(model)
    package = read_package(url)
    if json:
        print_json({"url": url, **package.manifest.to_dict()})
    else:
        say(package.card)
        say(f"package: {url}")
