"""The command line: parse, call, print; errors to one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from headrace import __version__
from headrace.cli import (
    audit,
    checks,
    clusters,
    data,
    doctor,
    erase,
    ingest,
    jobs,
    models,
    monitor,
    runs,
    score,
    serve,
)
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Plain help: rich would take a third of a second to load, and `headrace --help` has less than that.
app = typer.Typer(
    name="headrace",
    help="Machine learning on data larger than memory: from Parquet to a trusted model.",
    epilog="Start with: headrace sample flights data/flights && headrace profile data/flights --target late",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"headrace {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None and not version:
        typer.echo(context.get_help())


data.add_to(app)
checks.add_to(app)
ingest.add_to(app)
runs.add_to(app)
models.add_to(app)
score.add_to(app)
serve.add_to(app)
monitor.add_to(app)
jobs.add_to(app)
clusters.add_to(app)
doctor.add_to(app)
audit.add_to(app)
erase.add_to(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    raise SystemExit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; the one place where errors become a line on stderr.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``headrace``; the process's own when left out.

    Returns
    -------
    int
        0 success, 1 a failed run or check, 2 wrong input, 130 interrupted. What is none of a user's mistakes is raised.
    """
    try:
        code = app(
            args=None if arguments is None else list(arguments), prog_name="headrace", standalone_mode=False
        )
        sys.stdout.flush()
    except HeadraceError as error:
        return _complain(str(error), error.exit_code)
    except TyperException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "headrace")
        where = path.removeprefix("headrace").strip()
        text = " ".join(error.format_message().split()).rstrip(".")
        return _complain(f"{f'{where}: ' if where else ''}{text}; see {path} --help", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", 130)
    except BrokenPipeError:
        # Whoever read the output has gone (`| head`); what Python flushes at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _complain(text: str, code: int) -> int:
    typer.echo(f"headrace: {text}", err=True)
    return code
