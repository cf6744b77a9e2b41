"""Packages that workers lack, installed beside what they have before their first task."""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
from functools import cache, partial
from shutil import rmtree
from typing import TYPE_CHECKING

from headrace.errors import RunError

if TYPE_CHECKING:
    from distributed import Client


def send_packages(client: Client, packages: tuple[str, ...]) -> None:
    """Install packages on the scheduler, which reads tasks too, and on every worker, also on those that come later.

    Raises
    ------
    RunError
        When pip cannot on one of them; says why.
    """
    from distributed.diagnostics.plugin import InstallPlugin

    client.register_plugin(InstallPlugin(partial(install, packages), restart_workers=False))


@cache
def install(packages: tuple[str, ...]) -> None:
    """Install packages into a directory of this process, which ends with it and comes last in the search for modules.

    An image may be read-only and its user may not write into it; what it has stays as it is.
    """
    folder = tempfile.mkdtemp(prefix="headrace-packages-")
    atexit.register(rmtree, folder, ignore_errors=True)
    call = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603 - pip, and words of a checked file
        [*call, "--target", folder, "--", *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"pip ends with {done.returncode}"]
        raise RunError(
            f"pip cannot install {', '.join(packages)} on a worker ({lines[-1][:300]})",
            where="packages",
            mend="correct the names, or use an image that has them",
        )
    sys.path.append(folder)
