"""Commands about serving: serve, serve-key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.output import say
from headrace.cli.references import ModelArgument, RegistryFlag  # noqa: TC001 - typer reads annotations as it runs
from headrace.cli.signing import TrustedFlag  # noqa: TC001 - typer reads annotations as it runs

if TYPE_CHECKING:
    from headrace.cli.watched import Watching
    from headrace.serving.options import GuardOptions, ServeOptions


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(serve)
    app.command("serve-key")(serve_key)


def serve(
    model: ModelArgument,
    registry: RegistryFlag = "registry",
    challenger: Annotated[
        str | None, typer.Option("--challenger", metavar="MODEL", help="A second model, for comparison.")
    ] = None,
    share: Annotated[
        float, typer.Option("--share", help="Share of the requests that the challenger answers.")
    ] = 0.0,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Ask the challenger too, give its answers to nobody.")
    ] = False,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", help="Processes.")] = 1,
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="FILE", help="API keys; default: $HEADRACE_KEYS.")
    ] = None,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Answer anyone, also off this machine.")] = False,
    guard: Annotated[
        str | None, typer.Option("--guard", metavar="FILE", help="Options of the input guard (YAML).")
    ] = None,
    body_bytes: Annotated[int, typer.Option("--max-body", help="Bytes of a body.")] = 16 << 20,
    rows: Annotated[int, typer.Option("--max-rows", help="Rows of a request.")] = 10_000,
    seconds: Annotated[
        float, typer.Option("--max-seconds", help="For headers, for the body, and for the answer.")
    ] = 10.0,
    concurrent: Annotated[
        int, typer.Option("--max-concurrent", help="Requests under way in a process.")
    ] = 256,
    reload_seconds: Annotated[
        float, typer.Option("--reload", help="Seconds between looks whether the alias has moved; 0: none.")
    ] = 5.0,
    monitor: Annotated[
        str | None,
        typer.Option("--monitor", metavar="URL", help="Store of what comes in and goes out, counted."),
    ] = None,
    log: Annotated[str, typer.Option("--log", help="requests or errors.")] = "requests",
    log_values: Annotated[
        bool, typer.Option("--log-values", help="Log the values of the features too.")
    ] = False,
    trusted_keys: TrustedFlag = None,
    tls_certificate: Annotated[
        str | None, typer.Option("--tls-certificate", metavar="FILE", help="PEM; with --tls-key.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", metavar="FILE", help="PEM.")] = None,
) -> None:
    """Answer for a model over HTTP.

    Its page is at /, its description at /openapi.json.

    Example: headrace serve late@champion --port 8000
    """
    options = _options(
        model=model,
        registry=registry,
        challenger=challenger,
        share=share,
        shadow=shadow,
        host=host,
        port=port,
        workers=workers,
        keys=keys,
        no_keys=no_keys,
        guard=_guard(guard),
        limits={"body_bytes": body_bytes, "rows": rows, "seconds": seconds, "concurrent": concurrent},
        reload_seconds=reload_seconds,
        log=log,
        log_values=log_values,
        trusted_keys=trusted_keys,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    _require()
    from headrace.serving.server import serve as serve_until_told

    serve_until_told(options, None if monitor is None else _watching(monitor, options))


def serve_key(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where its hash is added.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; logged with each request.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="predict, feedback or admin; may be repeated.")
    ] = None,
) -> None:
    """Make an API key.

    It is printed once, and its hash is added to a file.

    Example: headrace serve-key keys.txt planning --scope predict --scope feedback
    """
    from headrace.serving.keys import new_key

    say(new_key(file, name, scope or ["predict"]))


def _options(**values: object) -> ServeOptions:
    from pydantic import ValidationError

    from headrace.errors import InputError
    from headrace.serving.options import ServeOptions

    try:
        return ServeOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(first["msg"], where=where, mend="see headrace serve --help") from error


def _guard(path: str | None) -> GuardOptions:
    from headrace.optionfile import read_options
    from headrace.serving.options import GuardOptions

    return GuardOptions() if path is None else read_options(path, GuardOptions)


def _watching(store: str, options: ServeOptions) -> Watching:
    from headrace.cli.watched import Watching, name_of

    name, folder = name_of(options.model)
    return Watching(store, name, options.registry, folder)


def _require() -> None:
    from importlib.util import find_spec

    from headrace.errors import MissingExtraError

    for package in ("fastapi", "uvicorn", "httptools", "prometheus_client"):
        if find_spec(package) is None:
            raise MissingExtraError.for_extra(package, "serve")
