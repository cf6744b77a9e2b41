"""What commands print: one JSON document, or text and tables for people."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
ClusterFlag = Annotated[
    str | None, typer.Option("--cluster", metavar="FILE", help="Cluster file; default: this machine.")
]
WIDTH = 170
"""Columns of a table that goes to a file or a pipe."""


def print_json(document: Any) -> None:
    """Print one JSON document; NaN and infinities are not JSON and raise."""
    typer.echo(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False))


def say(text: str) -> None:
    """Print a line for people on stdout."""
    typer.echo(text)


def console() -> Console:
    """Return a console on stdout: the terminal's width and colours, or wide and plain."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else WIDTH, highlight=False, soft_wrap=False)


def can_draw() -> bool:
    """Tell whether stdout's encoding has block characters."""
    try:
        "▁█±·".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def size(count: float) -> str:
    """Write a number of bytes with a unit.

    Examples
    --------
    >>> size(0), size(2048), size(1_610_612_736)
    ('0 B', '2.0 KiB', '1.5 GiB')
    """
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            break
        count, unit = count / 1024, larger
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Write seconds as people do.

    Examples
    --------
    >>> duration(3.21), duration(75), duration(3700)
    ('3.2 s', '1 min 15 s', '1 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
