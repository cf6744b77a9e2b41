"""Commands about the registry: models list, show, export, verify; those about promotion join them."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli import promotion
from headrace.cli.output import JsonFlag, print_json, say
from headrace.cli.references import ModelArgument, RegistryFlag, read


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    models = typer.Typer(help="Models by name and version.", rich_markup_mode=None)
    models.command("list")(list_models)
    models.command("show")(show)
    models.command("export")(export)
    models.command("verify")(verify)
    promotion.add_to(models)
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
    model: ModelArgument,
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Show a model's card; with --json its manifest.

    Example: headrace models show late@champion
    """
    package = read(model, registry)
    if json:
        print_json({"url": package.url, **package.manifest.to_dict()})
    else:
        say(package.card)
        say(f"package: {package.url}")


def export(
    model: ModelArgument,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Where the files are written.")],
    format: Annotated[  # noqa: A002 - the name of the flag
        str, typer.Option("--format", help="onnx, skops or pickle.")
    ] = "onnx",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Write a pickle, which runs code when it is loaded.")
    ] = False,
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Write a model as a file for another runtime, when it says there what it says here.

    Example: headrace models export late@champion exported --format onnx
    """
    from headrace.packaging.exports.files import export_file

    package = read(model, registry)
    path, result = export_file(package, directory, format, allow_pickle=allow_pickle)
    if json:
        print_json({"file": path, "gate": result})
    else:
        say(path)


def verify(model: ModelArgument, registry: RegistryFlag = "registry", json: JsonFlag = False) -> None:
    """Check a package's hashes and hold each of its files against the scikit-learn pipeline again.

    Example: headrace models verify late@champion
    """
    from headrace.packaging.exports.files import verify_package

    package = read(model, registry)
    results = verify_package(package)
    if json:
        print_json({"url": package.url, "files": sorted(package.manifest.files), "gates": results})
    else:
        say(f"{package.url}: {len(package.manifest.files)} files have the hashes of the manifest")
        for kind, result in results.items():
            say(
                f"{kind}: {'passed' if result['passed'] else 'FAILED'} on {result['rows']:,} rows, largest "
                f"difference {result['largest_difference']:.3g} (tolerance {result['tolerance']:g})"
            )
    if not all(result["passed"] for result in results.values()):
        raise typer.Exit(1)
