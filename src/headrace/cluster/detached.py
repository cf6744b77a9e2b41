"""Processes that outlive the one that starts them, and its terminal."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from headrace.engine.lease import Holder, started_at

if TYPE_CHECKING:
    from collections.abc import Sequence


def start_detached(words: Sequence[str], output: str) -> Holder:
    """Start ``headrace`` with other words in a session of its own.

    Parameters
    ----------
    words : sequence of str
        What follows ``headrace`` on the command line.
    output : str
        File that all it prints is appended to.

    Returns
    -------
    Holder
        The process; `Holder.lives_here` tells whether it runs.
    """
    # The shell ends at once, so that this process has no child to wait for.
    script = '"$@" </dev/null >>"$0" 2>&1 & echo $!'
    started = subprocess.run(  # noqa: S603 - this very program
        ["/bin/sh", "-c", script, output, sys.executable, "-m", "headrace", *words],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    holder = replace(Holder.this_process(), pid=int(started.stdout))
    with suppress(psutil.NoSuchProcess):
        holder = replace(holder, started=started_at(psutil.Process(holder.pid)))
    return holder
