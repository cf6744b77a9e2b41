"""Commands about the registry: models list, show, export, mirror, verify; those about promotion and signatures join them."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli import promotion, signing
from headrace.cli.output import JsonFlag, print_json, say
from headrace.cli.references import ModelArgument, RegistryFlag, read, read_named
from headrace.cli.signing import TrustedFlag  # noqa: TC001 - typer reads annotations as it runs


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    models = typer.Typer(help="Models by name and version.", rich_markup_mode=None)
    models.command("list")(list_models)
    models.command("show")(show)
    models.command("export")(export)
    models.command("verify")(verify)
    models.command("mirror")(mirror)
    promotion.add_to(models)
    signing.add_to(models)
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
        str, typer.Option("--format", help="onnx, pmml, skops or pickle.")
    ] = "onnx",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Write a pickle, which runs code when it is loaded.")
    ] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Write what deploys a server: Dockerfile and objects.")
    ] = False,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="NAME", help="With --kubernetes: the image; default: late:3."),
    ] = None,
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Write a model as a file for another runtime, when it says there what it says here.

    Example: headrace models export late@champion exported --format onnx
    """
    from headrace.data import audit

    package, version = read_named(model, registry)
    if kubernetes:
        from headrace.serving.deployment import deploy

        files = deploy(model, directory, registry=registry, image=image)
        audit.record("exported", version or model, format="kubernetes", to=directory)
        if json:
            print_json({"files": files})
        else:
            for path in files:
                say(path)
        return
    from headrace.packaging.exports.files import export_file

    preparation = None
    if format == "pmml":
        from headrace.serving.prepared import read_preparation

        preparation = read_preparation(package)
    path, result = export_file(package, directory, format, allow_pickle=allow_pickle, preparation=preparation)
    audit.record("exported", version or model, format=format, to=path)
    if json:
        print_json({"file": path, "gate": result})
    else:
        say(path)


def mirror(
    model: ModelArgument,
    to: Annotated[str, typer.Option("--to", metavar="URI", help="Tracking server, http://localhost:5000.")],
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Show a version in MLflow, with parameters, metrics and all files.

    Example: headrace models mirror late@3 --to http://localhost:5000
    """
    from headrace.cli.watched import package_of
    from headrace.data import audit
    from headrace.packaging.mirror import mirror as show_there

    package, version = package_of(model, registry)
    done = show_there(package, version.partition("@")[0], version, to)
    # Not where to: the address of a tracking server may hold a password.
    audit.record("mirrored", version, experiment=done.experiment, run_id=done.run_id)
    if json:
        print_json({"experiment": done.experiment, "run_id": done.run_id, "version": done.version})
    else:
        say(f"{version} is run {done.run_id} and version {done.version} of {done.experiment} at {to}")


def verify(
    model: ModelArgument,
    trusted_keys: TrustedFlag = None,
    registry: RegistryFlag = "registry",
    json: JsonFlag = False,
) -> None:
    """Check a package's hashes and signature, and hold each of its files against the scikit-learn pipeline again.

    Example: headrace models verify late@champion
    """
    from headrace.packaging.exports.files import verify_package
    from headrace.packaging.package import SIGNATURE
    from headrace.packaging.signing import require_signature
    from headrace.serving.prepared import PREPARATION, candidates

    package, version = read_named(model, registry)
    trusted = require_signature(package, trusted_keys, version=version)
    signature = "trusted" if trusted else "not checked" if SIGNATURE in package.contents else None
    content = package.contents.get(PREPARATION)
    further = {} if content is None else candidates(package.model(), content)
    results = verify_package(package, further)
    if json:
        files = sorted(package.manifest.files)
        print_json({"url": package.url, "files": files, "signature": signature, "gates": results})
    else:
        say(f"{package.url}: " + (f"signature {signature}" if signature else "not signed"))
        say(f"{package.url}: {len(package.manifest.files)} files have the hashes of the manifest")
        for kind, result in results.items():
            say(
                f"{kind}: {'passed' if result['passed'] else 'FAILED'} on {result['rows']:,} rows, largest "
                f"difference {result['largest_difference']:.3g} (tolerance {result['tolerance']:g})"
            )
    if not all(result["passed"] for result in results.values()):
        raise typer.Exit(1)
